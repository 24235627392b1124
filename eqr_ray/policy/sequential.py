"""Policies that run trajectories to their end, a window at a time, until the votes decide: simpler rivals of `posterior`.

Invariants, asserted in tests/unit/policy/test_sequential.py: each stops at the first round in which its rule holds; the Beta rule and the
Bayes factor equal their integrals; without a decision the whole budget is spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import comb
from typing import ClassVar

import numpy as np

from eqr_ray.policy import halting
from eqr_ray.policy.granting import extend, settle
from eqr_ray.policy.protocol import Choices
from eqr_ray.policy.voting import Selection, choose, leader_and_runner_up, settled
from eqr_ray.types import F64, I64, Allocations, Bool, Budget, HaltRule, Status, Tallies


@dataclass(frozen=True)
class Sequential:
    """A window of trajectories a round, each to its end, until `decided` holds."""

    name: ClassVar[str] = "sequential"
    selection: ClassVar[str] = Selection.MAJORITY.value

    depth: int = 64
    """D. A trajectory that has not settled by then casts no vote."""
    breadth: int = 16
    """B. Bounds what a puzzle without agreement can cost."""
    nfe: int | None = None
    """Cap on the iterations of a puzzle; left out it is D * B."""
    window: int = 1
    """Trajectories of a round (arXiv 2401.10480 stops on a window that agrees). More need fewer rounds and overshoot more."""
    min_depth: int = halting.MIN_DEPTH
    """See `HaltRule`."""
    residual_below: float = halting.RESIDUAL_BELOW
    """See `HaltRule`."""
    q_halt_above: float = halting.Q_HALT_ABOVE
    """See `HaltRule`."""
    stable_for: int = halting.STABLE_FOR
    """See `HaltRule`."""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be at least 1, got window={self.window}")
        if np.isnan([self.residual_below, self.q_halt_above]).any():
            raise ValueError("a threshold must be a number, got nan")
        _ = self.budget

    @cached_property
    def budget(self) -> Budget:
        """D, B, the cap and the halting rule."""
        nfe = self.depth * self.breadth if self.nfe is None else self.nfe
        rule = HaltRule(self.min_depth, self.residual_below, self.q_halt_above, self.stable_for)
        return Budget(self.depth, self.breadth, nfe, rule)

    def decided(self, leader: I64, runner_up: I64, votes: I64) -> Bool:
        """Return which puzzles the votes decide: (P,) votes of the leader, of the second answer, and in all."""
        raise NotImplementedError

    def select(self, tallies: Tallies) -> Choices:
        """Take the majority of the settled trajectories."""
        return choose(tallies, settled(tallies.trajectories), Selection.MAJORITY)

    def allocate(self, tallies: Tallies) -> Allocations:
        """Bring every running trajectory to depth D; where none runs and nothing is decided, start a window more."""
        rows, owner, n_puzzles = tallies.trajectories, tallies.owner, len(tallies)
        voters = settled(rows)
        leader, runner_up = leader_and_runner_up(owner[voters], rows.answer_key[voters], n_puzzles)
        votes = np.bincount(owner[voters], minlength=n_puzzles)
        agreed = (leader > 0) & self.decided(leader, runner_up, votes)
        left = np.where(agreed, 0, self.budget.nfe - tallies.nfe)
        worth = (rows.status == Status.RUNNING) & (rows.depth < self.depth) & ~agreed[owner]
        goal = np.full(len(rows), self.depth, np.int64)
        extend_to, left_over = extend(tallies, owner, worth, left, goal)
        running = np.bincount(owner[worth], minlength=n_puzzles) > 0
        wanted = np.where(running, 0, self.window).astype(np.int64)
        return settle(tallies, owner, self.budget, extend_to, left_over, wanted, self.depth, np.where(agreed, 2, 0))


@dataclass(frozen=True)
class Agreement(Sequential):
    """Stop when an answer has `agree` votes."""

    name: ClassVar[str] = "agreement"

    agree: int = 2
    """More costs iterations on every puzzle and lets fewer shared mistakes pass."""

    def __post_init__(self) -> None:
        if self.agree < 1:
            raise ValueError(f"agree must be at least 1, got agree={self.agree}")
        super().__post_init__()

    def decided(self, leader: I64, runner_up: I64, votes: I64) -> Bool:
        """Enough votes for one answer, and more than for any other."""
        return np.asarray((leader >= self.agree) & (leader > runner_up), dtype=np.bool_)


@dataclass(frozen=True)
class AdaptiveConsistency(Sequential):
    """Stop when the leader is more frequent than the second with probability `sure` (arXiv 2305.11860, Beta rule)."""

    name: ClassVar[str] = "adaptive_consistency"

    sure: float = 0.95
    """0.95 needs four votes that all agree, 0.75 one."""

    def __post_init__(self) -> None:
        if not 0.5 < self.sure < 1:
            raise ValueError(f"sure must be in (0.5, 1), got sure={self.sure}")
        super().__post_init__()

    def decided(self, leader: I64, runner_up: I64, votes: I64) -> Bool:
        """1 - I_{1/2}(v1 + 1, v2 + 1) >= sure."""
        return np.asarray(beta_tail(leader, runner_up) >= self.sure, dtype=np.bool_)


@dataclass(frozen=True)
class BayesFactor(Sequential):
    """Stop when the votes speak for a true majority by a factor (after arXiv 2509.21091).

    The leader's share p has a uniform prior; the factor is P(votes | p > 1/2) / P(votes | p <= 1/2), every other answer counted
    against it together.
    """

    name: ClassVar[str] = "bayes_factor"

    factor: float = 10.0
    """3 is weak evidence, 10 strong, 100 decisive; each further agreeing vote about doubles it."""

    def __post_init__(self) -> None:
        if not self.factor > 1:
            raise ValueError(f"factor must be greater than 1, got factor={self.factor}")
        super().__post_init__()

    def decided(self, leader: I64, runner_up: I64, votes: I64) -> Bool:
        """Both hypotheses have prior 1/2, so the factor is the posterior odds."""
        tail = beta_tail(leader, votes - leader)
        return np.asarray(tail >= self.factor * (1 - tail), dtype=np.bool_)


def beta_tail(a: I64, b: I64) -> F64:
    """Return P(p > 1/2) for p ~ Beta(a + 1, b + 1), elementwise: 1 - I_{1/2}(a + 1, b + 1)."""
    return np.array([_beta_tail(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)], np.float64)


@lru_cache(maxsize=65536)
def _beta_tail(a: int, b: int) -> float:
    # For whole numbers the incomplete beta function is a binomial tail (Abramowitz and Stegun 26.5.24).
    n = a + b + 1
    return float(sum(comb(n, j) for j in range(a + 1)) / 2**n)
