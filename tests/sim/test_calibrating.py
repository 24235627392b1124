from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eqr_ray.evaluation.calibration import expected_calibration_error
from eqr_ray.policy import Posterior, calibrated, policy_from
from eqr_ray.sim import Landscape
from eqr_ray.sim.calibrating import fit, quality
from eqr_ray.sim.made import made_trace
from eqr_ray.sim.replay import Playback, replay
from eqr_ray.types import InputError

LANDSCAPE = Landscape(hard_depth=10.0, q_spurious=-3.0)
FITTED_ON, UNSEEN = made_trace(400, 48, 8, LANDSCAPE, seed=1), made_trace(600, 48, 8, LANDSCAPE, seed=2)
POLICY = policy_from("posterior", depth=48, breadth=8)


def test_confidence_that_was_fitted_is_nearer_to_what_happens_on_unseen_puzzles() -> None:
    assert isinstance(POLICY, Posterior)
    known = fit(FITTED_ON, POLICY.budget.halt)
    fitted = calibrated(POLICY, known)
    assert isinstance(fitted, Posterior)
    before, after = quality(UNSEEN, POLICY), quality(UNSEEN, fitted)
    assert after.expected_calibration_error < before.expected_calibration_error
    assert after.expected_calibration_error < 0.08
    assert after.brier < before.brier
    found = replay(fitted, Playback(UNSEEN))
    assert after.expected_calibration_error == expected_calibration_error(found.confidence, found.exact)


def test_puzzles_without_a_label_do_not_count() -> None:
    rule = POLICY.budget.halt
    half = FITTED_ON.right.copy()
    half[::2] = -2
    hidden = replace(FITTED_ON, right=half)
    assert fit(hidden, rule) == fit(FITTED_ON.take(np.arange(1, 400, 2)), rule)


def test_too_little_to_fit_on_is_refused() -> None:
    with pytest.raises(InputError, match="needs at least 30 settled trajectories"):
        fit(FITTED_ON.take([0, 1, 2]), POLICY.budget.halt)
