"""Every policy keeps the promises of the protocol."""

from __future__ import annotations

import numpy as np
import pytest
from policy_suite import chosen_for, granted_to, one_of, play, random_tallies, without_fresh

from eqr_ray.policy import Policy, check_allocations, policy_from, policy_names
from eqr_ray.types import Status

POLICIES = {
    "fixed": policy_from("fixed", depth=32, breadth=4),
    "fixed capped": policy_from("fixed", depth=32, breadth=4, nfe=75),
    "fixed below one depth": policy_from("fixed", depth=32, breadth=4, nfe=5),
    "fixed top1": policy_from("fixed", depth=16, breadth=6, select_by="top1_residual"),
    "fixed top1 by logits": policy_from("fixed", depth=16, breadth=6, select_by="top1_logit"),
    "fixed topk": policy_from("fixed", depth=16, breadth=6, select_by="topk", k=2),
    "adaptive": policy_from("adaptive"),
    "adaptive, one trajectory": policy_from("adaptive", depth=100, breadth=1),
    "adaptive, tight cap": policy_from("adaptive", depth=128, breadth=8, nfe=150),
    "adaptive, cap below the first depth": policy_from("adaptive", depth=128, breadth=8, nfe=7),
    "adaptive, shallow": policy_from("adaptive", depth=3, breadth=5),
    "adaptive, three agree": policy_from("adaptive", depth=64, breadth=12, agree=3, accept_q=float("inf"), growth=2),
    "adaptive, patient with nothing": policy_from("adaptive", depth=64, breadth=4, patience=1, abandon_above=0.0),
    "agreement": policy_from("agreement", depth=32, breadth=6, agree=3),
    "agreement, tight cap": policy_from("agreement", depth=32, breadth=6, nfe=75, window=4),
    "adaptive consistency": policy_from("adaptive_consistency", depth=16, breadth=8, sure=0.9),
    "bayes factor": policy_from("bayes_factor", depth=16, breadth=8, factor=5, window=2),
    "posterior": policy_from("posterior"),
    "posterior, tight cap": policy_from("posterior", depth=128, breadth=8, nfe=150),
    "posterior, widens first": policy_from(
        "posterior", depth=64, breadth=4, spawn_bias=3.0, spawn_open=0.0, deepen=1.1
    ),
    "posterior, all at once": policy_from("posterior", depth=64, breadth=6, focus=0.0, first_breadth=3),
    "posterior, three votes": policy_from("posterior", depth=64, breadth=6, least_votes=3, first_breadth=2),
    "shipped economy, without its price": policy_from("economy", price=0.0),
    "shipped balanced, without its price": policy_from("balanced", price=0.0),
    "posterior, calibrated": policy_from(
        "posterior",
        depth=64,
        breadth=6,
        trust_bias=-1,
        trust_residual=-0.7,
        trust_most=7,
        vote_mass=0.4,
        vote_count=0.8,
        vote_rivals=-0.5,
        vote_none=-3,
        extend_bias=2,
        extend_q=0.8,
        extend_residual=0.5,
        extend_delta=-0.7,
        extend_depth=-0.6,
        extend_open=-0.2,
        spawn_bias=-1,
        spawn_depth=0.3,
        spawn_open=-0.9,
        spawn_votes=-0.4,
        spawn_near=0.4,
        residual_below=0.2,
        q_halt_above=1,
        stable_for=3,
    ),
}
POOLED = {"pool"}
"""Kinds whose puzzles share a budget; test_pool_contract.py holds them to what they promise."""


@pytest.fixture(params=POLICIES.values(), ids=POLICIES.keys())
def policy(request: pytest.FixtureRequest) -> Policy:
    return request.param


def test_every_registered_policy_is_under_contract() -> None:
    assert {policy.name for policy in POLICIES.values()} == set(policy_names()) - POOLED


PRICED = {name: policy_from(name) for name in ("economy", "balanced")}


