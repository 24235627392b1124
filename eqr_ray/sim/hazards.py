"""How often going on mends a puzzle that is not answered right yet: what `policy.chances` is fitted on.

Invariants, asserted in tests/sim/test_hazards.py: only tallies whose leader is wrong count; on a made landscape the fitted chances
are within a few points of what happens on other puzzles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eqr_ray.evaluation.calibration import fit_logistic
from eqr_ray.policy import Calibration
from eqr_ray.policy.calibration import trajectory_features, weighted
from eqr_ray.policy.chances import extend_features, extend_weights, near_of, spawn_features
from eqr_ray.policy.voting import Selection, choose, settled
from eqr_ray.sim.observing import right_of, tallies_at
from eqr_ray.sim.replay import Playback
from eqr_ray.types import F64, Bool, HaltRule, Status, Tallies

AGES = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Depths at which tallies are looked at, as far as twice that was recorded."""
BREADTHS = (1, 2, 4, 8, 16)
"""How many trajectories they have."""
FIRST = (8, 16, 32)
"""Depths of a new trajectory's first round."""
RIDGE = 1.0
"""Penalty of the fits: a few tallies of one puzzle are not as many observations; more than the fit of a vote, whose puzzles differ."""
LEAST = 20
"""Observations below which the fall-back stands."""
EXTEND = ("extend_bias", "extend_q", "extend_residual", "extend_delta", "extend_depth", "extend_open")
SPAWN = ("spawn_bias", "spawn_depth", "spawn_open", "spawn_votes", "spawn_near")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What stood in tallies whose leader was wrong, and what came of it."""

    features: F64
    """(N, F)"""
    solved: Bool
    """(N,) whether that trajectory settled right in its next round."""


def fit_chances(playback: Playback, rule: HaltRule, known: Calibration) -> Calibration:
    """Return `known` with fitted chances; the fall-back's stand where hardly any tally is open."""
    looks = _looks(playback, rule)
    known = _fitted(known, EXTEND, extensions(playback, rule, known, looks))
    return _fitted(known, SPAWN, starts(playback, rule, known, looks))


def extensions(playback: Playback, rule: HaltRule, known: Calibration, looks: Sequence[Tallies] = ()) -> Seen:
    """Return every running trajectory of the open tallies, and whether it settled right within twice its depth."""
    good, ends = _ends(playback, rule)
    features, solved = [], []
    for tallies in looks or _looks(playback, rule):
        rows = tallies.trajectories
        own = (rows.status == Status.RUNNING) & _open(playback, tallies, known)[tallies.owner]
        features.append(extend_features(tallies)[own])
        at = (rows.puzzle[own], rows.index[own])
        solved.append(good[at] & (ends[at] <= 2 * rows.depth[own]))
    return Seen(np.concatenate(features), np.concatenate(solved))


def starts(playback: Playback, rule: HaltRule, known: Calibration, looks: Sequence[Tallies] = ()) -> Seen:
    """Return the open tallies, and whether the next trajectory settled right in its first round, for several of those."""
    good, ends = _ends(playback, rule)
    features, solved = [np.zeros((0, len(SPAWN) - 1))], [np.zeros(0, np.bool_)]
    for tallies in looks or _looks(playback, rule):
        n = int(tallies.breadth[0])
        if n < playback.breadth:
            near = near_of(tallies, weighted(known.extend_bias, extend_weights(known), extend_features(tallies)))
            open_ = _open(playback, tallies, known)
            for first in (first for first in FIRST if first <= playback.depth):
                features.append(spawn_features(tallies, near, first)[open_])
                solved.append((good[:, n] & (ends[:, n] <= first))[open_])
    return Seen(np.concatenate(features), np.concatenate(solved))


def _looks(playback: Playback, rule: HaltRule) -> list[Tallies]:
    ages = [age for age in AGES if 2 * age <= playback.depth] or [max(playback.depth // 2, 1)]
    return [tallies_at(playback, rule, n, age) for n in BREADTHS if n <= playback.breadth for age in ages]


def _ends(playback: Playback, rule: HaltRule) -> tuple[Bool, np.ndarray]:
    """Return (P, B) whether each trajectory settles right, and at which depth it ends."""
    rows = tallies_at(playback, rule, playback.breadth).trajectories
    shape = (len(playback.trace), playback.breadth)
    return (right_of(playback, rows) & settled(rows)).reshape(shape), rows.depth.reshape(shape)


def _open(playback: Playback, tallies: Tallies, known: Calibration) -> Bool:
    """Return (P,) whether nobody voted or the leader is wrong."""
    rows = tallies.trajectories
    chosen = choose(tallies, settled(rows), Selection.POSTERIOR, trust=known.trust(trajectory_features(rows)))
    right = playback.trace.right
    leads = (right >= 0) & (chosen.answer_key == playback.key_of(tallies.puzzle, right))
    return np.asarray(~leads | (chosen.votes == 0), dtype=np.bool_)


def _fitted(known: Calibration, names: Sequence[str], seen: Seen) -> Calibration:
    if len(seen.solved) < LEAST:
        return known
    found = fit_logistic(seen.features, seen.solved, ridge=RIDGE)
    return replace(known, **dict(zip(names, [found.bias, *found.weights.tolist()], strict=True)))
