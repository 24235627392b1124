"""What a trace says about trust: the observations that a calibration is fitted on, and the fit.

Invariants, asserted in tests/sim/test_calibrating.py: only labelled puzzles count; observations are tallies that a policy
with the same halting rule can meet; on a made landscape the fitted confidence is within a few points of what happens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eqr_ray.evaluation.calibration import (
    Bin,
    brier,
    expected_calibration_error,
    fit_logistic,
    fit_lomax,
    fit_rate,
    reliability,
)
from eqr_ray.policy import Calibration, Posterior
from eqr_ray.policy.calibration import leaders_of, trajectory_features
from eqr_ray.policy.voting import Selection, choose, settled
from eqr_ray.sim.replay import Playback, replay
from eqr_ray.sim.trace import Trace
from eqr_ray.types import F64, I32, I64, Bool, HaltRule, InputError, Tallies, Trajectories

BREADTHS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
"""How many trajectories the observed tallies have, up to the trace's breadth."""
LEAST_VOTES = 30
"""Settled trajectories below which nothing is fitted."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How far stated confidences are from what happened, on puzzles that the fit did or did not see."""

    puzzles: int
    brier: float | None
    expected_calibration_error: float | None
    bins: tuple[Bin, ...]


def fit(trace: Trace, rule: HaltRule) -> Calibration:
    """Fit both logistic models and the rates on the labelled puzzles; InputError where too few trajectories settle."""
    trace = trace.take(np.flatnonzero(trace.labelled))
    playback = Playback(trace)
    rows = _rows_at(playback, rule)
    votes = settled(rows)
    right = _right(playback, rows)
    if int(votes.sum()) < LEAST_VOTES:
        raise InputError(
            f"a calibration needs at least {LEAST_VOTES} settled trajectories with an answer known, got {int(votes.sum())}; "
            "record more puzzles, more depth, or loosen the halting rule"
        )
    share = 1 / np.maximum(np.bincount(rows.puzzle[votes], minlength=len(trace)), 1)
    trust = fit_logistic(
        trajectory_features(rows.take(votes)), right[votes], share[rows.puzzle[votes]] * playback.breadth
    )
    bound = float(np.log(max(int(votes.sum()), 2)))
    known = Calibration(
        trust_bias=trust.bias,
        **dict(zip(("trust_q", "trust_residual", "trust_delta", "trust_depth"), trust.weights.tolist(), strict=True)),
        # More certainty than one mistake in as many votes as were seen cannot be measured.
        trust_most=bound,
    )
    seen = observe(playback, rule, known)
    voted = seen.votes > 0
    leader = fit_logistic(seen.features[voted], seen.right[voted])
    none = (
        fit_logistic(np.zeros((int((~voted).sum()), 1)), seen.right[~voted], ridge=1.0).bias if (~voted).any() else -2.0
    )
    extend, spawn = _rates(playback, rule, rows, right)
    shape, scale = _solving(playback, rows, votes & right)
    values = dict(
        zip(("vote_mass", "vote_trust", "vote_count", "vote_rivals", "vote_open"), leader.weights.tolist(), strict=True)
    )
    return Calibration(
        **{
            **known.as_dict(), **values, "vote_bias": leader.bias, "vote_none": none,
            # The same for a verdict: n puzzles without a mistake leave about one in n + 2 (Laplace's rule of succession).
            "vote_most": float(np.log(len(trace) + 1)),
            "extend_log_rate": extend[0], "extend_slope": extend[1], "spawn_log_rate": spawn[0], "spawn_slope": spawn[1],
            "solve_shape": shape, "solve_scale": scale,
        }
    )  # fmt: skip


