"""Reads puzzle files: CSV in the published layout, text lines, Parquet, gzip, folders of these; local or on S3. And the NumPy folders of
HRM, TRM and EqR.

Invariants, asserted in tests/unit/puzzles/test_puzzle_files.py: what `write_puzzles` writes is read back the same from every format; all
puzzles of a run have one task; memory does not grow with the file but for a digest of each question; bad input is an
InputError that names file, line, value and remedy. Nothing is solved while reading: a puzzle with several solutions is
a puzzle.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from eqr_ray.puzzles.maze import MARKS
from eqr_ray.puzzles.opening import bare, files_of, read_text, stem
from eqr_ray.puzzles.published_folder import is_published, published_rows
from eqr_ray.puzzles.record import Record, Registrar, Row, Shard
from eqr_ray.puzzles.task import Task
from eqr_ray.storage import Stream, first_line
from eqr_ray.types import InputError

COLUMNS = ("source", "question", "answer", "rating")
"""The published Sudoku-Extreme layout."""
csv.field_size_limit(1 << 21)


def read_puzzles(
    path: str, task: Task | None = None, limit: int | None = None, shard: Shard | None = None
) -> Iterator[Record]:
    """Yield the records of the first `limit` puzzles of a file or folder, or one share of these; the task follows from the
    first question if none is given.

    Every file of a folder must hold the same task. Raises InputError, while iterating, for whatever cannot be used.
    """
    registrar = Registrar(task, shard)
    rows = _every_row(path, task)
    for row in rows if limit is None else itertools.islice(rows, limit):
        record = registrar.own_record(row)
        if record is not None:
            yield record


def read_lines(lines: Iterable[str], name: str, task: Task | None = None, limit: int | None = None) -> Iterator[Record]:
    """Yield the records of text lines from a stream, CSV if the first line is a header; `name` stands in messages."""
    registrar = Registrar(task)
    stripped = (line.rstrip("\r\n") for line in lines)
    records = map(registrar.record, _rows(stripped, name, name))
    empty = True
    for record in records if limit is None else itertools.islice(records, limit):
        empty = False
        yield record
    if empty and limit != 0:
        raise _no_puzzles(name)


def first_task(path: str) -> Task:
    """Return the task of the first puzzle of a file or folder."""
    registrar = Registrar()
    registrar.record(next(_every_row(path)))
    assert registrar.task is not None
    return registrar.task


def _every_row(path: str, task: Task | None = None) -> Iterator[Row]:
    if is_published(path):
        yield from published_rows(path, task)
        return
    for file in files_of(path):
        rows = (
            _parquet_rows(file) if bare(file).lower().endswith(".parquet") else _rows(read_text(file), file, stem(file))
        )
        empty = True
        for row in rows:
            empty = False
            yield row
        if empty:
            raise _no_puzzles(file)


def _no_puzzles(name: str) -> InputError:
    return InputError(f"{name} has no puzzles; give a CSV with the header {','.join(COLUMNS)} or one puzzle a line")


def _rows(lines: Iterator[str], file: str, source: str) -> Iterator[Row]:
    """Yield the rows of CSV text, told by its header or by the file's ending, or of one puzzle a line."""
    first = next(lines, None)
    if first is None:
        return
    again = itertools.chain([first], lines)
    named_csv = bare(file).lower().endswith((".csv", ".csv.gz"))
    yield from _csv_rows(again, file, source) if named_csv or "," in first else _text_rows(again, file, source)


def _text_rows(lines: Iterator[str], file: str, source: str) -> Iterator[Row]:
    """Yield one row a line: its first word, or the whole line of a maze; blank lines and comments are skipped."""
    for number, line in enumerate(lines, start=1):
        if not line.strip() or _is_comment(line):
            continue
        question = line if "#" in line else line.split()[0]
        yield Row(question, "", "", source, number, file)


def _is_comment(line: str) -> bool:
    """Tell `# easy ones` from a maze, which begins with a wall too but is made of its marks, a mistyped one aside."""
    return line.startswith("#") and sum(line.count(mark) for mark in MARKS) < len(line) / 2


def _csv_rows(lines: Iterator[str], file: str, source: str) -> Iterator[Row]:
    reader = csv.reader(lines, strict=True)
    header: list[str] = []
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"{file}, line {reader.line_num}: a CSV line is well formed, got {error}; correct it"
            ) from None
        if fields is None:
            return
        if not fields:
            continue
        if not header:
            header = [name.strip().lower() for name in fields]
            _check_header(header, fields, f"{file}, line {reader.line_num}")
            continue
        if len(fields) != len(header):
            raise InputError(
                f"{file}, line {reader.line_num}: a line has {len(header)} columns as the header does, got {len(fields)}; "
                "correct it"
            )
        row = dict(zip(header, fields, strict=True))
        yield Row(
            row["question"],
            row.get("answer", ""),
            row.get("rating", ""),
            row.get("source", "").strip() or source,
            reader.line_num,
            file,
        )


def _check_header(names: list[str], fields: list[str], place: str) -> None:
    if "question" not in names:
        got = ",".join(fields)
        raise InputError(
            f"{place}: a puzzle table has a column question, got {got[:60]!r}; begin it with {','.join(COLUMNS)}"
        )


def _parquet_rows(file: str) -> Iterator[Row]:
    try:
        with Stream(file) as stream:
            table = pq.ParquetFile(stream.native)
            names = table.schema_arrow.names
            _check_header(names, names, file)
            columns = [name for name in COLUMNS if name in names]
            row = 0
            for batch in table.iter_batches(batch_size=4096, columns=columns):
                for values in batch.to_pylist():
                    row += 1
                    text = {name: "" if values.get(name) is None else str(values[name]) for name in COLUMNS}
                    yield Row(text["question"], text["answer"], text["rating"], text["source"] or stem(file), row, file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} is no whole Parquet file ({first_line(error)}); write or fetch it again") from None
