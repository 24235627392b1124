from __future__ import annotations

import numpy as np
from tally_builders import CONVERGED, RUNNING, Row, tally

from eqr_ray.policy import Calibration
from eqr_ray.policy.chances import FAR, extend_features, near_of, outlook_of

KNOWN = Calibration(
    extend_bias=-0.5, extend_q=0.3, extend_residual=0.2, extend_delta=-0.4, extend_depth=-0.6, extend_open=0.1,
    spawn_bias=-1.0, spawn_depth=0.4, spawn_open=-0.8, spawn_votes=-0.3, spawn_near=0.5,
)  # fmt: skip
TALLIES = tally(
    [Row(RUNNING, depth=16), Row(RUNNING, depth=32, q_halt=2.0)],
    [Row(CONVERGED, key=1), Row(RUNNING, depth=64)],
    [Row(CONVERGED, key=2)],
)


def test_what_cannot_go_on_promises_nothing() -> None:
    found = outlook_of(TALLIES, KNOWN, depth=64, breadth=2, first_depth=16)
    assert (found.extend > 0).tolist() == [True, True, False, False, False]
    assert (found.spawn > 0).tolist() == [False, False, True]


def test_a_puzzles_chances_are_its_own() -> None:
    whole = outlook_of(TALLIES, KNOWN, depth=64, breadth=8, first_depth=16)
    alone = outlook_of(tally([Row(RUNNING, depth=16), Row(RUNNING, depth=32, q_halt=2.0)]), KNOWN, 64, 8, 16)
    assert whole.extend[:2].tobytes() == alone.extend.tobytes()
    assert whole.spawn[:1].tobytes() == alone.spawn.tobytes()


def test_chances_are_those_of_the_two_models_an_iteration() -> None:
    found = outlook_of(TALLIES, KNOWN, depth=128, breadth=8, first_depth=16)
    odds = KNOWN.extend_bias + extend_features(TALLIES) @ np.array([0.3, 0.2, -0.4, -0.6, 0.1])
    assert np.allclose(found.extend[[0, 1, 3]], (1 / (1 + np.exp(-odds)) / TALLIES.trajectories.depth)[[0, 1, 3]])
    near = near_of(TALLIES, odds)
    assert near[2] == FAR
    spawn = -1.0 + 0.4 * np.log(16) - 0.8 * np.log([3, 2, 1]) - 0.3 * np.log([1, 2, 2]) + 0.5 * near
    assert np.allclose(found.spawn, 1 / (1 + np.exp(-spawn)) / 16)
