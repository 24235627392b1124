"""What a worker does for one trial: a policy replayed on a trace.

Invariant, asserted in tests/unit/tuning/test_study.py: a trial gives the same numbers in any worker.
"""

from __future__ import annotations

from dataclasses import dataclass

from eqr_ray.evaluation.calibration import expected_calibration_error
from eqr_ray.policy import Calibration, PolicySpec, calibrated
from eqr_ray.sim.replay import Playback, replay
from eqr_ray.sim.trace import Trace


@dataclass(frozen=True, slots=True)
class Task:
    """One trial."""

    number: int
    spec: PolicySpec


@dataclass(frozen=True, slots=True)
class Score:
    """What a policy reached."""

    accuracy: float
    nfe_mean: float
    puzzles: int
    calibration_error: float | None


@dataclass(frozen=True, slots=True, eq=False)
class ReplayTrials:
    """Builds, in a worker, the function that scores a policy on a trace; all workers of a node share its columns."""

    trace: Trace
    calibration: Calibration | None = None

    def __call__(self) -> ReplayTrial:
        """Build it."""
        return ReplayTrial(self)


class ReplayTrial:
    """Scores policies on a trace."""

    def __init__(self, recipe: ReplayTrials) -> None:
        self._calibration, self._playback = recipe.calibration, Playback(recipe.trace)

    def __call__(self, task: Task) -> Score:
        """Replay the policy on every puzzle."""
        found = replay(calibrated(task.spec.build(), self._calibration), self._playback)
        error = expected_calibration_error(found.confidence, found.exact)
        return Score(found.accuracy, found.nfe_mean, len(found.nfe), error)
