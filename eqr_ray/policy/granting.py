"""Grants that policies share: extending rows within what is left of a budget, starting new ones, and why a puzzle stops.

Invariants, asserted through every policy in tests/contract/test_policy_contract.py: what is granted is reserved first, so that D, B
and nfe hold even if nothing halts; a puzzle that is granted nothing stops.
"""

from __future__ import annotations

import numpy as np

from eqr_ray.types import I32, I64, Allocations, Bool, Budget, StopReason, Tallies


def extend(tallies: Tallies, owner: I64, worth: Bool, left: I64, target: I64) -> tuple[I32, I64]:
    """Extend the rows `worth` it (T,) towards `target` (T,), the lowest residual first, as far as `left` (P,) goes.

    Returns the depth to reach (T,), 0 for rows left alone, and what remains of each puzzle's budget (P,).
    """
    rows = tallies.trajectories
    picked = np.flatnonzero(worth)
    order = picked[np.lexsort((rows.residual[picked], owner[picked]))]
    who, depth = owner[order], rows.depth[order].astype(np.int64)
    cost = target[order] - depth
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(cost)])
    before = total[:-1] - total[np.searchsorted(who, who)]
    grant = np.clip(left[who] - before, 0, cost)
    extend_to = np.zeros(len(rows), np.int32)
    extend_to[order] = np.where(grant > 0, depth + grant, 0)
    spent = np.bincount(who, weights=grant, minlength=len(tallies)).astype(np.int64)
    return extend_to, left - spent


def settle(
    tallies: Tallies, owner: I64, budget: Budget, extend_to: I32, left: I64, wanted: I64, first_depth: int, decided: I64
) -> Allocations:
    """Grant new trajectories beside the extensions and stop the puzzles that are decided or can be granted nothing.

    left: (P,) iterations that remain after the extensions. wanted: (P,) new trajectories, cut to what breadth and `left`
    allow. decided: (P,) 3 given up, 2 agreed, 1 accepted, 0 open; a decided puzzle has left 0 and no
    extension.
    """
    n_puzzles = len(tallies)
    room = np.minimum(wanted, budget.breadth - tallies.breadth)
    spawn_to = np.clip(min(first_depth, budget.depth), None, left)
    spawn = np.where(spawn_to > 0, np.minimum(room, left // np.maximum(spawn_to, 1)), 0)
    granted = (np.bincount(owner[extend_to > 0], minlength=n_puzzles) > 0) | (spawn > 0)
    spent = StopReason.NFE_SPENT if budget.nfe < budget.depth * budget.breadth else StopReason.DEPTH_SPENT
    reasons = (None, StopReason.DEPTH_SPENT, spent, StopReason.CONVERGED, StopReason.CONSENSUS, StopReason.NFE_SPENT)
    reason = np.select([decided == 3, decided == 2, decided == 1, granted, left == 0], [5, 4, 3, 0, 2], default=1)
    stop = tuple(map(reasons.__getitem__, reason.tolist()))
    return Allocations(stop, extend_to, spawn.astype(np.int32), spawn_to.astype(np.int32))
