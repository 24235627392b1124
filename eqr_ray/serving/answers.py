"""From what the engine's thread tells to what a caller reads."""

from __future__ import annotations

import math
from collections.abc import Iterator

from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import Task
from eqr_ray.serving.jobs import Steps
from eqr_ray.serving.schemas import BallotOut, PolicyOut, TraceOut, VerdictOut
from eqr_ray.serving.service import Question
from eqr_ray.types import Status, Verdict

MOST_BALLOTS = 8
"""Distinct answers of a verdict that are spelled out."""
_STATUS = {status.value: status.name.lower() for status in Status}


def policy_out(asked: Question) -> PolicyOut:
    """Return the policy of a request, its budget in full."""
    budget = asked.policy.budget
    return PolicyOut(name=asked.policy.name, depth=budget.depth, breadth=budget.breadth, nfe=budget.nfe)


def verdict_out(task: Task, record: Record, verdict: Verdict) -> VerdictOut:
    """Return a verdict in the notation of the question."""
    return VerdictOut(
        puzzle_id=verdict.puzzle_id,
        question=record.question,
        prediction=task.format(verdict.answer),
        valid=task.is_valid(record.puzzle.cells, verdict.answer),
        confidence=verdict.confidence,
        votes=verdict.votes,
        distinct_answers=verdict.distinct_answers,
        breadth=verdict.breadth,
        depth=verdict.depth,
        nfe=verdict.nfe,
        residual=finite(verdict.residual),
        stop=verdict.stop.value,
        selection=verdict.selection,
        ballot=[
            BallotOut(answer=task.format(vote.answer), count=vote.count, weight=vote.weight)
            for vote in verdict.ballot[:MOST_BALLOTS]
        ],
    )


def trace_out(task: Task, steps: Steps) -> Iterator[TraceOut]:
    """Yield the trajectories of one report."""
    rows = steps.trajectories
    columns = (rows.index, rows.depth, rows.residual, rows.q_halt, rows.status, rows.answer_key)
    for index, depth, residual, q_halt, status, key in zip(*(column.tolist() for column in columns), strict=True):
        yield TraceOut(
            trajectory=index,
            depth=depth,
            residual=finite(residual),
            q_halt=finite(q_halt),
            status=_STATUS[status],
            answer=task.format(steps.answers[key]),
        )


def finite(value: float) -> float | None:
    """Return a number that JSON has, None in the place of the others."""
    return float(value) if math.isfinite(value) else None
