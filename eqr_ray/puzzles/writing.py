"""Writes puzzle files that `files` reads back: CSV, gzipped CSV, Parquet.

Invariants, asserted in tests/unit/puzzles/test_puzzle_files.py: a local file appears whole or not at all; memory is flat.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from eqr_ray.puzzles.arrays import is_array_file, write_arrays
from eqr_ray.puzzles.files import COLUMNS
from eqr_ray.puzzles.opening import bare, file_system
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import task
from eqr_ray.types import InputError

SCHEMA = pa.schema(
    [("source", pa.string()), ("question", pa.string()), ("answer", pa.string()), ("rating", pa.float64())]
)
BATCH = 4096


def csv_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield the header and one line a record, each with its line end."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        yield line.getvalue()
        line.seek(0)
        line.truncate()
        writer.writerow([record.source, record.question, _answer(record) or "", _rating(record)])
    yield line.getvalue()


def write_puzzles(path: str, records: Iterable[Record]) -> int:
    """Write records to `path` (.csv, .csv.gz, .parquet, local or URI; local .npz) and return how many there were.

    A local file is written beside its place and moved there when it is whole; raises InputError if it cannot be written.
    """
    ending = bare(path).lower()
    if is_array_file(ending):
        return write_arrays(path, records)
    if not ending.endswith((".csv", ".csv.gz", ".parquet")):
        raise InputError(f"puzzles are written to .csv, .csv.gz, .parquet or .npz, got {path}; change the ending")
    system, inner = file_system(path)
    local = "://" not in path
    unfinished = f"{inner}.part-{os.getpid()}" if local else inner
    counted = _Counted(records)
    try:
        with system.open_output_stream(unfinished, compression=None) as stream:
            if ending.endswith(".parquet"):
                _write_parquet(stream, counted)
            elif ending.endswith(".gz"):
                with gzip.GzipFile(fileobj=stream, mode="wb", filename="", mtime=0) as packed:
                    packed.writelines(line.encode() for line in csv_lines(counted))
            else:
                stream.writelines(line.encode() for line in csv_lines(counted))
        if local:
            os.replace(unfinished, inner)
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["unknown"])[0].rstrip(".")
        raise InputError(f"{path} cannot be written ({reason}); name a place that exists and is yours") from None
    finally:
        if local and os.path.exists(unfinished):
            os.unlink(unfinished)
    return counted.count


class _Counted:
    """Passes records on and counts them."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records
        self.count = 0

    def __iter__(self) -> Iterator[Record]:
        for record in self._records:
            self.count += 1
            yield record


def _write_parquet(stream: IO[bytes], records: Iterable[Record]) -> None:
    with pq.ParquetWriter(stream, SCHEMA) as writer:
        waiting = iter(records)
        while batch := list(itertools.islice(waiting, BATCH)):
            rows = [
                {"source": r.source, "question": r.question, "answer": _answer(r), "rating": r.rating} for r in batch
            ]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))


def _answer(record: Record) -> str | None:
    return None if record.answer is None else task(record.puzzle.task).format(record.answer)


def _rating(record: Record) -> str:
    return "" if record.rating is None else f"{record.rating:g}" if record.rating < 1e6 else repr(record.rating)
