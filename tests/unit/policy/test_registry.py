from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from eqr_ray.config import PolicyConfig
from eqr_ray.policy import Fixed, PolicySpec, Posterior, policy_from, policy_names, shipped_policies, spec_of
from eqr_ray.types import InputError

CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "policy").glob("*.yaml"))


def test_the_default_policy_is_adaptive_spending_at_a_price_and_capped() -> None:
    policy = policy_from()
    assert policy == policy_from("balanced") == policy_from(PolicyConfig().name)
    assert isinstance(policy, Posterior)
    assert policy.price > 0
    assert (policy.budget.depth, policy.budget.breadth, policy.budget.nfe) == (256, 64, 4096)
    assert policy_from("adaptive").budget.nfe == 1024


def test_a_budget_that_is_given_is_kept_as_given() -> None:
    assert policy_from("adaptive", depth=512).budget.nfe == 512 * 16
    assert policy_from("adaptive", depth=8, breadth=2).budget.nfe == 16
    assert policy_from("adaptive", nfe=77).budget.nfe == 77
    assert policy_from("fixed", depth=32, breadth=4).budget.nfe == 128


def test_parameters_reach_the_policy() -> None:
    policy = policy_from("fixed", breadth=4, select_by="topk", k=2)
    assert isinstance(policy, Fixed)
    assert (policy.breadth, policy.select_by, policy.k) == (4, "topk", 2)
    assert policy_from("adaptive", accept_q="inf", depth="64").budget.depth == 64


@pytest.mark.parametrize(
    ("message", "given"),
    [
        ("got 'adaptve'; the nearest is 'adaptive'", {"name": "adaptve"}),
        ("policy must be one of adaptive, adaptive_consistency", {"name": "nothing like it"}),
        ("no parameter 'acept_q'; the nearest is 'accept_q'", {"name": "adaptive", "acept_q": 3}),
        ("no parameter 'accept_q'", {"name": "fixed", "accept_q": 3}),
        ("depth must be a whole number, got depth='deep'", {"name": "adaptive", "depth": "deep"}),
        ("breadth must be a whole number, got breadth=1.5", {"breadth": 1.5}),
        ("agree must be a whole number, got agree=True", {"name": "adaptive", "agree": True}),
        ("accept_q must be a number, got accept_q='high'", {"name": "adaptive", "accept_q": "high"}),
        ("stable_for must be a whole number, got stable_for=1.5", {"stable_for": 1.5}),
        ("deepen must be greater than 1, got deepen=1.0", {"deepen": 1}),
        ("depth must be at least 1, got depth=0", {"depth": 0}),
        ("nfe must be in [1, depth * breadth = 8], got nfe=9", {"depth": 4, "breadth": 2, "nfe": 9}),
        ("min_depth must be at least 1, got min_depth=0", {"min_depth": 0}),
    ],
)
def test_wrong_input_is_one_sentence_that_names_it(message: str, given: dict[str, object]) -> None:
    with pytest.raises(InputError) as problem:
        policy_from(**given)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("name", policy_names())
def test_a_spec_survives_json_and_builds_an_equal_policy(name: str) -> None:
    policy = policy_from(name, depth=40, breadth=3, nfe=100)
    plain = json.loads(json.dumps(spec_of(policy).as_dict(), allow_nan=False))
    assert PolicySpec(**plain).build() == policy


def test_infinite_thresholds_survive_json() -> None:
    policy = policy_from("adaptive", accept_q=float("inf"), q_halt_above="-inf")
    plain = json.loads(json.dumps(spec_of(policy).as_dict(), allow_nan=False))
    rebuilt = PolicySpec(**plain).build()
    assert rebuilt.budget == policy.budget
    assert rebuilt.accept_q == float("inf")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_shipped_policy_file_builds(path: Path) -> None:
    policy = PolicySpec(**yaml.safe_load(path.read_text())).build()
    assert policy.budget.nfe >= 1


def test_there_are_shipped_policy_files() -> None:
    assert len(CONFIGS) >= 2


@pytest.mark.parametrize("name", shipped_policies())
def test_a_shipped_policy_equals_its_file_and_takes_a_budget_of_the_users(name: str) -> None:
    filed = yaml.safe_load((CONFIGS[0].parent / f"{name}.yaml").read_text())
    assert PolicySpec(**filed).build() == policy_from(name)
    assert policy_from(name, nfe=50).budget.nfe == 50
    assert policy_from(name, depth=20, breadth=3).budget.nfe == 60
