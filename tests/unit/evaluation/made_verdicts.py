"""Verdicts made by hand: a test states only what it varies."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eqr_ray.evaluation.verdicts import VerdictRow, to_table
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import task
from eqr_ray.types import U8, Puzzle, StopReason, Verdict, Vote

QUESTION = "1.....12..2..1.."
ANSWER = "1234341243212143"
WRONG = "1234341243212134"
"""The answer with its last two cells exchanged: keeps the clues and breaks two columns."""

ROW = VerdictRow(
    puzzle_id="p0", source="made", question=QUESTION, answer=ANSWER, prediction=ANSWER,
    exact=True, valid=True, confidence=0.9, votes=2, distinct_answers=1, breadth=2, depth=8, nfe=16, residual=0.01,
    stop="consensus", task="sudoku4", selection="majority", rating=None, n_cells=16, n_cells_right=16, any_correct=True,
    majority_exact=True, top1_residual_exact=True, top1_logit_exact=True, correct_votes=2,
)  # fmt: skip


def row(number: int = 0, **changes: object) -> VerdictRow:
    """Return a right verdict of a 4x4 puzzle, with changes."""
    return replace(ROW, **({"puzzle_id": f"p{number}"} | changes))  # type: ignore[arg-type]


def wrong(number: int = 0, **changes: object) -> VerdictRow:
    """Return a wrong verdict: two cells differ from the answer."""
    return row(
        number,
        **(
            {"prediction": WRONG, "exact": False, "valid": False, "n_cells_right": 14, "any_correct": False}
            | {"majority_exact": False, "top1_residual_exact": False, "top1_logit_exact": False, "correct_votes": 0}
            | changes
        ),
    )


def unlabelled(number: int = 0, **changes: object) -> VerdictRow:
    """Return a valid verdict of a puzzle whose answer nobody gave."""
    return row(
        number,
        **(
            {"answer": None, "exact": None, "n_cells_right": None, "any_correct": None, "majority_exact": None}
            | {"top1_residual_exact": None, "top1_logit_exact": None, "correct_votes": None}
            | changes
        ),
    )


def folder(path: Path, rows: list[VerdictRow], parts: int = 1) -> Path:
    """Write rows as the verdicts of an evaluation that was cut off and return its folder."""
    table = to_table(rows)
    (path / "verdicts").mkdir(parents=True)
    cuts = np.linspace(0, table.num_rows, parts + 1).astype(int)
    for number, (low, high) in enumerate(pairwise(cuts)):
        pq.write_table(table.slice(low, high - low), path / "verdicts" / f"part-{number:05d}.parquet")
    return path


def cells(text: str, name: str = "sudoku4") -> U8:
    """Return the encoded cells of a line."""
    return task(name).parse(text)


def record(question: str, answer: str | None, name: str = "sudoku4", **changes: object) -> Record:
    """Return a record as a file's reader makes it."""
    truth = None if answer is None else cells(answer, name)
    made = Record(Puzzle("p0", name, cells(question, name)), "made", question, truth, None, 1, "made.csv")
    return replace(made, **changes)  # type: ignore[arg-type]


def vote(answer: str, key: int, count: int = 1, name: str = "sudoku4", **changes: float) -> Vote:
    """Return a vote for an answer."""
    made = Vote(key, cells(answer, name), count, 0.5, best_residual=0.1, best_logit_delta=0.1)
    return replace(made, **changes)


def verdict(answer: str, *ballot: Vote, name: str = "sudoku4", **changes: object) -> Verdict:
    """Return a verdict for an answer."""
    made = Verdict("p0", cells(answer, name), "majority", 0.9, 1, 1, 1, 8, 8, 0.01, StopReason.CONSENSUS, ballot)
    return replace(made, **changes)  # type: ignore[arg-type]


def batches(table: pa.Table, sizes: list[int]) -> list[pa.Table]:
    """Cut a table into pieces of the given sizes, whatever is left in a last one."""
    pieces, start = [], 0
    for size in [*sizes, table.num_rows]:
        pieces.append(table.slice(start, size))
        start += size
    return pieces
