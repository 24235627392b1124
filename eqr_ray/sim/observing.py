"""Tallies as a policy meets them, cut out of a trace, and which of their trajectories are right.

Invariant, asserted in tests/sim/test_calibrating.py: a tally of n trajectories at a depth is what a replay shows a policy that
started n and brought them there.
"""

from __future__ import annotations

import numpy as np

from eqr_ray.sim.replay import Playback
from eqr_ray.types import Bool, HaltRule, Tallies, Trajectories


def tallies_at(playback: Playback, rule: HaltRule, breadth: int, until: int | None = None) -> Tallies:
    """Return the first `breadth` trajectories of every puzzle where the rule, or depth `until`, stops them; to the end if left out."""
    n_puzzles = len(playback.trace)
    rows = (np.arange(n_puzzles, dtype=np.int64)[:, None] * playback.breadth + np.arange(breadth)).reshape(-1)
    goal = np.full(len(rows), playback.depth if until is None else until, np.int64)
    depth, status = playback.reach(rows, goal, rule)
    residual, logit_delta, q_halt, key = playback.observe(rows, depth)
    index = (rows % playback.breadth).astype(np.int32)
    own = Trajectories(rows // playback.breadth, index, depth, residual, logit_delta, q_halt, key, status)
    start = np.arange(n_puzzles + 1, dtype=np.int64) * breadth
    return Tallies(np.arange(n_puzzles, dtype=np.int64), start, own, np.ones(n_puzzles, np.int32))


def right_of(playback: Playback, rows: Trajectories) -> Bool:
    """Return whether each trajectory's answer is right, (N,); False where the puzzle has no label."""
    right = playback.trace.right[rows.puzzle]
    return np.asarray((right >= 0) & (rows.answer_key == playback.key_of(rows.puzzle, right)), dtype=np.bool_)
