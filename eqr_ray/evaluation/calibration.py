"""How sure is right: logistic fits, and how far stated probabilities are from what happened.

Invariants, asserted in tests/unit/evaluation/test_calibration.py: the fit finds the coefficients that made the data and is unchanged by
doubling it; a perfect forecaster has an expected calibration error near 0; bins add up to all forecasts; an undefined score is None.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eqr_ray.evaluation.scoring import wilson
from eqr_ray.types import F64, Bool

RIDGE = 0.1
"""Penalty on standardised coefficients, in pseudo-observations: keeps separable data finite and moves a fit of hundreds of
puzzles by less than its error."""
MOST_STEPS = 100
TOLERANCE = 1e-9
BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """P(right) = sigmoid(bias + features @ weights)."""

    bias: float
    weights: F64
    """(F,)"""


def fit_logistic(features: F64, right: Bool, weight: F64 | None = None, ridge: float = RIDGE) -> LogisticFit:
    """Fit by Newton's method, which for a logistic model is iteratively reweighted least squares (Hastie, Tibshirani, Friedman,
    The Elements of Statistical Learning, section 4.4.1).

    features: (N, F). right: (N,). weight: (N,) of each observation, 1 if left out. A column without variance gets weight 0.
    Raises ValueError without observations.
    """
    if not len(right):
        raise ValueError("a fit needs observations, got none")
    weight = np.ones(len(right)) if weight is None else weight
    mean = np.average(features, axis=0, weights=weight)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weight))
    live = spread > 1e-12
    x = np.concatenate(
        [np.ones((len(right), 1)), np.where(live, (features - mean) / np.where(live, spread, 1.0), 0.0)], axis=1
    )
    y = right.astype(np.float64)
    # The bias carries a hundredth of the penalty: enough to keep it finite where all are right.
    penalty = np.full(x.shape[1], ridge)
    penalty[0] = ridge / 100
    beta = np.zeros(x.shape[1])
    for _ in range(MOST_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        gradient = x.T @ (weight * (y - p)) - penalty * beta
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        # A step of more than a few units of log odds leaves the region where the curvature holds.
        step *= min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-300))
        beta = beta + step
        if float(np.abs(step).max()) < TOLERANCE:
            break
    weights = np.where(live, beta[1:] / np.where(live, spread, 1.0), 0.0)
    return LogisticFit(float(beta[0] - weights @ mean), weights)


@dataclass(frozen=True, slots=True)
class Bin:
    """Forecasts of one range of stated probability."""

    low: float
    high: float
    n: int
    stated: float
    """Mean of the stated probabilities."""
    right: float
    """Share that was right."""
    interval: tuple[float, float]
    """95 % Wilson interval of that share."""


def reliability(stated: F64, right: Bool, bins: int = BINS) -> list[Bin]:
    """Return the filled bins of equal width over [0, 1]; the first column of a reliability diagram is stated, the second right."""
    place = np.clip((stated * bins).astype(np.int64), 0, bins - 1)
    found = []
    for b in np.unique(place).tolist():
        own = place == b
        n, hits = int(own.sum()), int(right[own].sum())
        interval = wilson(hits, n) or (0.0, 1.0)
        found.append(Bin(b / bins, (b + 1) / bins, n, float(stated[own].mean()), hits / n, interval))
    return found


def expected_calibration_error(stated: F64, right: Bool, bins: int = BINS) -> float | None:
    """Return the mean over forecasts of |stated - right| of their bin (Naeini et al., AAAI 2015); None without forecasts."""
    if not len(stated):
        return None
    return sum(own.n * abs(own.stated - own.right) for own in reliability(stated, right, bins)) / len(stated)


def brier(stated: F64, right: Bool) -> float | None:
    """Return the mean squared error of the stated probabilities (Brier 1950); None without forecasts."""
    return float(np.mean((stated - right) ** 2)) if len(stated) else None


@dataclass(frozen=True, slots=True)
class Rate:
    """Events an iteration at age d: exp(log_rate) d^slope."""

    log_rate: float
    slope: float


def fit_rate(age: F64, events: F64, exposure: F64) -> Rate:
    """Fit a power law to counts of events over iterations at some ages, by weighted least squares of logarithms.

    age, events, exposure: (K,). Half an event is added to each count, so that a count of none is little and not nothing.
    Raises ValueError without exposure.
    """
    seen = exposure > 0
    if not seen.any():
        raise ValueError("a rate needs iterations that were spent, got none")
    x, y = np.log(age[seen]), np.log((events[seen] + 0.5) / exposure[seen])
    weight = events[seen] + 0.5
    middle = np.average(x, weights=weight)
    spread = float(np.average((x - middle) ** 2, weights=weight))
    slope = float(np.average((x - middle) * y, weights=weight)) / spread if spread > 1e-12 else 0.0
    return Rate(float(np.average(y, weights=weight) - slope * middle), slope)


def fit_lomax(spent: F64, solved: Bool) -> tuple[float, float]:
    """Return shape a and scale b of the rate a / (b + E) at which a puzzle is solved after E iterations.

    spent: (P,) iterations until it was solved, or until nothing more was tried. Maximum likelihood on a grid refined thrice; the
    survival function is (b / (b + E))^a (Lomax 1954), a gamma mixture of constant rates. Raises ValueError without puzzles.
    """
    if not len(spent):
        raise ValueError("a rate needs puzzles, got none")
    low, high = np.log([1e-2, 1e-1]), np.log([50.0, 1e5])
    best = np.zeros(2)
    for _ in range(4):
        shape = np.exp(np.linspace(low[0], high[0], 25))
        scale = np.exp(np.linspace(low[1], high[1], 25))
        grid_a, grid_b = np.meshgrid(shape, scale, indexing="ij")
        total = np.zeros_like(grid_a)
        for e, event in zip(spent.tolist(), solved.tolist(), strict=True):
            log_rest = np.log(grid_b / (grid_b + e))
            total += grid_a * log_rest + (np.log(grid_a / (grid_b + e)) if event else 0.0)
        at = np.unravel_index(int(np.argmax(total)), total.shape)
        best = np.log([grid_a[at], grid_b[at]])
        width = (high - low) / 12
        low, high = best - width, best + width
    return float(np.exp(best[0])), float(np.exp(best[1]))
