from __future__ import annotations

import math

import numpy as np
import pytest
from tally_builders import CONVERGED, RUNNING, Row, tally

from eqr_ray.policy import Policy, policy_from
from eqr_ray.policy.sequential import beta_tail
from eqr_ray.types import InputError, StopReason


def votes(*keys: int) -> list[Row]:
    return [Row(CONVERGED, key=key) for key in keys]


def stops(policy: Policy, rows: list[Row]) -> bool:
    return policy.allocate(tally(rows)).stop[0] is StopReason.CONSENSUS


def test_agreement_wants_votes_for_one_answer_and_more_than_for_any_other() -> None:
    policy = policy_from("agreement", agree=2)
    assert not stops(policy, votes(1))
    assert not stops(policy, votes(1, 2))
    assert stops(policy, votes(1, 2, 1))
    assert not stops(policy, votes(1, 2, 1, 2))


def test_the_beta_rule_stops_at_the_published_counts() -> None:
    policy = policy_from("adaptive_consistency", sure=0.95)
    assert not stops(policy, votes(1, 1, 1))
    assert stops(policy, votes(1, 1, 1, 1))
    assert not stops(policy, votes(1, 1, 1, 1, 2))


def test_the_bayes_factor_counts_all_other_answers_together() -> None:
    policy = policy_from("bayes_factor", factor=10)
    assert stops(policy, votes(1, 1, 1))
    assert not stops(policy, votes(1, 1, 1, 2, 3))
    assert not stops(policy, votes(1, 1))


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (4, 0), (3, 2), (10, 7)])
def test_the_beta_tail_is_its_integral(a: int, b: int) -> None:
    p = (np.arange(200_000) + 0.5) / 200_000
    density = p**a * (1 - p) ** b * math.gamma(a + b + 2) / math.gamma(a + 1) / math.gamma(b + 1)
    assert beta_tail(np.array([a]), np.array([b]))[0] == pytest.approx(density[p > 0.5].sum() / 200_000, abs=1e-6)


def test_a_trajectory_runs_to_its_end_before_another_begins() -> None:
    policy = policy_from("agreement", depth=30)
    granted = policy.allocate(tally([Row(RUNNING, depth=12)]))
    assert (granted.extend_to.tolist(), granted.spawn.tolist()) == ([30], [0])
    granted = policy.allocate(tally([Row(RUNNING, depth=30)]))
    assert (granted.extend_to.tolist(), granted.spawn.tolist(), granted.spawn_to.tolist()) == ([0], [1], [30])


def test_the_last_trajectory_takes_what_is_left() -> None:
    granted = policy_from("agreement", depth=30, breadth=8, nfe=70, window=4).allocate(
        tally([Row(RUNNING, depth=30)] * 2)
    )
    assert (granted.spawn.tolist(), granted.spawn_to.tolist()) == ([1], [10])


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("agreement", {"agree": 0}, "agree must be at least 1"),
        ("adaptive_consistency", {"sure": 1}, r"sure must be in \(0.5, 1\)"),
        ("bayes_factor", {"factor": 1}, "factor must be greater than 1"),
        ("bayes_factor", {"window": 0}, "window must be at least 1"),
    ],
)
def test_parameters_without_sense_are_refused(name: str, params: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        policy_from(name, **params)
