"""The columns of `verdicts/part-*.parquet`, and one scored row for each verdict.

Invariants, asserted in tests/unit/evaluation/test_verdicts.py: the columns and their order are the contract's, with our additions after
them; whatever needs a label is null without one; a residual that is not finite is null; a puzzle that crashed has no prediction and is
wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from eqr_ray.evaluation.scoring import score_ballot
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import Task
from eqr_ray.types import U8, StopReason, Verdict

VERDICT_SCHEMA = pa.schema(
    [
        pa.field("puzzle_id", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("question", pa.string(), nullable=False),
        pa.field("answer", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("exact", pa.bool_()),
        pa.field("valid", pa.bool_(), nullable=False),
        pa.field("confidence", pa.float64()),
        pa.field("votes", pa.int32(), nullable=False),
        pa.field("distinct_answers", pa.int32(), nullable=False),
        pa.field("breadth", pa.int32(), nullable=False),
        pa.field("depth", pa.int32(), nullable=False),
        pa.field("nfe", pa.int64(), nullable=False),
        pa.field("residual", pa.float64()),
        pa.field("stop", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("selection", pa.string(), nullable=False),
        pa.field("rating", pa.float64()),
        pa.field("n_cells", pa.int32(), nullable=False),
        pa.field("n_cells_right", pa.int32()),
        pa.field("any_correct", pa.bool_()),
        pa.field("majority_exact", pa.bool_()),
        pa.field("top1_residual_exact", pa.bool_()),
        pa.field("top1_logit_exact", pa.bool_()),
        pa.field("correct_votes", pa.int32()),
    ]
)
"""The first fifteen columns are the contract with users; scripts may rely on their names."""


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One row of the verdicts; field by field a column of `VERDICT_SCHEMA`."""

    puzzle_id: str
    source: str | None
    question: str
    answer: str | None
    prediction: str | None
    """In the notation of the question; None for a puzzle that killed its replicas, which counts as wrong."""
    exact: bool | None
    """Whether the prediction is the answer; None without an answer."""
    valid: bool
    """Whether the prediction keeps the question's clues and obeys the rules."""
    confidence: float | None
    votes: int
    distinct_answers: int
    breadth: int
    depth: int
    nfe: int
    residual: float | None
    stop: str
    task: str
    selection: str
    rating: float | None
    n_cells: int
    n_cells_right: int | None
    """Right cells, given clues included."""
    any_correct: bool | None
    majority_exact: bool | None
    top1_residual_exact: bool | None
    top1_logit_exact: bool | None
    correct_votes: int | None

    def as_dict(self) -> dict[str, object]:
        """Return column -> value, the form in which a ledger takes rows."""
        return {name: getattr(self, name) for name in VERDICT_SCHEMA.names}


def score(record: Record, verdict: Verdict, task: Task) -> VerdictRow:
    """Return the row of one verdict, scored against the record's answer where it has one.

    A Sudoku prediction is exact if every cell is the answer's; a maze prediction is also exact if it is another path of the
    shortest length, which can be where a maze is not perfect.
    """
    question, truth = record.puzzle.cells, record.answer
    answered = verdict.stop is not StopReason.CRASHED

    def is_right(answer: U8) -> bool:
        if not answered:
            return False
        same = truth is not None and np.array_equal(answer, truth)
        return same or (task.family == "maze" and task.is_valid(question, answer))

    ballot = None if truth is None else score_ballot(verdict, is_right)
    return VerdictRow(
        puzzle_id=verdict.puzzle_id,
        source=record.source,
        question=record.question,
        answer=None if truth is None else _format(task, truth, record.question),
        prediction=_format(task, verdict.answer, record.question) if answered else None,
        exact=None if truth is None else is_right(verdict.answer),
        valid=answered and task.is_valid(question, verdict.answer),
        confidence=_finite(verdict.confidence),
        votes=verdict.votes,
        distinct_answers=verdict.distinct_answers,
        breadth=verdict.breadth,
        depth=verdict.depth,
        nfe=verdict.nfe,
        residual=_finite(verdict.residual),
        stop=verdict.stop.value,
        task=task.name,
        selection=verdict.selection,
        rating=record.rating,
        n_cells=task.n_cells,
        n_cells_right=None if truth is None else int((truth == verdict.answer).sum()) if answered else 0,
        any_correct=None if ballot is None else ballot.any_correct,
        majority_exact=None if ballot is None else ballot.majority_exact,
        top1_residual_exact=None if ballot is None else ballot.top1_residual_exact,
        top1_logit_exact=None if ballot is None else ballot.top1_logit_exact,
        correct_votes=None if ballot is None else ballot.correct_votes,
    )


def _format(task: Task, cells: U8, question: str) -> str:
    """Write cells with the mark for blank cells that the question uses."""
    line = task.format(cells)
    return line.replace(".", "0") if task.family == "sudoku" and "." not in question and "0" in question else line


def to_table(rows: Iterable[VerdictRow]) -> pa.Table:
    """Return the rows as a table of `VERDICT_SCHEMA`."""
    return pa.Table.from_pylist([row.as_dict() for row in rows], schema=VERDICT_SCHEMA)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
