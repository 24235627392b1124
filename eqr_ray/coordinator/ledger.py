"""The ledger: finished rows in append-only Parquet parts, local or on S3.

Invariants, asserted in tests/unit/coordinator/test_ledger.py: a part appears whole or not at all; parts are never
changed, and none is written over another; what a crash left half-written is removed and never read; a ledger opened
again knows every id that was flushed; memory follows one part, not the ledger.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eqr_ray.storage import Place, first_line
from eqr_ray.types import InputError, StorageError

_PART = re.compile(r"^part-(\d{5,})\.parquet$")
_TORN = re.compile(r"^\.part-\d{5,}\.parquet\.torn-[\d-]+$")
PART_ROWS = 10_000
"""Rows after which a part is written without being asked. More make fewer files; a crash repeats what was not yet
written."""


class PartTaken(RuntimeError):
    """Somebody else has written a part of the next number."""


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
        self._schema, self._part_rows = schema, part_rows
        self._write_options = dict(write_options or {})
        self._place = Place(uri)
        try:
            self._parts = self._find_parts()
        except StorageError as problem:
            raise InputError(f"results go to a local folder or to s3://bucket/prefix: {problem}") from None
        self._waiting: list[Mapping[str, object]] = []
        self._skipped = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, oldest first."""
        return tuple(self._parts)

    @property
    def n_waiting(self) -> int:
        """Rows appended and not yet written."""
        return len(self._waiting)

    def refresh(self) -> None:
        """Look again at what is there, and remove what a crash left half-written; for whoever is the only writer now."""
        self._remove_torn()
        self._parts = self._find_parts()

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
        self.write(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting.clear()

    def write(self, table: pa.Table) -> str:
        """Write a table of the schema as one part and return its name; on return it will survive a crash.

        Raises PartTaken, with nothing changed, when somebody else has written a part of that number.
        """
        last = int(_PART.match(self._parts[-1]).group(1)) if self._parts else -1  # type: ignore[union-attr]
        number = last + 1 + self._skipped
        name = f"part-{number:05d}.parquet"
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, **self._write_options)
        if self._place.create(name, buffer.getvalue().to_pybytes()) is None:
            raise PartTaken(
                f"{self._place.address(name)} was written by another run; only one run may write to a folder"
            )
        self._parts.append(name)
        self._skipped = 0
        return name

    def skip(self) -> None:
        """Leave out a number that somebody else has taken who should not have."""
        self._skipped += 1

    def remove(self, name: str) -> None:
        """Take a part away."""
        self._place.remove(name)
        self._parts.remove(name)

    def finished_ids(self, column: str = "puzzle_id") -> set[str]:
        """Return the ids in all parts written so far; raises InputError for a part that cannot be read."""
        return {puzzle_id for part in self.tables([column]) for puzzle_id in part[column].to_pylist()}

    def tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield part after part, in the order of writing; raises InputError for one that cannot be read."""
        for name in self._parts:
            yield self.read(name, columns)

    def table(self) -> pa.Table:
        """Return every written row, in the order of writing; raises InputError for a part that cannot be read."""
        return pa.concat_tables([self._schema.empty_table(), *self.tables()])

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Return one part, or some columns of it; raises InputError where it cannot be read."""
        try:
            with self._place.open(name) as file:
                part = pq.read_table(file, columns=columns, partitioning=None)
        except (pa.ArrowInvalid, OSError) as problem:
            raise InputError(
                f"{self._place.address(name)}: a part of the ledger must be a whole Parquet file, got one that cannot be"
                f" read ({first_line(problem)}); remove it and its puzzles are solved again."
            ) from None
        wanted = self._schema if columns is None else pa.schema([self._schema.field(column) for column in columns])
        if not part.schema.equals(wanted):
            raise InputError(
                f"{self._place.address(name)}: a part must have the columns {wanted.names}, got {part.schema.names} or"
                " other types; it was written by another version, so choose another folder."
            )
        return part

    def _remove_torn(self) -> None:
        if self._place.is_local and os.path.isdir(self._place.root):
            for name in os.listdir(self._place.root):
                if _TORN.match(name):
                    Path(self._place.root, name).unlink()

    def _find_parts(self) -> list[str]:
        names = [name for name in self._place.names() if _PART.match(name)]
        return sorted(names, key=lambda name: (len(name), name))
