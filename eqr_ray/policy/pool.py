"""The pool: one budget over all puzzles of a cohort, spent where an iteration is expected to gain most.

Acts at round boundaries, on tallies sorted by puzzle number, and stops a cohort as a whole: a puzzle that waits is not
closed, and is taken up again when the better ones are done. The index follows Damani et al. (arXiv 2410.04707): expected
gain in the chance of a right answer for each iteration.
Invariants, asserted in tests/contract/test_pool_contract.py and tests/sim/test_pool_runs.py: a cohort never costs more than
`mean` iterations a puzzle; verdicts do not depend on the number of replicas or the order of reports; with room for all it
reaches what `posterior` reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eqr_ray.policy.posterior import Judgement, Posterior
from eqr_ray.types import I32, I64, Allocations, Bool, StopReason, Tallies


@dataclass(frozen=True)
class Pool(Posterior):
    """`posterior` with its iterations drawn from a common pool."""

    name: ClassVar[str] = "pool"

    mean: int = 80
    """Iterations a puzzle that the pool holds: the price of an iteration follows from it."""
    cohort: int = 4096
    """Puzzles that share a pool. More let more iterations move; they all stay open until the last of them is done."""
    haste: float = 0.1
    """Share of what is left that one round may reserve. Less follows the best index more closely, in more rounds."""

    def __post_init__(self) -> None:
        for name in ("mean", "cohort"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {name}={value}")
        if not 0 < self.haste <= 1:
            raise ValueError(f"haste must be in (0, 1], got haste={self.haste}")
        super().__post_init__()

    def allocate(self, tallies: Tallies) -> Allocations:
        """Grant the puzzles of the highest index their next round, or stop the whole cohort."""
        n_puzzles, spent = len(tallies), int(tallies.nfe.sum())
        left = self.mean * n_puzzles - spent
        fresh = tallies.breadth == 0
        judged = self.judge(tallies)
        agreed = judged.agreed & ~fresh
        decided = np.select([agreed, judged.hopeless], [2, 3], default=0)
        # The last wishes are cut to what is left, so that a pool does not end with iterations that a whole round would exceed.
        room = np.where(decided > 0, 0, np.minimum(self.budget.nfe - tallies.nfe, left))
        if fresh.any():
            room = np.where(fresh, np.minimum(room, self._first_look(fresh, left)), room)
        wished = self.grants(tallies, judged, decided, room)
        rows, news = self._taken(tallies, wished, judged, fresh, left)
        if not rows.any() and not news.any():
            stop = tuple(StopReason.CONSENSUS if sure else StopReason.NFE_SPENT for sure in agreed.tolist())
            nothing = np.zeros(n_puzzles, np.int32)
            return Allocations(stop, np.zeros(len(tallies.trajectories), np.int32), nothing, nothing)
        extend_to: I32 = np.where(rows, wished.extend_to, 0).astype(np.int32)
        return Allocations(
            (None,) * n_puzzles, extend_to, np.where(news, wished.spawn, 0).astype(np.int32), wished.spawn_to
        )

    def _first_look(self, fresh: Bool, left: int) -> I64:
        """Return (P,) what a puzzle may spend on its first round, 0 for one that waits for a later wave.

        A pool that cannot reserve a whole first round for every puzzle gives it to as many as leave the others half of the mean each:
        most of them settle early, and pay for the next wave. If none does, the last wave gets less.
        """
        whole = self.first_breadth * min(self.first_depth, self.depth)
        n_fresh = int(fresh.sum())
        if left >= n_fresh * whole:
            return np.full(len(fresh), whole, np.int64)
        least = max(1, min(whole, self.mean) // 2)
        wave = (left - n_fresh * least) // (whole - least) if whole > least else 0
        if wave < 1:
            return np.full(len(fresh), max(left // n_fresh, 1), np.int64)
        return np.where(np.cumsum(fresh) <= wave, whole, 0)

    def _taken(
        self, tallies: Tallies, wished: Allocations, judged: Judgement, fresh: Bool, left: int
    ) -> tuple[Bool, Bool]:
        """Return which extensions (T,) and which new trajectories (P,) of what is wished for the round takes, best index first.

        Each trajectory is weighed alone: beside the best one of a puzzle stand others that are not worth what another puzzle's are.
        """
        more = np.where(wished.extend_to > 0, wished.extend_to - tallies.trajectories.depth, 0)
        cost = np.concatenate([more.astype(np.int64), wished.spawn.astype(np.int64) * wished.spawn_to])
        if fresh.any():  # nobody gets a second round before all have had their first
            cost[: len(more)] = 0
            cost[len(more) :][~fresh] = 0
        index = np.concatenate([judged.extend, np.where(fresh, np.inf, judged.spawn)])
        taken = np.zeros(len(cost), np.bool_)
        order = np.argsort(-index, kind="stable")
        # Ties go to the lower puzzle number, because the sort is stable and rows and puzzles are in its order.
        order = order[cost[order] > 0]
        if len(order):
            limit = left if fresh.any() else max(int(self.haste * left), int(cost[order[0]]))
            taken[order[np.cumsum(cost[order]) <= limit]] = True
        return taken[: len(more)], taken[len(more) :]
