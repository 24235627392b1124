"""Builders for coordinator tests."""

from __future__ import annotations

import numpy as np

from eqr_ray.types import Puzzle, Verdict


def puzzles(n: int, first: int = 0) -> list[Puzzle]:
    rng = np.random.default_rng(n + 1000 * first)
    return [
        Puzzle(f"p{first + i}", "sudoku4", cells) for i, cells in enumerate(rng.integers(0, 5, (n, 16), dtype=np.uint8))
    ]


def facts(verdict: Verdict) -> tuple[object, ...]:
    """Return all that a verdict says, comparable."""
    ballot = [
        (v.answer_key, v.answer.tobytes(), v.count, v.weight, v.best_residual, v.best_logit_delta)
        for v in verdict.ballot
    ]
    return (
        verdict.puzzle_id, verdict.answer.tobytes(), verdict.selection, verdict.confidence, verdict.votes, verdict.distinct_answers,
        verdict.breadth, verdict.depth, verdict.nfe, verdict.residual, verdict.stop, tuple(ballot),
    )  # fmt: skip
