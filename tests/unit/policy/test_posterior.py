from __future__ import annotations

import numpy as np
import pytest
from tally_builders import CONVERGED, RUNNING, Row, tally

from eqr_ray.policy import Calibration, Posterior, calibrated, policy_from
from eqr_ray.policy.calibration import trajectory_features
from eqr_ray.policy.voting import Selection, choose, settled
from eqr_ray.types import InputError, StopReason

KNOWN = Calibration(
    trust_bias=1.0, trust_q=0.5, vote_bias=-0.5, vote_mass=0.3, vote_trust=0.2, vote_rivals=-0.8, vote_none=-3.0
)
TALLIES = tally(
    [Row(CONVERGED, q_halt=3.0)],
    [Row(CONVERGED, key=1), Row(CONVERGED, key=2, q_halt=0.5), Row(RUNNING)],
    [Row(RUNNING, q_halt=-5.0)],
)


def test_without_calibration_the_posterior_is_that_of_the_halting_logit() -> None:
    found = policy_from("posterior").select(TALLIES)
    plain = choose(TALLIES, settled(TALLIES.trajectories), Selection.POSTERIOR)
    assert np.allclose(found.confidence, plain.confidence, rtol=1e-9)
    assert np.allclose(found.ballots.weight, plain.ballots.weight, rtol=1e-9)


def test_the_stated_confidence_is_the_one_that_stops() -> None:
    policy = calibrated(policy_from("posterior"), KNOWN)
    stated = float(policy.select(TALLIES).confidence[0])
    for delta, stops in ((1 - stated + 1e-6, True), (1 - stated - 1e-6, False)):
        granted = calibrated(policy_from("posterior", delta=delta), KNOWN).allocate(TALLIES)
        assert (granted.stop[0] is StopReason.CONSENSUS) == stops


def test_a_leader_without_votes_gets_the_measured_chance() -> None:
    found = calibrated(policy_from("posterior"), KNOWN).select(TALLIES)
    assert found.votes[2] == 0
    assert found.confidence[2] == pytest.approx(1 / (1 + np.exp(3.0)))


@pytest.mark.parametrize(("extend", "spawn", "extended"), [(1.0, -1.0, True), (-1.0, 1.0, False)])
def test_what_promises_more_decides_between_extending_and_starting_anew(
    extend: float, spawn: float, extended: bool
) -> None:
    known = Calibration(extend_bias=extend, spawn_bias=spawn, extend_residual=0.0, spawn_open=0.0)
    granted = calibrated(policy_from("posterior"), known).allocate(tally([Row(RUNNING, depth=16)]))
    assert (granted.extend_to[0] > 0) == extended
    assert (granted.spawn[0] > 0) != extended


def test_only_trajectories_that_are_worth_the_price_are_extended() -> None:
    known = Calibration(extend_bias=0.0, extend_q=1.0, extend_residual=0.0, spawn_bias=-20.0)
    policy = calibrated(policy_from("posterior", price=0.01), known)
    granted = policy.allocate(tally([Row(RUNNING, depth=16, q_halt=1.0), Row(RUNNING, depth=16, q_halt=-9.0)]))
    assert granted.extend_to.tolist() == [32, 0]
    assert granted.stop == (None,)


def test_a_price_gives_up_what_an_iteration_is_not_expected_to_gain() -> None:
    hopeless = tally([Row(RUNNING, depth=60)])
    assert policy_from("posterior", price=0.0).allocate(hopeless).stop == (None,)
    assert policy_from("posterior", price=0.1).allocate(hopeless).stop == (StopReason.NFE_SPENT,)


def test_what_promises_less_than_a_new_one_waits_until_breadth_is_used_up() -> None:
    stuck = Row(RUNNING, depth=40, residual=0.9)
    known = Calibration(extend_bias=-9.0, spawn_bias=0.0, spawn_open=0.0)
    granted = calibrated(policy_from("posterior", breadth=2), known).allocate(tally([stuck], [stuck, stuck]))
    assert granted.extend_to.tolist() == [0, 64, 64]
    assert granted.spawn.tolist() == [1, 0]


def test_focus_extends_the_best_alone_or_all_that_are_worth_it() -> None:
    known = Calibration(extend_bias=0.0, extend_q=1.0, extend_residual=0.0, spawn_bias=-20.0)
    rows = tally([Row(RUNNING, depth=16, q_halt=1.0), Row(RUNNING, depth=16, q_halt=-1.0)])
    for focus, wanted in ((1.0, [32, 0]), (0.0, [32, 32])):
        granted = calibrated(policy_from("posterior", focus=focus), known).allocate(rows)
        assert granted.extend_to.tolist() == wanted


def test_depth_grows_by_the_factor_asked_for() -> None:
    granted = policy_from("posterior", deepen=1.5).allocate(tally([Row(RUNNING, depth=20)]))
    assert granted.extend_to.tolist() == [30]


def test_nobody_is_asked_for_more_certainty_than_was_measured() -> None:
    known = Calibration(trust_bias=9.0, vote_bias=9.0, vote_most=3.0)
    policy = calibrated(policy_from("posterior", delta=0.001), known)
    assert policy.allocate(TALLIES).stop[0] is StopReason.CONSENSUS
    wary = calibrated(policy_from("posterior", delta=0.001, least_votes=2), known)
    assert wary.allocate(TALLIES).stop[0] is None


def test_a_halting_rule_is_the_checkpoints_unless_the_policy_states_one() -> None:
    known = Calibration(residual_below=0.3, q_halt_above=2.0, stable_for=4.0)
    rule = calibrated(policy_from("posterior", stable_for=1), known).budget.halt
    assert (rule.residual_below, rule.q_halt_above, rule.stable_for) == (0.3, 2.0, 1)
    assert policy_from("posterior").budget.halt == policy_from("adaptive").budget.halt


def test_numbers_that_a_policy_states_win_over_the_checkpoints() -> None:
    policy = calibrated(policy_from("posterior", trust_q=2.0), KNOWN)
    assert isinstance(policy, Posterior)
    assert (policy.calibration.trust_q, policy.calibration.trust_bias) == (2.0, 1.0)
    adaptive = policy_from("adaptive")
    assert calibrated(adaptive, KNOWN) is adaptive
    assert calibrated(policy_from("posterior"), None) == policy_from("posterior")


def test_values_survive_json_and_unknown_ones_are_refused() -> None:
    assert Calibration.from_values(KNOWN.as_dict(), "here") == KNOWN
    for values, message in (({"trust": 1.0}, "has no value 'trust'"), ({"trust_q": "x"}, "must be a finite number")):
        with pytest.raises(InputError, match=message):
            Calibration.from_values(values, "here")


def test_features_of_a_row_do_not_depend_on_its_neighbours() -> None:
    rows = TALLIES.trajectories
    for n in range(len(rows)):
        assert (
            trajectory_features(rows.take(slice(n, n + 1))).tobytes() == trajectory_features(rows)[n : n + 1].tobytes()
        )
    assert KNOWN.trust(trajectory_features(rows))[0] == pytest.approx(1.0 + 0.5 * 3.0)
