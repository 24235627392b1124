"""Whole and conditional writes on a local disk.

A file is created by linking a finished one to its name, which fails where the name is taken; it is replaced under a lock of its folder
that the kernel drops with the process.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
import time
from types import TracebackType

from eqr_ray.types import StorageError

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


class Complaint:
    """A context that turns an OSError into a sentence which names the file."""

    def __init__(self, address: str, done: str) -> None:
        self._address, self._done = address, done

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "make room on the disk" if full else "check the folder and its permissions"
            raise StorageError(
                error.errno, f"{self._address} cannot be {self._done} ({error.strerror or error}); {remedy}"
            ) from error


def digest(content: bytes) -> str:
    """Return the version of a content."""
    return hashlib.sha256(content).hexdigest()


def age_s(mtime_ns: int | None) -> float:
    """Return how long ago a file was written."""
    return max(0.0, time.time() - mtime_ns / 1e9) if mtime_ns else 0.0


def write_local(path: str, content: bytes) -> None:
    """Write a file beside its name and move it there."""
    unfinished = _unfinished(path, content)
    try:
        os.replace(unfinished, path)
    except OSError:
        os.unlink(unfinished)
        raise


def create_local(path: str, content: bytes) -> str | None:
    """Write a file that is not there and return its version; None where it is."""
    if os.path.exists(path):
        return None
    unfinished = _unfinished(path, content)
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return None
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with _FolderLock(path):
            if os.path.exists(path):
                return None
            os.replace(unfinished, path)
        return digest(content)
    finally:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
    return digest(content)


def replace_local(path: str, content: bytes, version: str) -> str | None:
    """Write a file over a version of it and return the new version; None where it is another one by now."""
    with _FolderLock(path):
        try:
            with open(path, "rb") as file:
                if digest(file.read()) != version:
                    return None
        except FileNotFoundError:
            return None
        write_local(path, content)
    return digest(content)


def _unfinished(path: str, content: bytes) -> str:
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    unfinished = f"{folder}/.{name}.torn-{os.getpid()}-{threading.get_ident()}"
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
        raise
    return unfinished


class _FolderLock:
    """Holds the kernel's lock on a file's folder."""

    def __init__(self, path: str) -> None:
        self._folder = os.path.dirname(path)

    def __enter__(self) -> None:
        self._handle = os.open(self._folder, os.O_RDONLY)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)
