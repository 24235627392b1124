from __future__ import annotations

from dataclasses import replace

import optuna
import pytest

from eqr_ray.config.tune import KINDS
from eqr_ray.policy import PolicySpec, policy_names, shipped_policies
from eqr_ray.tuning.space import Space
from eqr_ray.types import InputError

SPACE = Space(KINDS, depth=64, breadth=16)


def test_every_kind_of_policy_can_be_tuned() -> None:
    assert set(KINDS) == set(policy_names())


@pytest.mark.parametrize("kind", KINDS)
def test_every_suggestion_builds_a_policy_that_fits_the_trace(kind: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(30):
        policy = Space((kind,), 64, 16).suggest(study.ask()).build()
        assert policy.name == kind
        assert policy.budget.depth <= 64
        assert policy.budget.breadth <= 16


@pytest.mark.parametrize("name", [*KINDS, *shipped_policies()])
def test_a_known_policy_is_a_point_that_suggests_it_again(name: str) -> None:
    point = SPACE.point(PolicySpec(name))
    assert point is not None
    spec = SPACE.suggest(optuna.trial.FixedTrial(point))  # type: ignore[arg-type]
    assert SPACE.point(spec) == point


def test_a_kind_that_is_not_tried_has_no_point() -> None:
    assert Space(("fixed",), 64, 16).point(PolicySpec("adaptive")) is None
    assert len(Space(("fixed", "adaptive"), 64, 16).starts(["fixed", "adaptive", "posterior", "fixed"])) == 2


def test_another_bound_is_another_study() -> None:
    digests = {Space(kinds, d, b).digest() for kinds in (("fixed",), ("adaptive",)) for d in (8, 16) for b in (2, 4)}
    assert len(digests) == 8
    assert Space(("fixed",), 8, 2).digest() == Space(("fixed",), 8, 2).digest()


def test_only_what_varies_is_tried_and_the_rest_keeps_its_defaults() -> None:
    space = Space(("posterior",), 64, 16, ("price", "first_depth"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    trials = [study.ask() for _ in range(10)]
    policies = [space.suggest(trial).build() for trial in trials]
    assert {name for trial in trials for name in trial.params} == {
        "kind",
        "posterior.price",
        "posterior.first_depth",
    }
    plain = PolicySpec("posterior", 64, 16, 64 * 16).build()
    assert all(replace(policy, price=plain.price, first_depth=plain.first_depth) == plain for policy in policies)
    assert len({policy.price for policy in policies}) == 10
    assert space.digest() != Space(("posterior",), 64, 16).digest()


def test_a_parameter_that_no_kind_has_is_refused() -> None:
    with pytest.raises(InputError, match="vary: posterior has no prize; choose from breadth, "):
        Space(("posterior",), 64, 16, ("price", "prize"))


def test_a_kind_with_nothing_to_try_is_left_out() -> None:
    space = Space(("posterior", "agreement"), 64, 16, ("price",))
    assert space.tried == ("posterior",)
    assert space.point(PolicySpec("agreement")) is None
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    assert {space.suggest(study.ask()).build().name for _ in range(5)} == {"posterior"}
