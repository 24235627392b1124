"""What a pool policy promises beside the protocol: a budget for the cohort, kept whatever the trajectories do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from policy_suite import chosen_for, one_of, random_tallies, without_fresh

from eqr_ray.policy import Pool, Posterior, calibrated, check_allocations, policy_from
from eqr_ray.sim.calibrating import fit
from eqr_ray.sim.landscape import Landscape
from eqr_ray.sim.made import made_trace
from eqr_ray.sim.replay import Outcome, Playback, replay
from eqr_ray.types import Status, Tallies

POOLS = {
    "pool": policy_from("pool", depth=32, breadth=8),
    "poor pool": policy_from("pool", depth=32, breadth=8, mean=3),
    "hasty pool": policy_from("pool", depth=32, breadth=8, mean=60, haste=1.0),
    "pool with a price": policy_from("pool", depth=32, breadth=8, mean=60, price=0.002, delta=0.05),
    "capped pool": policy_from("pool", depth=32, breadth=8, nfe=40, mean=30),
}
TRACE = made_trace(150, 32, 8, Landscape(hard_depth=12.0))
PLAYBACK = Playback(TRACE)


@pytest.fixture(params=POOLS.values(), ids=POOLS.keys())
def pool(request: pytest.FixtureRequest) -> Pool:
    return request.param


def test_no_grant_breaks_a_puzzles_budget_or_the_pools(pool: Pool) -> None:
    for seed in range(4):
        # A pool never opens a puzzle after it has spent what the others were to have, as random tallies may.
        tallies = random_tallies(pool, 120, seed, fresh=0.0)
        allocations = pool.allocate(tallies)
        check_allocations(tallies, allocations, pool.budget, pooled=True)
        extended = allocations.extend_to > 0
        assert (tallies.trajectories.status[extended] == Status.RUNNING).all()
        more = (allocations.extend_to - tallies.trajectories.depth)[extended].sum()
        more += (allocations.spawn.astype(np.int64) * allocations.spawn_to).sum()
        assert more <= max(pool.mean * len(tallies) - tallies.nfe.sum(), 0)


def test_a_cohort_ends_within_its_budget(pool: Pool) -> None:
    found = replay(pool, PLAYBACK)
    assert found.nfe.sum() <= pool.mean * len(TRACE)
    assert (found.nfe <= pool.budget.nfe).all()
    assert (found.breadth >= 1).all()


def test_the_same_tallies_give_the_same_decision(pool: Pool) -> None:
    tallies = random_tallies(pool, 100, seed=5)
    first, second = pool.allocate(tallies), pool.allocate(tallies)
    assert first.stop == second.stop
    assert np.array_equal(first.extend_to, second.extend_to)
    assert np.array_equal(first.spawn * first.spawn_to, second.spawn * second.spawn_to)


def test_a_choice_does_not_depend_on_the_other_puzzles(pool: Pool) -> None:
    tallies = without_fresh(random_tallies(pool, 60, seed=12))
    choices = pool.select(tallies)
    for p in range(len(tallies)):
        assert chosen_for(pool.select(one_of(tallies, p)), 0) == chosen_for(choices, p)


def test_with_room_for_all_it_reaches_what_the_posterior_reaches() -> None:
    own = {"depth": 32, "breadth": 8, "delta": 0.02}
    alone, pooled = (
        replay(policy_from("posterior", **own), PLAYBACK),
        replay(policy_from("pool", mean=256, **own), PLAYBACK),
    )
    assert facts(pooled) == facts(alone)


def test_at_an_equal_budget_a_pool_is_at_or_above_the_policy_that_looks_at_one_puzzle() -> None:
    known = fit(made_trace(200, 32, 8, Landscape(hard_depth=12.0), seed=5), POOLS["pool"].budget.halt)
    for price in (0.0, 0.004, 0.01, 0.02):
        alone = replay(calibrated(policy_from("posterior", depth=32, breadth=8, price=price), known), PLAYBACK)
        budget = math.ceil(alone.nfe_mean)
        pooled = replay(calibrated(policy_from("pool", depth=32, breadth=8, mean=budget), known), PLAYBACK)
        assert pooled.nfe_mean <= budget
        # One puzzle of 150 is what the rounding of the budget and of a last grant may decide.
        assert pooled.accuracy >= alone.accuracy - 1 / len(TRACE) - 1e-9


def test_what_one_puzzle_does_not_need_another_gets() -> None:
    own = {"depth": 32, "breadth": 8}
    pooled = replay(policy_from("pool", mean=20, **own), PLAYBACK)
    assert pooled.nfe.max() > 2 * 20
    assert pooled.nfe.min() < 10
    capped = replay(policy_from("posterior", nfe=20, **own), PLAYBACK)
    assert pooled.accuracy > capped.accuracy


@pytest.mark.parametrize("mean", [1, 6, 12])
def test_a_pool_that_cannot_reserve_a_whole_first_round_for_all_gives_it_in_waves(mean: int) -> None:
    policy = policy_from("pool", depth=32, breadth=8, mean=mean, first_depth=16)
    fresh = Tallies(
        np.arange(30),
        np.zeros(31, np.int64),
        random_tallies(policy, 1, 0, fresh=1.0).trajectories,
        np.zeros(30, np.int32),
    )
    first = policy.allocate(fresh)
    looks = (first.spawn * first.spawn_to).tolist()
    least = max(1, mean // 2)
    wave = (mean * 30 - least * 30) // (16 - least)
    assert looks == [16] * wave + [0] * (30 - wave) if wave else looks == [mean] * 30
    assert not any(first.stop)
    found = replay(policy, PLAYBACK)
    assert (found.breadth >= 1).all()
    assert found.nfe.sum() <= mean * len(TRACE)


def test_waves_of_whole_first_rounds_reach_more_than_a_short_one_for_all() -> None:
    short = replay(policy_from("posterior", depth=32, breadth=8, nfe=12, first_depth=12), PLAYBACK)
    waves = replay(policy_from("pool", depth=32, breadth=8, mean=math.ceil(short.nfe_mean), first_depth=16), PLAYBACK)
    assert waves.accuracy > short.accuracy


@pytest.mark.parametrize("mean", [14, 17, 20])
def test_a_pool_with_work_left_spends_its_last_iterations(mean: int) -> None:
    policy = policy_from("pool", depth=32, breadth=8, mean=mean, first_depth=16)
    found = replay(policy, PLAYBACK)
    whole = replay(policy_from("posterior", depth=32, breadth=8, first_depth=16), PLAYBACK)
    assert whole.nfe.sum() > mean * len(TRACE), "something is left to do"
    assert found.nfe.sum() == mean * len(TRACE)


def test_cohorts_share_nothing() -> None:
    policy = policy_from("pool", depth=32, breadth=8, mean=20, cohort=50)
    whole = replay(policy, PLAYBACK)
    part = replay(policy, Playback(TRACE.take(np.arange(50, 100))))
    assert part.nfe.tolist() == whole.nfe[50:100].tolist()


def facts(outcome: Outcome) -> tuple[object, ...]:
    return outcome.nfe.tolist(), outcome.answer_key.tolist(), outcome.confidence.tolist()


def test_a_pool_is_a_posterior_that_shares() -> None:
    assert issubclass(Pool, Posterior)
