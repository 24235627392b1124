"""Files and objects: the one place that knows whether results lie on a disk or on S3.

Data goes through pyarrow's file systems; boto3 is asked where S3 can do what they cannot: conditional writes, links, ages.
"""

from eqr_ray.storage.errors import first_line
from eqr_ray.storage.lock import Held, LockState, RunLock, read_lock
from eqr_ray.storage.mirror import mirrored
from eqr_ray.storage.place import Kind, Place, Versioned, file_system, split_uri
from eqr_ray.storage.reading import Stream
from eqr_ray.storage.retrying import RETRIES

__all__ = [
    "RETRIES",
    "Held",
    "Kind",
    "LockState",
    "Place",
    "RunLock",
    "Stream",
    "Versioned",
    "file_system",
    "first_line",
    "mirrored",
    "read_lock",
    "split_uri",
]
