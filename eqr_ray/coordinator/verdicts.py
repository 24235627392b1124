"""From a policy's choices to verdicts.

Invariant, asserted in tests/unit/coordinator/test_coordinator.py: a verdict's answer is the first of its ballot, its
nfe the sum of its depths.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eqr_ray.policy import Choices
from eqr_ray.types import I64, U8, Puzzle, StopReason, Tallies, Verdict, Vote


def reported_only(tallies: Tallies, rows: I64) -> tuple[Tallies, I64]:
    """Return the tallies, and the table's row of each trajectory, without trajectories that nobody has stepped yet."""
    stepped = tallies.trajectories.depth > 0
    if stepped.all():
        return tallies, rows
    breadth = np.bincount(tallies.owner[stepped], minlength=len(tallies))
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(breadth)])
    return Tallies(tallies.puzzle, start, tallies.trajectories.take(stepped), tallies.rounds), rows[stepped]


def verdicts_of(
    puzzles: list[Puzzle],
    tallies: Tallies,
    answers: NDArray[np.object_],
    choices: Choices,
    selection: str,
    stops: list[StopReason],
) -> list[Verdict]:
    """Return one verdict a puzzle, in the order of the tallies; `answers` is (T,), the decoded answer of each
    trajectory."""
    rows, ballots = tallies.trajectories, choices.ballots
    deepest = np.maximum.reduceat(rows.depth, tallies.start[:-1]).tolist()
    nfe, breadth = tallies.nfe.tolist(), tallies.breadth.tolist()
    confidence, votes = choices.confidence.tolist(), choices.votes.tolist()
    keys, first, ballot_first = rows.answer_key.tolist(), tallies.start.tolist(), choices.start.tolist()
    decoded: list[U8] = answers.tolist()
    columns = zip(
        ballots.answer_key.tolist(),
        ballots.count.tolist(),
        ballots.weight.tolist(),
        ballots.best_residual.tolist(),
        ballots.best_logit_delta.tolist(),
        strict=True,
    )
    found: list[Verdict] = []
    for p, puzzle in enumerate(puzzles):
        own = slice(first[p], first[p + 1])
        answer_of = dict(zip(keys[own], decoded[own], strict=True))
        ballot: list[Vote] = []
        for _ in range(ballot_first[p], ballot_first[p + 1]):
            key, count, weight, best_residual, best_logit_delta = next(columns)
            # A copy, so that a verdict does not keep the whole report alive that its answer came with.
            ballot.append(Vote(key, answer_of[key].copy(), count, weight, best_residual, best_logit_delta))
        found.append(
            Verdict(
                puzzle_id=puzzle.puzzle_id,
                answer=ballot[0].answer,
                selection=selection,
                confidence=confidence[p],
                votes=votes[p],
                distinct_answers=len(ballot),
                breadth=breadth[p],
                depth=deepest[p],
                nfe=nfe[p],
                residual=ballot[0].best_residual,
                stop=stops[p],
                ballot=tuple(ballot),
            )
        )
    return found


def crashed(puzzle: Puzzle, selection: str) -> Verdict:
    """Return the verdict of a puzzle that killed its replicas: no answer, and nothing charged, whatever was reported before."""
    return Verdict(
        puzzle_id=puzzle.puzzle_id,
        answer=puzzle.cells,
        selection=selection,
        confidence=0.0,
        votes=0,
        distinct_answers=0,
        breadth=0,
        depth=0,
        nfe=0,
        residual=math.inf,
        stop=StopReason.CRASHED,
        ballot=(),
    )
