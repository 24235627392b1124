"""A run's puzzles as files that other programs read.

Invariants, asserted in tests/cli/test_run_commands.py: what is exported is read back as puzzles with the layout of the published
Sudoku-Extreme; memory follows one batch, not the run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice

from eqr_ray.evaluation.report import verdict_batches
from eqr_ray.puzzles.record import Record, Registrar, Row
from eqr_ray.puzzles.task import task
from eqr_ray.puzzles.writing import write_puzzles
from eqr_ray.storage import Place
from eqr_ray.types import InputError, StorageError

COLUMNS = ["puzzle_id", "source", "question", "answer", "prediction", "exact", "valid", "rating", "task"]


class Answers(StrEnum):
    """Whose answers are written."""

    KNOWN = "known"
    """Those of the puzzle file."""
    PREDICTED = "predicted"
    """The run's, where they obey the rules; left out where not."""


class Which(StrEnum):
    """Which puzzles are written."""

    ALL = "all"
    RIGHT = "right"
    WRONG = "wrong"


def export(run: str, out: str, answers: Answers, which: Which) -> int:
    """Write a run's puzzles in the published layout (.csv, .csv.gz, .parquet) and return how many; InputError."""
    return write_puzzles(out, _records(run, answers, which))


def _records(run: str, answers: Answers, which: Which) -> Iterator[Record]:
    registrar: Registrar | None = None
    for batch in verdict_batches(run, COLUMNS):
        for row in batch.to_pylist():
            registrar = registrar or Registrar(task(row["task"]))
            right = row["valid"] if row["exact"] is None else row["exact"]
            if which is not Which.ALL and right is not (which is Which.RIGHT):
                continue
            answer = row["answer"] if answers is Answers.KNOWN else row["prediction"] if row["valid"] else ""
            rating = "" if row["rating"] is None else str(row["rating"])
            yield registrar.record(Row(row["question"], answer or "", rating, row["source"] or "", 0, run))
    if registrar is None:
        raise InputError(f"{run} holds no verdicts in verdicts/part-*.parquet; give the --out folder of an evaluation")


def write_rows(out: str, rows: Iterable[dict[str, object]]) -> int:
    """Write rows with equal keys as CSV, a header first, and return how many; InputError."""
    text = io.StringIO()
    count, source = 0, iter(rows)
    writer: csv.DictWriter[str] | None = None
    while batch := list(islice(source, 1000)):
        writer = writer or csv.DictWriter(text, list(batch[0]), lineterminator="\n")
        if not count:
            writer.writeheader()
        writer.writerows(batch)
        count += len(batch)
    folder, slash, name = out.rpartition("/")
    try:
        Place(folder if slash else ".").write(name, text.getvalue().encode())
    except StorageError as error:
        raise InputError(str(error)) from None
    return count
