"""From signals to probabilities: how far one settled trajectory is trusted, and how far the leader of a tally is.

Four logistic models (these two, and in `policy.chances` what extending and starting anew promise) and a halting rule, all plain
numbers, fitted by `eqr-ray calibrate` and kept beside a checkpoint. Without them the halting logit itself is taken for the log odds of
a trajectory, bounded, the posterior mass for the confidence, and depth comes before breadth.
Invariants, asserted in tests/unit/policy/test_posterior.py: features depend on one puzzle's rows alone; the fall-back equals the
uncalibrated posterior; values survive JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np

from eqr_ray.policy import halting
from eqr_ray.policy.protocol import Choices
from eqr_ray.policy.voting import ALTERNATIVES, MOST_EVIDENCE
from eqr_ray.types import F64, I64, Bool, InputError, Tallies, Trajectories

LEAST_RESIDUAL, MOST_RESIDUAL = 1e-4, 10.0
"""Bounds on the residual before its logarithm: a state that stands still exactly says no more than one that nearly does."""
MOST_Q = 12.0
"""Bound on the halting logit as a feature."""
MOST_LOGIT = 12.0
"""Bound on the log odds of a leader's posterior mass as a feature."""


@dataclass(frozen=True)
class Calibration:
    """What was measured of a checkpoint; the defaults are the fall-back without any measurement."""

    trust_bias: float = 0.0
    """Log odds that a settled trajectory is right: bias ..."""
    trust_q: float = 1.0
    """... for each unit of its halting logit ..."""
    trust_residual: float = 0.0
    """... of the log of its residual ..."""
    trust_delta: float = 0.0
    """... of the log of the change of its logits ..."""
    trust_depth: float = 0.0
    """... and of the log of its depth."""
    trust_most: float = MOST_EVIDENCE
    """Bound on these log odds."""
    vote_bias: float = 0.0
    """Log odds that the leader of a tally is right: bias ..."""
    vote_mass: float = 1.0
    """... for each unit of the log odds of its posterior mass ..."""
    vote_trust: float = 0.0
    """... of the mean log odds of its voters: repeats of one mistake add votes and mass, and no trust ..."""
    vote_count: float = 0.0
    """... of the log of its votes ..."""
    vote_rivals: float = 0.0
    """... of the log of 1 + votes for other answers ..."""
    vote_open: float = 0.0
    """... and of the log of 1 + trajectories that did not settle."""
    vote_most: float = 40.0
    """Bound on these log odds."""
    vote_none: float = -math.log(ALTERNATIVES)
    """Log odds that the fall-back answer is right where nobody voted."""
    residual_below: float = halting.RESIDUAL_BELOW
    """The halting rule under which these numbers were fitted and a replay was worth most; see `HaltRule` for it ..."""
    q_halt_above: float = halting.Q_HALT_ABOVE
    stable_for: float = halting.STABLE_FOR
    """... a whole number."""
    extend_bias: float = -0.85
    """Log odds that a running trajectory of depth d, of a puzzle that is not answered right yet, settles right by depth 2d: bias ..."""
    extend_q: float = 0.0
    """... for each unit of its halting logit ..."""
    extend_residual: float = -0.3
    """... of the log of its residual: one that stays high is abandoned ..."""
    extend_delta: float = 0.0
    """... of the log of the change of its logits ..."""
    extend_depth: float = 0.0
    """... of the log of its depth ..."""
    extend_open: float = 0.0
    """... and of the log of the puzzle's running trajectories."""
    spawn_bias: float = -1.2
    """Log odds that a new trajectory of such a puzzle settles right within its first round: bias ..."""
    spawn_depth: float = 0.0
    """... for each unit of the log of that round's depth ..."""
    spawn_open: float = -1.5
    """... of the log of 1 + running trajectories: what many did not find, one more seldom finds ..."""
    spawn_votes: float = 0.0
    """... of the log of 1 + votes ..."""
    spawn_near: float = 0.0
    """... and of the largest log odds of extending one of those that run."""

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: Mapping[str, object], where: str) -> Calibration:
        """Return a calibration from JSON values; InputError for a key that is unknown or not a number."""
        known = {column.name for column in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise InputError(f"{where}: a calibration has no value {name!r}; fit it again with `eqr-ray calibrate`")
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(
                    f"{where}: {name} must be a finite number, got {value!r}; fit it again with `eqr-ray calibrate`"
                )
        return cls(**{name: float(value) for name, value in values.items()})  # type: ignore[arg-type]

    def trust(self, features: F64) -> F64:
        """Return the log odds that each trajectory is right, (N,), from `trajectory_features`; meant for settled ones."""
        weights = (self.trust_q, self.trust_residual, self.trust_delta, self.trust_depth)
        total = weighted(self.trust_bias, weights, features)
        return np.asarray(np.clip(total, -self.trust_most, self.trust_most), dtype=np.float64)

    def leader_log_odds(self, leaders: Leaders) -> F64:
        """Return the log odds that each puzzle's leader is right, (P,)."""
        weights = (self.vote_mass, self.vote_trust, self.vote_count, self.vote_rivals, self.vote_open)
        total = weighted(self.vote_bias, weights, leaders.features)
        return np.where(leaders.votes > 0, np.clip(total, -self.vote_most, self.vote_most), self.vote_none)


@dataclass(frozen=True, slots=True, eq=False)
class Leaders:
    """What speaks for the leading answer of P puzzles."""

    votes: I64
    """(P,)"""
    features: F64
    """(P, 5): log odds of its posterior mass, mean log odds of its voters, log votes, log(1 + votes for others), log(1 + unsettled)."""


def leaders_of(tallies: Tallies, chosen: Choices, voters: Bool, trust: F64) -> Leaders:
    """Return the leaders that were chosen; voters (T,), trust (T,)."""
    owner, n_puzzles = tallies.owner, len(tallies)
    agree = voters & (tallies.trajectories.answer_key == chosen.answer_key[owner])
    total = np.bincount(owner[voters], minlength=n_puzzles)
    mean = np.bincount(owner[agree], weights=trust[agree], minlength=n_puzzles) / np.maximum(chosen.votes, 1)
    tiny = np.exp(-MOST_LOGIT)
    mass = chosen.confidence
    odds = np.log(np.maximum(mass, tiny)) - np.log(np.maximum(1 - mass, tiny))
    columns = [
        np.clip(odds, -MOST_LOGIT, MOST_LOGIT), mean, np.log(np.maximum(chosen.votes, 1)),
        np.log1p(total - chosen.votes), np.log1p(tallies.breadth - total),
    ]  # fmt: skip
    return Leaders(chosen.votes, np.stack(columns, axis=1))


def trajectory_features(rows: Trajectories) -> F64:
    """Return (N, 4): halting logit, log residual, log change of the logits, log depth, each bounded."""

    def log(values: F64) -> F64:
        return np.asarray(np.log(np.clip(np.nan_to_num(values, nan=MOST_RESIDUAL), LEAST_RESIDUAL, MOST_RESIDUAL)))

    q_halt = np.clip(np.nan_to_num(rows.q_halt.astype(np.float64), nan=-MOST_Q), -MOST_Q, MOST_Q)
    residual, delta = log(rows.residual.astype(np.float64)), log(rows.logit_delta.astype(np.float64))
    return np.stack([q_halt, residual, delta, np.log(np.maximum(rows.depth, 1).astype(np.float64))], axis=1)


def weighted(bias: float, weights: tuple[float, ...], features: F64) -> F64:
    """Return bias + features @ weights, (N,)."""
    # Added one by one, so that a row's sum does not depend on its neighbours.
    total = np.full(len(features), bias)
    for weight, feature in zip(weights, features.T, strict=True):
        total = total + weight * feature
    return total


def sigmoid(log_odds: F64) -> F64:
    """Return the probabilities of log odds."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))), dtype=np.float64)
