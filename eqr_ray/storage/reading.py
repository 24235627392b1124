"""Reads a long file, going on where it was when a remote storage breaks off.

Invariant, asserted in tests/storage/test_retrying.py: a reader that is broken off sees every byte once.
"""

from __future__ import annotations

import io
from types import TracebackType
from typing import Any

from pyarrow import fs

from eqr_ray.storage.place import file_system
from eqr_ray.storage.retrying import retried


class Stream:
    """A file open for reading; a context. A remote one can be sought in, and so can a local one that is no pipe."""

    def __init__(self, uri: str) -> None:
        """Open it; FileNotFoundError, OSError or ArrowException where it cannot be."""
        self._uri = uri
        self._system, self._inner = file_system(uri)
        self._local = isinstance(self._system, fs.LocalFileSystem)
        self._at = 0
        self._file: Any = self._open() if self._local else retried(f"opening {uri}", self._open)
        self._size = 0 if self._local else self._file.size()
        self.closed = False

    @property
    def native(self) -> Any:
        """What a reader of Parquet takes: of a local file the fast one, of a remote one this object."""
        return self._system.open_input_file(self._inner) if self._local else self

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""
        whole = size is None or size < 0
        if self._local:
            return bytes(self._file.read(None if whole else size))
        left = self._size - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        content: bytes = retried(f"reading {self._uri}", lambda: self._read_at(wanted))
        self._at += len(content)
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place of a remote file."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Return the place in a remote file."""
        return self._at

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self.closed = True

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Any:
        if self._local:
            return self._system.open_input_stream(self._inner, compression=None)
        return self._system.open_input_file(self._inner)

    def _read_at(self, size: int) -> bytes:
        return bytes(self._file.read_at(size, self._at)) if size else b""
