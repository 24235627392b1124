"""What going on promises a puzzle that is not answered right yet: extending one of its trajectories, or starting another.

Two logistic models over what is seen of a tally, fitted by `sim.hazards`. Both are asked of puzzles whose leader is wrong, so that the
gain of an iteration is the chance of that times the chance that the iteration mends it.
Invariants, asserted in tests/unit/policy/test_chances.py: a puzzle's chances depend on its own rows alone; a trajectory that does not
run, or may go no deeper, promises nothing, and neither does another one where breadth is used up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eqr_ray.policy.calibration import Calibration, sigmoid, trajectory_features, weighted
from eqr_ray.policy.voting import settled
from eqr_ray.types import F64, Status, Tallies

FAR = -8.0
"""Log odds that stand for a puzzle of which nothing runs; others are bounded by it from below."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """Chances an iteration, given that the leader is wrong."""

    extend: F64
    """(T,) that a trajectory settles right, for each iteration of its next doubling; 0 where it cannot go on."""
    spawn: F64
    """(P,) that a new one does, for each iteration of its first round; 0 where breadth is used up."""


def outlook_of(tallies: Tallies, known: Calibration, depth: int, breadth: int, first_depth: int) -> Outlook:
    """Return what going on promises within D and B."""
    rows = tallies.trajectories
    odds = weighted(known.extend_bias, extend_weights(known), extend_features(tallies))
    running = rows.status == Status.RUNNING
    extend = np.where(running & (rows.depth < depth), sigmoid(odds) / np.maximum(rows.depth, 1), 0.0)
    first = min(first_depth, depth)
    near = near_of(tallies, odds)
    spawn = sigmoid(weighted(known.spawn_bias, spawn_weights(known), spawn_features(tallies, near, first))) / first
    return Outlook(extend, np.where(tallies.breadth < breadth, spawn, 0.0))


def extend_weights(known: Calibration) -> tuple[float, ...]:
    """Return the weights in the order of `extend_features`."""
    return known.extend_q, known.extend_residual, known.extend_delta, known.extend_depth, known.extend_open


def spawn_weights(known: Calibration) -> tuple[float, ...]:
    """Return the weights in the order of `spawn_features`."""
    return known.spawn_depth, known.spawn_open, known.spawn_votes, known.spawn_near


def extend_features(tallies: Tallies) -> F64:
    """Return (T, 5): those of `trajectory_features`, and the log of the running trajectories of the puzzle."""
    owner, running = tallies.owner, tallies.trajectories.status == Status.RUNNING
    n_running = np.bincount(owner[running], minlength=len(tallies))
    beside = np.log(np.maximum(n_running, 1))[owner]
    return np.concatenate([trajectory_features(tallies.trajectories), beside[:, None]], axis=1)


def near_of(tallies: Tallies, odds: F64) -> F64:
    """Return the largest log odds of extending a trajectory of each puzzle, (P,)."""
    running = tallies.trajectories.status == Status.RUNNING
    near = np.full(len(tallies), FAR)
    np.maximum.at(near, tallies.owner[running], odds[running])
    return near


def spawn_features(tallies: Tallies, near: F64, first_depth: int) -> F64:
    """Return (P, 4): log first depth, log(1 + running), log(1 + votes), and how near one of those that run is."""
    owner, rows = tallies.owner, tallies.trajectories
    n_running = np.bincount(owner[rows.status == Status.RUNNING], minlength=len(tallies))
    n_votes = np.bincount(owner[settled(rows)], minlength=len(tallies))
    depth = np.full(len(tallies), np.log(first_depth))
    return np.stack([depth, np.log1p(n_running), np.log1p(n_votes), near], axis=1)
