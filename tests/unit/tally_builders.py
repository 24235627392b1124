"""Tallies for tests: a test states only what it varies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eqr_ray.types import Status, Tallies, Trajectories

RUNNING, CONVERGED, Q_HALTED, DIVERGED = Status.RUNNING, Status.CONVERGED, Status.Q_HALTED, Status.DIVERGED


@dataclass(frozen=True)
class Row:
    """One trajectory."""

    status: Status = CONVERGED
    key: int = 1
    depth: int = 10
    residual: float = 0.05
    logit_delta: float = 0.05
    q_halt: float = 1.0


def tally(*puzzles: list[Row]) -> Tallies:
    """Build the tallies of puzzles 0, 1, ... from their rows."""
    rows = [row for puzzle in puzzles for row in puzzle]
    start = np.cumsum([0, *(len(puzzle) for puzzle in puzzles)]).astype(np.int64)
    trajectories = Trajectories(
        np.array([p for p, puzzle in enumerate(puzzles) for _ in puzzle], np.int64),
        np.array([i for puzzle in puzzles for i in range(len(puzzle))], np.int32),
        np.array([row.depth for row in rows], np.int32),
        np.array([row.residual for row in rows], np.float32),
        np.array([row.logit_delta for row in rows], np.float32),
        np.array([row.q_halt for row in rows], np.float32),
        np.array([row.key for row in rows], np.uint64),
        np.array([row.status for row in rows], np.uint8),
    )
    rounds = np.array([int(len(puzzle) > 0) for puzzle in puzzles], np.int32)
    return Tallies(np.arange(len(puzzles), dtype=np.int64), start, trajectories, rounds)
