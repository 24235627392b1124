"""The Pareto front of accuracy and iterations, and which of its policies get a name.

Invariants, asserted in tests/unit/tuning/test_front.py: nothing on the front is worse in one and no better in the other than another
trial; the three chosen are on the front; `economy` costs no more than `balanced`, which costs no more than `max`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eqr_ray.policy import PolicySpec

ECONOMY_LOSS, BALANCED_LOSS = 0.02, 0.002
"""Accuracy below the best of the front that `economy` and `balanced` may give up: two points, and two tenths of one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial that ended."""

    number: int
    spec: PolicySpec
    accuracy: float
    nfe_mean: float
    feasible: bool = True


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the feasible trials that no other dominates, cheapest first; of equals the earliest."""
    ordered = sorted(
        (own for own in candidates if own.feasible), key=lambda own: (own.nfe_mean, -own.accuracy, own.number)
    )
    found: list[Candidate] = []
    for own in ordered:
        if not found or own.accuracy > found[-1].accuracy:
            found.append(own)
    return found


def chosen(points: Sequence[Candidate]) -> dict[str, Candidate]:
    """Return `economy`, `balanced` and `max`: the cheapest of the front within `ECONOMY_LOSS`, within `BALANCED_LOSS`, and at the best
    accuracy; {} for an empty front."""
    if not points:
        return {}
    best = max(own.accuracy for own in points)

    def cheapest(loss: float) -> Candidate:
        return next(own for own in points if own.accuracy >= best - loss - 1e-12)

    return {"economy": cheapest(ECONOMY_LOSS), "balanced": cheapest(BALANCED_LOSS), "max": cheapest(0.0)}
