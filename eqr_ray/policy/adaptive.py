"""The first adaptive policy: one short trajectory for every puzzle, then more depth or more breadth where it is not yet
sure.

Invariants, asserted in tests/unit/policy/test_adaptive.py: a puzzle stops at the first round in which its settled
trajectories agree; what is still converging is extended before anything new is started; what is granted is reserved
first, so D, B and nfe hold even if nothing halts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from eqr_ray.policy import halting
from eqr_ray.policy.granting import extend, settle
from eqr_ray.policy.protocol import Choices
from eqr_ray.policy.voting import Selection, choose, leader_and_runner_up, settled
from eqr_ray.types import I64, Allocations, Bool, Budget, HaltRule, Status, Tallies


@dataclass(frozen=True)
class Adaptive:
    """Extend what is converging, widen what disagrees, stop on agreement."""

    name: ClassVar[str] = "adaptive"
    selection: ClassVar[str] = Selection.POSTERIOR.value

    depth: int = 256
    """D. Raising it helps puzzles that stop with `depth_spent`."""
    breadth: int = 16
    """B. Raising it helps puzzles whose settled trajectories disagree to the end."""
    nfe: int | None = None
    """Cap on the iterations of a puzzle; left out it is D * B."""
    first_depth: int = 16
    """Depth of a new trajectory's first round. Halting makes depth that is not needed free, so small values only add
    rounds; large ones delay the first decision about a trajectory that wanders."""
    first_breadth: int = 1
    """Trajectories of the first round. More answers hard puzzles in fewer rounds and wastes work on easy ones."""
    growth: float = 1.5
    """Factor by which breadth grows when it must. Larger needs fewer rounds and overshoots more."""
    accept_q: float = 4.0
    """Halting logit at which one settled trajectory is believed at once. Lower saves the second opinion on easy puzzles
    and accepts more confident mistakes; inf always asks for `agree` votes."""
    agree: int = 2
    """Lead in votes over the second answer at which the first is taken. More costs iterations on every puzzle that is
    not accepted at once."""
    widen_after: int = 64
    """Depth at which a puzzle without any settled trajectory starts new ones beside those it extends. Lower bets on
    breadth."""
    patience: int = 128
    """Depth from which a running trajectory above `abandon_above` is left where it is, until breadth is used up. Lower
    saves depth on hopeless trajectories and loses late ones."""
    abandon_above: float = 0.5
    """Residual, on latents of rms 1, that counts as high after `patience` iterations; inf abandons nothing."""
    min_depth: int = halting.MIN_DEPTH
    """See `HaltRule`."""
    residual_below: float = halting.RESIDUAL_BELOW
    """See `HaltRule`."""
    q_halt_above: float = halting.Q_HALT_ABOVE
    """See `HaltRule`."""
    stable_for: int = halting.STABLE_FOR
    """See `HaltRule`."""

    def __post_init__(self) -> None:
        for name in ("first_depth", "first_breadth", "agree", "widen_after", "patience"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {name}={value}")
        if not self.growth >= 1:
            raise ValueError(f"growth must be at least 1, got growth={self.growth}")
        if np.isnan([self.accept_q, self.abandon_above, self.residual_below, self.q_halt_above]).any():
            raise ValueError("a threshold must be a number, got nan")
        _ = self.budget

    @cached_property
    def budget(self) -> Budget:
        """D, B, the cap and the halting rule."""
        nfe = self.depth * self.breadth if self.nfe is None else self.nfe
        rule = HaltRule(self.min_depth, self.residual_below, self.q_halt_above, self.stable_for)
        return Budget(self.depth, self.breadth, nfe, rule)

    def select(self, tallies: Tallies) -> Choices:
        """Let settled trajectories vote, weighed by their halting logit."""
        return choose(tallies, settled(tallies.trajectories), Selection.POSTERIOR)

    def allocate(self, tallies: Tallies) -> Allocations:
        """Stop the puzzles that agree or have spent their budget; extend and widen the others."""
        rows, owner, n_puzzles = tallies.trajectories, tallies.owner, len(tallies)
        votes = settled(rows)
        leader, runner_up = leader_and_runner_up(owner[votes], rows.answer_key[votes], n_puzzles)
        surest = np.full(n_puzzles, -np.inf, np.float32)
        np.maximum.at(surest, owner[votes], rows.q_halt[votes])
        accepted = (leader > 0) & (runner_up == 0) & (surest >= self.accept_q)
        agreed = leader - runner_up >= self.agree
        open_ = ~(accepted | agreed)

        left = np.where(open_, self.budget.nfe - tallies.nfe, 0)
        worth = self._worth_extending(tallies, owner) & open_[owner]
        depth = tallies.trajectories.depth.astype(np.int64)
        doubled = np.minimum(np.maximum(2 * depth, self.first_depth), self.depth)
        extend_to, left_over = extend(tallies, owner, worth, left, doubled)
        wanted = self._wanted(tallies, owner, worth, leader, runner_up)
        decided = np.select([agreed, accepted], [2, 1], default=0)
        return settle(tallies, owner, self.budget, extend_to, left_over, wanted, self.first_depth, decided)

    def _worth_extending(self, tallies: Tallies, owner: I64) -> Bool:
        rows = tallies.trajectories
        stuck = (rows.depth >= self.patience) & (rows.residual > self.abandon_above)
        may_widen = (tallies.breadth < self.breadth)[owner]
        return np.asarray(
            (rows.status == Status.RUNNING) & (rows.depth < self.depth) & ~(stuck & may_widen), dtype=np.bool_
        )

    def _wanted(self, tallies: Tallies, owner: I64, worth: Bool, leader: I64, runner_up: I64) -> I64:
        """Return how many new trajectories each puzzle would like, (P,)."""
        rows = tallies.trajectories
        extended = np.bincount(owner[worth], minlength=len(tallies))
        deepest = np.zeros(len(tallies), np.int64)
        np.maximum.at(deepest, owner, rows.depth)
        grown = np.maximum((tallies.breadth * (self.growth - 1)).astype(np.int64), 1)
        lacking = self.agree - (leader - runner_up)
        # Rows that are extended may yet bring the votes that lack, so only the rest is started anew.
        wanted = np.where(leader > 0, np.maximum(lacking - extended, 0), 0)
        widen = (extended == 0) | ((leader == 0) & (deepest >= self.widen_after))
        wanted = np.where(widen, np.maximum(wanted, grown), wanted)
        return np.where(tallies.breadth == 0, self.first_breadth, wanted)
