from __future__ import annotations

import numpy as np

from eqr_ray.policy import Calibration, policy_from
from eqr_ray.policy.calibration import sigmoid, weighted
from eqr_ray.policy.chances import extend_weights, spawn_weights
from eqr_ray.sim import Landscape
from eqr_ray.sim.hazards import Seen, extensions, fit_chances, starts
from eqr_ray.sim.made import made_trace
from eqr_ray.sim.replay import Playback

LANDSCAPE = Landscape(hard_depth=10.0)
FITTED_ON, UNSEEN = (Playback(made_trace(n, 64, 5, LANDSCAPE, seed=seed)) for n, seed in ((400, 1), (600, 2)))
RULE = policy_from("posterior").budget.halt
KNOWN = fit_chances(FITTED_ON, RULE, Calibration())


def log_loss(odds: np.ndarray, seen: Seen) -> float:
    p = np.clip(sigmoid(odds), 1e-9, 1 - 1e-9)
    return float(-np.mean(np.where(seen.solved, np.log(p), np.log(1 - p))))


def test_fitted_chances_are_near_what_happens_on_other_puzzles_and_tell_them_apart() -> None:
    for seen, bias, weights in (
        (extensions(UNSEEN, RULE, KNOWN), KNOWN.extend_bias, extend_weights(KNOWN)),
        (starts(UNSEEN, RULE, KNOWN), KNOWN.spawn_bias, spawn_weights(KNOWN)),
    ):
        odds = weighted(bias, weights, seen.features)
        share = float(seen.solved.mean())
        assert abs(float(sigmoid(odds).mean()) - share) < 0.05
        assert log_loss(odds, seen) < log_loss(np.full(len(odds), np.log(share / (1 - share))), seen)


def test_without_open_tallies_the_fall_back_stands() -> None:
    easy = Playback(made_trace(4, 16, 1, Landscape(easy=1.0, easy_depth=1.0), seed=3))
    assert fit_chances(easy, RULE, Calibration()) == Calibration()


def test_only_puzzles_whose_leader_is_wrong_are_looked_at() -> None:
    solved = Playback(made_trace(60, 32, 3, Landscape(easy=1.0), seed=4))
    assert len(starts(solved, RULE, Calibration()).solved) < len(starts(FITTED_ON, RULE, Calibration()).solved) / 4
