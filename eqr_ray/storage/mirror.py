"""A remote folder as a local one, for work that appends to files and renames them: studies and training runs.

The local folder is brought up to date when work begins, and the remote one every `EVERY_S` seconds and at the end. Invariants, asserted in
tests/storage/test_mirror.py: a pointer file arrives after what it points to; a file that goes away while it is read is left out; one
program at a time mirrors a folder; a local folder is used as it is.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eqr_ray.storage.lock import LOCK, RunLock
from eqr_ray.storage.place import Kind, Place
from eqr_ray.types import StorageError

log = logging.getLogger(__name__)

EVERY_S = 30.0
"""What a killed program loses at most."""


@contextmanager
def mirrored(uri: str, resume: bool, last: str = "") -> Iterator[str]:
    """Yield a local folder that stands for `uri`; of a local one, itself.

    last: the name of a file that says which of the others are whole, so that it travels after them.
    """
    place = Place(uri)
    if place.is_local:
        yield uri
        return
    # The folder's own name is kept: programs name their results after it.
    home = Path(tempfile.mkdtemp(prefix="eqr-mirror-"))
    local = home / place.root.rsplit("/", 1)[-1]
    local.mkdir()
    with RunLock(place, resume):
        mirror = Mirror(local, place, last)
        mirror.fetch()
        stopped = threading.Event()
        thread = threading.Thread(target=_keep_up, args=(mirror, stopped), name="eqr-mirror", daemon=True)
        thread.start()
        try:
            yield str(local)
        finally:
            stopped.set()
            thread.join()
            mirror.send()
            shutil.rmtree(home, ignore_errors=True)


def _keep_up(mirror: Mirror, stopped: threading.Event) -> None:
    while not stopped.wait(EVERY_S):
        try:
            mirror.send()
        except StorageError as error:
            log.warning("%s; trying again in %.0f s", error, EVERY_S)


class Mirror:
    """A local folder and the remote one that it is copied to."""

    def __init__(self, local: Path, place: Place, last: str = "") -> None:
        self._local, self._place, self._last = local, place, last
        self._sent: dict[str, tuple[int, int]] = {}
        """Name -> (size, time of change) of what is there."""

    def fetch(self) -> None:
        """Copy everything from the remote folder."""
        for name in _remote_files(self._place):
            content = self._place.read(name)
            if content is not None:
                target = self._local / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                self._sent[name] = _stamp(target)

    def send(self) -> None:
        """Copy what has changed, and remove what is gone here; StorageError."""
        pointer = self._local / self._last if self._last else None
        pointed = pointer.read_bytes() if pointer is not None and pointer.is_file() else None
        here: set[str] = set()
        whole = True
        for file in sorted(self._local.rglob("*")):
            name = file.relative_to(self._local).as_posix()
            try:
                if not file.is_file() or any(part.startswith(".") for part in file.relative_to(self._local).parts):
                    continue
                here.add(name)
                stamp = _stamp(file)
                if name == self._last or self._sent.get(name) == stamp:
                    continue
                self._place.write(name, file.read_bytes())
                self._sent[name] = stamp
            except FileNotFoundError:
                whole = False
        # A save that was replaced meanwhile is sent the next time, and its predecessor stays until then.
        if pointed is not None and whole:
            if pointer is not None and pointer.read_bytes() != pointed:
                return
            if self._sent.get(self._last) != (len(pointed), hash(pointed)):
                self._place.write(self._last, pointed)
                self._sent[self._last] = (len(pointed), hash(pointed))
        if whole:
            for name in [name for name in self._sent if name not in here]:
                self._place.remove(name)
                del self._sent[name]


def _stamp(file: Path) -> tuple[int, int]:
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns


def _remote_files(place: Place, prefix: str = "") -> Iterator[str]:
    for name in place.names():
        if not name.startswith(".") and prefix + name != LOCK:
            yield prefix + name
    for folder in place.names(Kind.FOLDER):
        for name in _remote_files(place.at(folder)):
            yield f"{folder}/{name}"
