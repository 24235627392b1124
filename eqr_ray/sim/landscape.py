"""A synthetic landscape: which states attract the trajectories of a puzzle, how soon, and what one sees of it on the
way.

Every quantity is a hash of the question's digest, the trajectory's seed and the depth, so nothing depends on what was
asked before. The shapes follow what is reported of Equilibrium Reasoners (arXiv 2605.21488): most questions settle
within 1-5 iterations, some need hundreds, hard ones have spurious attractors that share a puzzle's trajectories, and
the halting head is confident in some of them.

Invariants, asserted in tests/sim/test_landscape.py: the same digest and seed give the same trajectory; attractor 0 is
the right answer; the residual falls below the default bound soon after a trajectory settles and not before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eqr_ray.coordinator.seeds import mix
from eqr_ray.types import F32, F64, I64, U64

_STEP = np.uint64(0x9E3779B97F4A7C15)
_WORD = (1 << 64) - 1
_BEFORE = 2
"""Iterations before the first column that the running means of three look back on."""


@dataclass(frozen=True, slots=True)
class Landscape:
    """The distribution that questions are drawn from."""

    easy: float = 0.6
    """Share of questions with nothing but a wide right attractor."""
    easy_depth: float = 2.0
    """Median depth at which a trajectory of an easy question settles."""
    hard_depth: float = 40.0
    """The same for a hard question."""
    spread: float = 1.0
    """Standard deviation of the log of a hard question's median depth; trajectories of one question spread half as
    much."""
    least_right: float = 0.2
    """Chance of the right attractor in the hardest question; hard ones lie between it and 1."""
    n_spurious: int = 6
    """Wrong attractors of a hard question; each is half as likely as the one before."""
    diverging: float = 0.002
    """Share of the trajectories of hard questions whose state stops being finite before they settle."""
    level: float = 0.8
    """Residual of a wandering trajectory."""
    floor: float = 0.03
    """Residual that noise leaves at an equilibrium."""
    q_wandering: float = -5.0
    q_right: float = 5.0
    q_spurious: float = -1.0
    """Halting logits: while wandering, at the right attractor, and at the middle of the wrong ones."""
    q_spurious_spread: float = 6.0
    """Width of the interval that the logits of the wrong attractors fill."""

    def puzzles(self, digest: U64) -> tuple[F64, F64]:
        """Return the median settling depth and the chance of the right attractor of each question, (N,) each."""
        hard = uniform(digest, 1) >= self.easy
        median = np.where(hard, self.hard_depth * np.exp(self.spread * _normal(digest, 2)), self.easy_depth)
        right = np.where(hard, self.least_right + (1 - self.least_right) * uniform(digest, 4), 1.0)
        return median, right

    def trajectories(self, digest: U64, seed: U64, median: F64, right: F64) -> Paths:
        """Return where each trajectory goes; all arguments are (N,) and belong to trajectories."""
        draw = mix(digest ^ seed)
        settles = np.ceil(median * np.exp(0.5 * self.spread * _normal(draw, 1))).astype(np.int64)
        settles = np.clip(settles, 1, 1 << 30)
        which = np.clip(np.floor(-np.log2(1 - uniform(draw, 4))), 0, self.n_spurious - 1).astype(np.int64) + 1
        attractor = np.where(uniform(draw, 3) < right, 0, which)
        diverges = (right < 1) & (uniform(draw, 5) < self.diverging)
        breaks_at = np.where(diverges, np.maximum(settles // 2, 1), 0)
        wrong = self.q_spurious + self.q_spurious_spread * (uniform(digest + attractor.astype(np.uint64), 6) - 0.5)
        return Paths(draw, settles, attractor, breaks_at, np.where(attractor == 0, self.q_right, wrong))

    def observe(self, paths: Paths, first: I64, n_steps: int) -> Observed:
        """Return what is seen of N trajectories at depths `first` .. `first + n_steps - 1`, (N, n_steps) each; first is
        (N,)."""
        depth = first[:, None] + np.arange(-_BEFORE, n_steps)
        noise = mix(paths.draw[:, None] + depth.astype(np.uint64) * _STEP)
        shake = (noise & np.uint64(0xFFFFFFFF)).astype(np.float64) * 2.0**-32 - 0.5
        tilt = (noise >> np.uint64(32)).astype(np.float64) * 2.0**-32 - 0.5
        since = depth - paths.settles[:, None]
        # Powers of two are exact, so a value does not depend on where in a batch it is computed.
        decay = np.ldexp(self.level, -2 * np.clip(since, 0, 500))
        raw = (np.where(since < 0, self.level, np.maximum(decay, self.floor)) * (1 + 0.5 * shake)).astype(np.float32)
        changes = (raw * (1 + 0.5 * tilt)).astype(np.float32)
        q_halt = np.where(since < 0, self.q_wandering, paths.q_settled[:, None]) + tilt
        return Observed(
            residual=_mean_of_three(raw, depth, 3),
            logit_delta=_mean_of_three(changes, depth, 4),
            q_halt=q_halt[:, _BEFORE:].astype(np.float32),
        )

    def answer_keys(self, digest: U64, paths: Paths, depth: I64) -> U64:
        """Return the answer that each trajectory decodes to at a depth: its attractor's once settled, a passing one
        before."""
        passing = mix(paths.draw + (depth // 4).astype(np.uint64) * _STEP)
        return np.where(depth >= paths.settles, attractor_key(digest, paths.attractor), passing)


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Where N trajectories go."""

    draw: U64
    """(N,) what their noise is hashed from."""
    settles: I64
    """(N,) depth at which they reach their attractor."""
    attractor: I64
    """(N,) 0 is the right one."""
    breaks_at: I64
    """(N,) depth at which the state stops being finite, 0 for never."""
    q_settled: F64
    """(N,) halting logit at the attractor."""

    def take(self, rows: I64) -> Paths:
        """Return the paths at these positions."""
        return Paths(
            self.draw[rows], self.settles[rows], self.attractor[rows], self.breaks_at[rows], self.q_settled[rows]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """What an engine sees of N trajectories over T iterations, with the meaning of the columns of `Trajectories`."""

    residual: F32
    logit_delta: F32
    q_halt: F32


def attractor_key(digest: U64, attractor: I64) -> U64:
    """Return the key of the answer that an attractor decodes to, (N,)."""
    return mix(digest + (attractor.astype(np.uint64) + np.uint64(1)) * _STEP)


def uniform(word: U64, stream: int) -> F64:
    """Return a number in [0, 1) for each word and stream, (N,)."""
    return (mix(word + np.uint64(stream * int(_STEP) & _WORD)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _normal(word: U64, stream: int) -> F64:
    """Return a standard normal number for each word (Box and Muller 1958), using two streams."""
    radius = np.sqrt(-2 * np.log(1 - uniform(word, stream)))
    return np.asarray(radius * np.cos(2 * np.pi * uniform(word, stream + 1)), dtype=np.float64)


def _mean_of_three(raw: F32, depth: I64, defined_from: int) -> F32:
    mean = (raw[:, 2:] + raw[:, 1:-1] + raw[:, :-2]) / np.float32(3)
    return np.where(depth[:, _BEFORE:] >= defined_from, mean, np.float32(np.inf))
