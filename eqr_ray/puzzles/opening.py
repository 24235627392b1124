"""Opens puzzle files, local or remote, and reads their text line by line in flat memory.

Invariants, asserted in tests/unit/puzzles/test_puzzle_files.py: no more than a chunk and one line of at most `MAX_LINE` characters is in
memory; a missing, binary, truncated or overlong file is an InputError of one sentence, never another exception.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

from pyarrow import ArrowException, fs

from eqr_ray.storage import Stream, first_line, split_uri
from eqr_ray.storage import file_system as storage_of
from eqr_ray.types import InputError, StorageError

MAX_LINE = 1 << 21
"""Bytes of the longest line: room for a maze of 1000 x 1000 with its answer."""
CHUNK = 1 << 18
TEXT_ENDINGS = (".csv", ".txt", ".sdm", ".csv.gz", ".txt.gz", ".sdm.gz")
ENDINGS = (*TEXT_ENDINGS, ".parquet")


def bare(path: str) -> str:
    """Return a path, or a URI without its options (`s3://bucket/key?region=...`)."""
    return split_uri(path)[0]


def stem(path: str) -> str:
    """Return a file's name without folders and known endings: the source of puzzles that name none."""
    name = bare(path).rstrip("/").rsplit("/", 1)[-1]
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def file_system(path: str) -> tuple[Any, str]:
    """Return the pyarrow file system of a path or URI, and the path within it."""
    if not path:
        raise InputError("a puzzle file has a name, got an empty one; name a puzzle file or a folder of puzzle files")
    try:
        return storage_of(path)
    except StorageError as error:
        raise InputError(str(error)) from None


def files_of(path: str) -> list[str]:
    """Return the puzzle files of a folder in order of their names, or the file itself; InputError if there is none."""
    system, inner = file_system(path)
    try:
        info = system.get_file_info(inner)
        if info.type == fs.FileType.NotFound:
            raise InputError(f"{path} does not exist; name a puzzle file or a folder of puzzle files")
        if info.type != fs.FileType.Directory:
            return [path]
        inside = system.get_file_info(fs.FileSelector(inner))
    except (ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read ({first_line(error)}); check its permissions") from None
    names = sorted(entry.base_name for entry in inside if entry.type == fs.FileType.File)
    found = [name for name in names if name.lower().endswith(ENDINGS) and not name.startswith(".")]
    if not found:
        raise InputError(f"{path} holds no puzzle files; put files ending in {', '.join(ENDINGS)} there")
    folder, options = bare(path), path[len(bare(path)) :]
    return [f"{folder.rstrip('/')}/{name}{options}" for name in found]


def read_text(path: str) -> Iterator[str]:
    """Yield the lines of a text file, gzip if its name ends in .gz, without their line ends."""
    try:
        with Stream(path) as raw:
            packed: Any = raw
            stream = gzip.GzipFile(fileobj=packed) if bare(path).lower().endswith(".gz") else raw
            yield from decode(split(stream, path), path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is no whole gzip file ({first_line(error)}); fetch or compress it again") from None
    except (ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read ({first_line(error)}); check its name and permissions") from None


def split(stream: Any, name: str) -> Iterator[bytes]:
    """Yield the lines of a byte stream, which has `read`, without their line ends."""
    rest = b""
    line = 1
    while chunk := stream.read(CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        line += len(lines)
        if len(rest) > MAX_LINE or any(len(text) > MAX_LINE for text in lines):
            raise InputError(
                f"{name}, line {line - len(lines)} or after: a line has at most {MAX_LINE} bytes, got a longer one; "
                "write one puzzle a line"
            )
        for text in lines:
            yield text.removesuffix(b"\r")
    if rest:
        yield rest.removesuffix(b"\r")


def decode(lines: Iterator[bytes], name: str) -> Iterator[str]:
    """Yield lines as text; InputError where they are binary or not UTF-8."""
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            bad = line[error.start]
            raise InputError(
                f"{name}, line {number}: a puzzle file is UTF-8 text, got byte 0x{bad:02x}; "
                "give a CSV or text file, or let the name of a packed one end in .gz or .parquet"
            ) from None
        if "\0" in text:
            raise InputError(f"{name}, line {number}: a puzzle file is text, got a NUL byte; give a CSV or text file")
        yield text
