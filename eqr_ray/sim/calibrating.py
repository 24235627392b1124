"""What a trace says about trust: the observations that a calibration is fitted on, and the fit.

Invariants, asserted in tests/sim/test_calibrating.py: only labelled puzzles count; observations are tallies that a policy
with the same halting rule can meet; on a made landscape the fitted confidence is within a few points of what happens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from eqr_ray.evaluation.calibration import (
    Bin,
    brier,
    expected_calibration_error,
    fit_logistic,
    reliability,
)
from eqr_ray.policy import Calibration, Posterior, calibrated
from eqr_ray.policy.calibration import leaders_of, trajectory_features
from eqr_ray.policy.voting import Selection, choose, settled
from eqr_ray.sim.hazards import fit_chances
from eqr_ray.sim.observing import right_of, tallies_at
from eqr_ray.sim.replay import Playback, replay
from eqr_ray.sim.trace import Trace
from eqr_ray.types import F64, I64, Bool, HaltRule, InputError

BREADTHS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
"""How many trajectories the observed tallies have, up to the trace's breadth."""
RULES: dict[str, tuple[float, ...]] = {
    "residual_below": (0.05, 0.1, 0.2),
    "q_halt_above": (4.0, 2.0, 1.0),
    "stable_for": (3, 2),
}
"""What is tried of a halting rule, careful values first. Below two checks in a row a passing dip may halt a trajectory."""
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
    """Fit the logistic models on the labelled puzzles; InputError where too few trajectories settle."""
    trace = trace.take(np.flatnonzero(trace.labelled))
    playback = Playback(trace)
    rows = tallies_at(playback, rule, playback.breadth).trajectories
    votes = settled(rows)
    if int(votes.sum()) < LEAST_VOTES:
        raise InputError(
            f"a calibration needs at least {LEAST_VOTES} settled trajectories with an answer known, got {int(votes.sum())}; "
            "record more puzzles or more depth"
        )
    share = 1 / np.maximum(np.bincount(rows.puzzle[votes], minlength=len(trace)), 1)
    trust = fit_logistic(
        trajectory_features(rows.take(votes)),
        right_of(playback, rows)[votes],
        share[rows.puzzle[votes]] * playback.breadth,
    )
    known = Calibration(
        trust_bias=trust.bias,
        **dict(zip(("trust_q", "trust_residual", "trust_delta", "trust_depth"), trust.weights.tolist(), strict=True)),
        # More certainty than one mistake in as many votes as were seen cannot be measured.
        trust_most=float(np.log(max(int(votes.sum()), 2))),
        residual_below=rule.residual_below,
        q_halt_above=rule.q_halt_above,
        stable_for=rule.stable_for,
    )
    seen = observe(playback, rule, known)
    voted = seen.votes > 0
    leader = fit_logistic(seen.features[voted], seen.right[voted])
    none = (
        fit_logistic(np.zeros((int((~voted).sum()), 1)), seen.right[~voted], ridge=1.0).bias if (~voted).any() else -2.0
    )
    names = ("vote_mass", "vote_trust", "vote_count", "vote_rivals", "vote_open")
    # The same for a verdict: n puzzles without a mistake leave about one in n + 2 (Laplace's rule of succession).
    known = replace(
        known, **dict(zip(names, leader.weights.tolist(), strict=True)), vote_bias=leader.bias, vote_none=none,
        vote_most=float(np.log(len(trace) + 1)),
    )  # fmt: skip
    return fit_chances(playback, rule, known)


def best_rule(trace: Trace, policy: Posterior) -> HaltRule:
    """Return the halting rule under which the policy, with a fit under that rule, is worth most on the labelled puzzles.

    Worth is a right answer less what its iterations cost at the policy's price. One parameter after the other is tried, the others held.
    Rules are compared puzzle by puzzle on the same trajectories, and one takes another's place only when it is better by more than the
    standard error of the difference. Raises InputError where nothing settles under any.
    """
    trace = trace.take(np.flatnonzero(trace.labelled))
    playback = Playback(trace)
    worths: dict[HaltRule, F64 | None] = {}

    def worth(rule: HaltRule) -> F64 | None:
        """Return (P,), None where too little settles to fit."""
        if rule not in worths:
            try:
                found = replay(calibrated(policy, fit(trace, rule)), playback)
                worths[rule] = found.exact - policy.price * found.nfe
            except InputError:
                worths[rule] = None
        return worths[rule]

    best = policy.budget.halt
    for name, values in RULES.items():
        for value in values:
            tried = replace(best, **{name: value})  # type: ignore[arg-type]
            if _better(worth(tried), worth(best)):
                best = tried
    if worth(best) is None:
        fit(trace, best)
    return best


def _better(new: F64 | None, old: F64 | None) -> bool:
    if new is None or old is None:
        return new is not None
    gain = new - old
    return bool(gain.mean() > gain.std() / math.sqrt(len(gain)))


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
        tallies = tallies_at(playback, rule, n)
        rows = tallies.trajectories
        voters = settled(rows)
        trust = known.trust(trajectory_features(rows))
        chosen = choose(tallies, voters, Selection.POSTERIOR, trust=trust)
        features.append(leaders_of(tallies, chosen, voters, trust).features)
        votes.append(chosen.votes)
        truth = playback.key_of(tallies.puzzle, playback.trace.right)
        right.append((playback.trace.right >= 0) & (chosen.answer_key == truth))
    return Observed(np.concatenate(features), np.concatenate(votes), np.concatenate(right))