def quality(trace: Trace, policy: Posterior) -> Quality:
    """Replay a policy on labelled puzzles and compare the confidence of its verdicts with what was right."""
    trace = trace.take(np.flatnonzero(trace.labelled))
    found = replay(policy, Playback(trace))
    stated, right = found.confidence, found.exact
    return Quality(
        len(trace), brier(stated, right), expected_calibration_error(stated, right), tuple(reliability(stated, right))
    )


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Tallies as a policy meets them, N of them."""

    features: F64
    """(N, 5) see `policy.calibration.Leaders`."""
    votes: I64
    """(N,) of the leader."""
    right: Bool
    """(N,) whether the leader is right."""


def observe(playback: Playback, rule: HaltRule, known: Calibration) -> Observed:
    """Return the tallies of the first n trajectories of every puzzle, for several n, each brought to full depth."""
    features, votes, right = [], [], []
    for n in [n for n in BREADTHS if n <= playback.breadth]:
        rows = _rows_at(playback, rule, n)
        n_puzzles = len(playback.trace)
        start = np.arange(n_puzzles + 1, dtype=np.int64) * n
        tallies = Tallies(np.arange(n_puzzles, dtype=np.int64), start, rows, np.ones(n_puzzles, np.int32))
        voters = settled(rows)
        trust = known.trust(rows)
        chosen = choose(tallies, voters, Selection.POSTERIOR, trust=trust)
        features.append(leaders_of(tallies, chosen, voters, trust).features)
        votes.append(chosen.votes)
        truth = playback.key_of(tallies.puzzle, playback.trace.right)
        right.append((playback.trace.right >= 0) & (chosen.answer_key == truth))
    return Observed(np.concatenate(features), np.concatenate(votes), np.concatenate(right))


def _rows_at(playback: Playback, rule: HaltRule, breadth: int | None = None) -> Trajectories:
    """Return the first trajectories of every puzzle where the rule, or full depth, stops them."""
    n = breadth or playback.breadth
    rows = (np.arange(len(playback.trace), dtype=np.int64)[:, None] * playback.breadth + np.arange(n)).reshape(-1)
    depth, status = playback.reach(rows, np.full(len(rows), playback.depth, np.int64), rule)
    residual, logit_delta, q_halt, key = playback.observe(rows, depth)
    index = (rows % playback.breadth).astype(np.int32)
    return Trajectories(rows // playback.breadth, index, depth, residual, logit_delta, q_halt, key, status)


def _right(playback: Playback, rows: Trajectories) -> Bool:
    truth = playback.key_of(rows.puzzle, playback.trace.right[rows.puzzle])
    return np.asarray((playback.trace.right[rows.puzzle] >= 0) & (rows.answer_key == truth), dtype=np.bool_)


def _rates(
    playback: Playback, rule: HaltRule, rows: Trajectories, right: Bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (log rate, slope) at which a trajectory unsettled at depth d, and a new one of the same puzzle, settle right."""
    shape = (len(playback.trace), playback.breadth)
    depth: I32 = rows.depth.reshape(shape)
    good = (right & settled(rows)).reshape(shape)
    ages = np.array([d for d in (4, 8, 16, 32, 64, 128, 256, 512) if 2 * d <= playback.depth], np.float64)
    if not len(ages):
        return (0.0, -1.0), (0.0, -1.0)
    counts = np.zeros((4, len(ages)))
    first = min(16, playback.depth)
    fresh_good, fresh_cost = good & (depth <= first), np.minimum(depth, first)
    for k, age in enumerate(ages.astype(int).tolist()):
        open_ = depth > age
        counts[0, k] = (good & open_ & (depth <= 2 * age)).sum()
        counts[1, k] = (np.minimum(depth, 2 * age) - age)[open_].sum()
        # Every other trajectory of the puzzle, once for each that is open: the same puzzle, as hard as it is.
        n_open = open_.sum(axis=1)
        counts[2, k] = (n_open * fresh_good.sum(axis=1) - (open_ & fresh_good).sum(axis=1)).sum()
        counts[3, k] = (n_open * fresh_cost.sum(axis=1) - (open_ * fresh_cost).sum(axis=1)).sum()
    found = []
    for events, exposure in ((counts[0], counts[1]), (counts[2], counts[3])):
        rate = fit_rate(ages, events, exposure) if (exposure > 0).any() else None
        found.append((rate.log_rate, rate.slope) if rate else (0.0, -1.0))
    return found[0], found[1]


def _solving(playback: Playback, rows: Trajectories, solves: Bool) -> tuple[float, float]:
    """Fit the rate at which a puzzle gets its first right vote, trajectory after trajectory."""
    shape = (len(playback.trace), playback.breadth)
    total = np.cumsum(rows.depth.reshape(shape), axis=1).astype(np.float64)
    solved = solves.reshape(shape)
    first = solved.argmax(axis=1)
    ever = np.asarray(solved.any(axis=1), dtype=np.bool_)
    spent = np.where(ever, total[np.arange(shape[0]), first], total[:, -1])
    return fit_lomax(spent, ever)
