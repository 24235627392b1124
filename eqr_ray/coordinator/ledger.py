"""The ledger: finished rows in append-only Parquet parts, local or on S3.

Invariants, asserted in tests/unit/coordinator/test_ledger.py: a part appears whole or not at all; parts are never
changed; what a crash left half-written is removed and never read; a ledger opened again knows every id that was
flushed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from eqr_ray.types import InputError

_PART = re.compile(r"^part-(\d{5,})\.parquet$")
_TORN = re.compile(r"^\.part-\d{5,}\.parquet\.torn-\d+$")
PART_ROWS = 10_000
"""Rows after which a part is written without being asked. More make fewer files; a crash repeats what was not yet
written."""


class Ledger:
    """A folder of parts with one schema; one writer at a time."""

    def __init__(
        self,
        uri: str | os.PathLike[str],
        schema: pa.Schema,
        part_rows: int = PART_ROWS,
        write_options: Mapping[str, object] | None = None,
    ) -> None:
        """uri: a folder, or `s3://bucket/prefix`; it is made with the first part. part_rows: rows that fill a part.
        write_options: compression and encodings, as `pyarrow.parquet.write_table` takes them."""
        if part_rows < 1:
            raise ValueError(f"part_rows must be at least 1, got part_rows={part_rows}")
        self._uri, self._schema, self._part_rows = os.fspath(uri).rstrip("/"), schema, part_rows
        self._write_options = dict(write_options or {})
        path = self._uri.removeprefix("file://")
        self._local = "://" not in path
        if self._local:
            self._fs, self._folder = pafs.LocalFileSystem(), os.path.abspath(path)
        else:
            self._fs, self._folder = _remote(self._uri)
        self._waiting: list[Mapping[str, object]] = []
        self._remove_torn()
        self._parts = self._find_parts()

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, oldest first."""
        return tuple(self._parts)

    @property
    def n_waiting(self) -> int:
        """Rows appended and not yet written."""
        return len(self._waiting)

    def append(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add rows with exactly the schema's columns; they are safe after `flush`, or once they fill a part."""
        names = set(self._schema.names)
        for row in rows:
            if row.keys() != names:
                raise ValueError(f"a row must have the columns {sorted(names)}, got {sorted(row)}")
        self._waiting.extend(rows)
        if len(self._waiting) >= self._part_rows:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one part; on return it will survive a crash."""
        if not self._waiting:
            return
        table = pa.Table.from_pylist(self._waiting, schema=self._schema)
        number = int(_PART.match(self._parts[-1]).group(1)) + 1 if self._parts else 0  # type: ignore[union-attr]
        name = f"part-{number:05d}.parquet"
        if self._local:
            self._write_local(table, name)
        else:
            self._write_object(table, name)
        self._parts.append(name)
        self._waiting.clear()

    def finished_ids(self, column: str = "puzzle_id") -> set[str]:
        """Return the ids in all parts written so far; raises InputError for a part that cannot be read."""
        return {puzzle_id for name in self._parts for puzzle_id in self._read(name, [column])[column].to_pylist()}

    def table(self) -> pa.Table:
        """Return every written row, in the order of writing; raises InputError for a part that cannot be read."""
        return pa.concat_tables([self._schema.empty_table(), *(self._read(name, None) for name in self._parts)])

    def _read(self, name: str, columns: list[str] | None) -> pa.Table:
        path = f"{self._folder}/{name}"
        try:
            part = pq.read_table(path, filesystem=self._fs, columns=columns, partitioning=None)
        except (pa.ArrowInvalid, OSError) as problem:
            reason = str(problem).splitlines()[0]
            raise InputError(
                f"{self._uri}/{name}: a part of the ledger must be a whole Parquet file, got one that cannot be read"
                f" ({reason}); remove it and its puzzles are solved again."
            ) from None
        wanted = self._schema if columns is None else pa.schema([self._schema.field(column) for column in columns])
        if not part.schema.equals(wanted):
            raise InputError(
                f"{self._uri}/{name}: a part must have the columns {wanted.names}, got {part.schema.names} or other types;"
                " it was written by another version, so choose another folder."
            )
        return part

    def _write_local(self, table: pa.Table, name: str) -> None:
        os.makedirs(self._folder, exist_ok=True)
        final = Path(self._folder, name)
        torn = Path(self._folder, f".{name}.torn-{os.getpid()}")
        with torn.open("wb") as file:
            pq.write_table(table, file, **self._write_options)
            file.flush()
            os.fsync(file.fileno())
        if final.exists():
            torn.unlink()
            raise RuntimeError(f"{final} was written by another run; only one run may write to a folder")
        os.replace(torn, final)

    def _write_object(self, table: pa.Table, name: str) -> None:
        # An object appears with its last byte, so a whole part in one stream needs no temporary name.
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, **self._write_options)
        with self._fs.open_output_stream(f"{self._folder}/{name}") as stream:
            stream.write(buffer.getvalue())

    def _remove_torn(self) -> None:
        if self._local and os.path.isdir(self._folder):
            for name in os.listdir(self._folder):
                if _TORN.match(name):
                    os.unlink(os.path.join(self._folder, name))

    def _find_parts(self) -> list[str]:
        found = self._fs.get_file_info(pafs.FileSelector(self._folder, allow_not_found=True))
        names = [info.base_name for info in found if _PART.match(info.base_name)]
        return sorted(names, key=lambda name: (len(name), name))


def _remote(uri: str) -> tuple[pafs.FileSystem, str]:
    try:
        file_system, folder = pafs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid as problem:
        reason = str(problem).splitlines()[0]
        raise InputError(f"{uri}: results go to a local folder or to s3://bucket/prefix, got {reason}.") from None
    return file_system, folder
