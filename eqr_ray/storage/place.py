"""A folder on a disk or under a URI, and what can be done with the files in it.

Invariants, asserted in tests/storage/test_place.py for a disk and for S3 alike: a file appears whole or not at all; of several that
create one file, or replace one version of it, exactly one succeeds; whoever reads it sees a version that somebody wrote.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from pyarrow import ArrowException, BufferReader, fs

from eqr_ray.storage import conditional
from eqr_ray.storage.errors import first_line
from eqr_ray.storage.objects import Objects
from eqr_ray.storage.retrying import retried
from eqr_ray.types import StorageError


class Kind(StrEnum):
    """What is at an address."""

    NOTHING = "nothing"
    FILE = "file"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Versioned:
    """A file's content at one moment."""

    content: bytes
    version: str
    """Equal for equal contents written once; what `replace` compares."""
    age_s: float
    """Since it was written, by the clock of the storage."""


def split_uri(uri: str) -> tuple[str, str]:
    """Return a path or URI without its options, and the options with their question mark (`s3://bucket/key?region=...`)."""
    bare, mark, options = uri.partition("?") if "://" in uri else (uri, "", "")
    return bare, mark + options


def file_system(uri: str) -> tuple[Any, str]:
    """Return the pyarrow file system of a path or URI, and the path within it; StorageError for an address that is none."""
    if "://" not in uri:
        return fs.LocalFileSystem(), os.path.abspath(uri)
    try:
        system, inner = retried(f"opening {uri}", lambda: fs.FileSystem.from_uri(uri))
    except (ArrowException, ValueError, OSError) as error:
        raise StorageError(
            f"{uri} cannot be opened ({first_line(error)}); check the address and its credentials"
        ) from None
    return system, inner.rstrip("/") if len(inner) > 1 else inner


class Place:
    """One folder; making the object touches nothing. Names may hold slashes."""

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        """uri: a path, or such as `s3://bucket/prefix`; options after a `?` hold for everything below."""
        given = os.fspath(uri)
        bare, self._options = split_uri(given)
        self._bare = bare.rstrip("/") or bare
        self.uri = self._bare + self._options

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return file_system(self.uri)

    @property
    def system(self) -> Any:
        """The pyarrow file system; StorageError for an address that is none."""
        return self._opened[0]

    @property
    def root(self) -> str:
        """The folder's path within it."""
        return self._opened[1]

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system."""
        return isinstance(self.system, fs.LocalFileSystem)

    @cached_property
    def _objects(self) -> Objects | None:
        return Objects(self._bare, self._options) if self._bare.startswith("s3://") else None

    def at(self, name: str) -> Place:
        """Return the folder of a name within this one."""
        return Place(f"{self._bare}/{name.strip('/')}{self._options}")

    def address(self, name: str) -> str:
        """Return the full address of a file, as messages name it."""
        return f"{self._bare}/{name}"

    def kind(self, name: str = "") -> Kind:
        """Return what is there."""
        info = self._remote(name, "looking up", lambda: self.system.get_file_info(self._path(name)))
        found = {fs.FileType.File: Kind.FILE, fs.FileType.Directory: Kind.FOLDER}
        return found.get(info.type, Kind.NOTHING)

    def names(self, kind: Kind = Kind.FILE) -> list[str]:
        """Return the names of the files, or of the folders, right in this folder, sorted; none where it does not exist."""
        selector = fs.FileSelector(self.root, allow_not_found=True)
        found = self._remote("", "listing", lambda: self.system.get_file_info(selector))
        wanted = fs.FileType.File if kind is Kind.FILE else fs.FileType.Directory
        return sorted(info.base_name for info in found if info.type == wanted)

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is no such file."""

        def whole() -> bytes | None:
            try:
                with self.system.open_input_stream(self._path(name), compression=None) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

        content: bytes | None = self._remote(name, "reading", whole)
        return content

    def open(self, name: str) -> Any:
        """Open a file for reading anywhere in it, as Parquet is read, a remote one as a whole; FileNotFoundError, StorageError."""
        if self.is_local:
            return self.system.open_input_file(self._path(name))
        content = self.read(name)
        if content is None:
            raise FileNotFoundError(self.address(name))
        return BufferReader(content)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all, over what may be there."""
        if self._objects is not None:
            self._objects.put(name, content)
        elif self.is_local:
            with self._complaint(name, "written"):
                conditional.write_local(self._path(name), content)
        else:
            self._remote(name, "writing", lambda: self._stream_out(name, content))

    def create(self, name: str, content: bytes) -> str | None:
        """Write a file that is not there yet and return its version; None, with nothing changed, where it is there."""
        if self._objects is not None:
            return self._objects.create(name, content)
        with self._complaint(name, "written"):
            if self.is_local:
                return conditional.create_local(self._path(name), content)
            # Other object stores have conditional writes that pyarrow does not offer: best effort, as the documentation says.
            if self.kind(name) is not Kind.NOTHING:
                return None
            self._remote(name, "writing", lambda: self._stream_out(name, content))
            return conditional.digest(content)

    def replace(self, name: str, content: bytes, version: str) -> str | None:
        """Write a file over the version that was read and return the new one; None where it was changed since."""
        if self._objects is not None:
            return self._objects.replace(name, content, version)
        with self._complaint(name, "written"):
            if self.is_local:
                return conditional.replace_local(self._path(name), content, version)
            now = self.versioned(name)
            if now is None or now.version != version:
                return None
            self._remote(name, "writing", lambda: self._stream_out(name, content))
            return conditional.digest(content)

    def versioned(self, name: str) -> Versioned | None:
        """Return a file's content with what is needed to replace it; None where there is no such file."""
        if self._objects is not None:
            found = self._objects.get(name)
            return None if found is None else Versioned(found.content, found.etag, found.age_s)
        content = self.read(name)
        if content is None:
            return None
        info = self._remote(name, "looking up", lambda: self.system.get_file_info(self._path(name)))
        return Versioned(content, conditional.digest(content), conditional.age_s(info.mtime_ns))

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        if self._objects is not None:
            self._objects.delete(name)
            return
        with self._complaint(name, "removed"):
            try:
                self.system.delete_file(self._path(name))
            except FileNotFoundError:
                return

    def link(self, name: str, seconds: int) -> str:
        """Return an address that a browser can open: of S3, one that is signed and valid for `seconds`."""
        if self._objects is not None:
            return self._objects.link(name, seconds)
        return f"file://{self._path(name)}" if self.is_local else self.address(name)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _stream_out(self, name: str, content: bytes) -> None:
        with self.system.open_output_stream(self._path(name)) as stream:
            stream.write(content)

    def _remote(self, name: str, doing: str, action: Any) -> Any:
        """Run an action of the file system, with further tries unless it is this machine's own."""
        try:
            return action() if self.is_local else retried(f"{doing} {self.address(name)}", action)
        except (FileNotFoundError, StorageError):
            raise
        except (OSError, ArrowException) as error:
            raise StorageError(
                f"{self.address(name)}: {doing} it failed ({first_line(error)}); check the address and its permissions"
            ) from error

    def _complaint(self, name: str, done: str) -> conditional.Complaint:
        return conditional.Complaint(self.address(name), done)
