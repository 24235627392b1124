"""The fixed policy: D x B for every puzzle, whatever it needs; the yardstick for all others.

Invariants, asserted in tests/unit/policy/test_fixed.py: nothing halts, so nfe = D * B exactly unless a trajectory
diverges; under a smaller cap of nfe it is floor(nfe / D) trajectories of depth D and one shorter trajectory that takes
what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from eqr_ray.policy.protocol import Choices
from eqr_ray.policy.voting import Selection, choose, undiverged
from eqr_ray.types import Allocations, Budget, HaltRule, StopReason, Tallies


@dataclass(frozen=True)
class Fixed:
    """Exactly D x B."""

    name: ClassVar[str] = "fixed"

    depth: int = 64
    """D. More depth solves harder puzzles at proportional cost."""
    breadth: int = 1
    """B. More breadth pays where several answers attract; it is useless below depth 4."""
    nfe: int | None = None
    """Cap on the iterations of a puzzle; left out it is D * B."""
    select_by: str = Selection.MAJORITY.value
    """`majority`, `top1_residual`, `top1_logit`, `topk` or `posterior`."""
    k: int = 3
    """How many of the best converged trajectories `topk` counts: 1 is Top-1, B is the majority."""

    def __post_init__(self) -> None:
        known = [selection.value for selection in Selection]
        if self.select_by not in known:
            raise ValueError(f"select_by must be one of {', '.join(known)}, got select_by={self.select_by}")
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got k={self.k}")
        _ = self.budget

    @cached_property
    def budget(self) -> Budget:
        """D, B, and the cap; its rule never halts."""
        nfe = self.depth * self.breadth if self.nfe is None else self.nfe
        return Budget(self.depth, self.breadth, nfe, HaltRule())

    @property
    def selection(self) -> str:
        """The rule that chooses the answer."""
        return self.select_by

    def allocate(self, tallies: Tallies) -> Allocations:
        """Grant all full trajectories in the first round, the shorter last one of a capped budget in the second."""
        full, rest = divmod(self.budget.nfe, self.depth)
        has = tallies.breadth
        spawn = np.where(has < full, full - has, np.where((has == full) & (rest > 0), 1, 0)).astype(np.int32)
        spawn_to = np.where(has < full, self.depth, rest).astype(np.int32)
        capped = self.budget.nfe < self.depth * self.breadth
        reason = StopReason.NFE_SPENT if capped else StopReason.DEPTH_SPENT
        stop = tuple(None if more else reason for more in (spawn > 0).tolist())
        return Allocations(stop, np.zeros(len(tallies.trajectories), np.int32), spawn, spawn_to)

    def select(self, tallies: Tallies) -> Choices:
        """Let every trajectory that did not diverge vote."""
        return choose(tallies, undiverged(tallies.trajectories), Selection(self.select_by), self.k)