@pytest.mark.parametrize("priced", PRICED.values(), ids=PRICED.keys())
def test_a_price_takes_nothing_from_the_contract(priced: Policy) -> None:
    tallies = random_tallies(priced, 120, seed=19)
    allocations = priced.allocate(tallies)
    check_allocations(tallies, allocations, priced.budget)
    for p in range(len(tallies)):
        alone = one_of(tallies, p)
        assert granted_to(alone, priced.allocate(alone), 0) == granted_to(tallies, allocations, p)
    assert len(play(priced, 40, seed=20)[1]) == 40


def test_no_grant_breaks_the_budget_or_touches_a_row_that_is_not_running(policy: Policy) -> None:
    for seed in range(3):
        tallies = random_tallies(policy, 120, seed)
        allocations = policy.allocate(tallies)
        check_allocations(tallies, allocations, policy.budget)
        extended = allocations.extend_to > 0
        assert (tallies.trajectories.status[extended] == Status.RUNNING).all()


def test_a_decision_does_not_depend_on_the_other_puzzles(policy: Policy) -> None:
    tallies = random_tallies(policy, 120, seed=11)
    allocations = policy.allocate(tallies)
    for p in range(len(tallies)):
        alone = one_of(tallies, p)
        assert granted_to(alone, policy.allocate(alone), 0) == granted_to(tallies, allocations, p)


def test_a_choice_does_not_depend_on_the_other_puzzles(policy: Policy) -> None:
    tallies = without_fresh(random_tallies(policy, 120, seed=12))
    choices = policy.select(tallies)
    for p in range(len(tallies)):
        assert chosen_for(policy.select(one_of(tallies, p)), 0) == chosen_for(choices, p)


def test_the_same_tallies_give_the_same_decision(policy: Policy) -> None:
    tallies = random_tallies(policy, 100, seed=13)
    first, second = policy.allocate(tallies), policy.allocate(tallies)
    assert [granted_to(tallies, first, p) for p in range(100)] == [granted_to(tallies, second, p) for p in range(100)]


def test_every_puzzle_ends_within_its_budget(policy: Policy) -> None:
    tallies, reasons = play(policy, 60, seed=14)
    budget = policy.budget
    assert len(reasons) == 60
    assert (tallies.nfe <= budget.nfe).all()
    assert (tallies.breadth <= budget.breadth).all()
    assert (tallies.trajectories.depth <= budget.depth).all()


def test_a_puzzle_that_never_settles_gets_its_whole_budget(policy: Policy) -> None:
    tallies, _ = play(policy, 20, seed=15, ever_settles=False)
    assert (tallies.nfe == policy.budget.nfe).all()


def test_nothing_is_decided_about_no_puzzles(policy: Policy) -> None:
    nothing = random_tallies(policy, 0, seed=16)
    assert policy.allocate(nothing).stop == ()
    assert len(policy.select(nothing)) == 0


def test_the_chosen_answer_leads_its_ballot_and_the_weights_are_probabilities(policy: Policy) -> None:
    tallies = without_fresh(random_tallies(policy, 120, seed=17))
    choices = policy.select(tallies)
    first = choices.start[:-1]
    assert np.array_equal(choices.answer_key, choices.ballots.answer_key[first])
    assert np.array_equal(choices.confidence, choices.ballots.weight[first])
    assert np.array_equal(choices.votes, choices.ballots.count[first])
    assert ((choices.ballots.weight >= 0) & (choices.ballots.weight <= 1)).all()
    assert (np.add.reduceat(choices.ballots.weight, first) <= 1 + 1e-12).all()


def test_a_diverged_trajectory_never_votes(policy: Policy) -> None:
    tallies = without_fresh(random_tallies(policy, 120, seed=18))
    choices = policy.select(tallies)
    votes = np.add.reduceat(choices.ballots.count, choices.start[:-1])
    finite = np.bincount(tallies.owner[tallies.trajectories.status != Status.DIVERGED], minlength=len(tallies))
    assert (votes <= finite).all()
