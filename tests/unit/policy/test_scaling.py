from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqr_ray.policy.scaling import MARGIN, Goal, Load, desired_replicas

LOAD = Load(iterations_left=1_000_000, iterations_per_s=100.0, replicas=1, puzzles_left=5000)
GOAL = Goal(most=50, start_s=100.0)
loads = st.builds(
    Load,
    st.floats(0, 1e12),
    st.one_of(st.none(), st.floats(0.1, 1e6)),
    st.integers(0, 100),
    st.one_of(st.just(math.inf), st.integers(0, 10**6).map(float)),
)
goals = st.builds(
    Goal,
    st.integers(1, 200),
    st.one_of(st.none(), st.floats(-100, 1e6)),
    st.one_of(st.none(), st.floats(-1, 1e4)),
    st.floats(0, 50),
    st.floats(1, 600),
)


def test_replicas_follow_the_backlog() -> None:
    # 10,000 s of one replica's work: two minutes each.
    assert desired_replicas(LOAD, GOAL) == 50
    assert desired_replicas(replace(LOAD, iterations_left=100_000), GOAL) == 9
    assert desired_replicas(replace(LOAD, iterations_left=100), GOAL) == 1
    assert desired_replicas(replace(LOAD, iterations_left=0, puzzles_left=0), GOAL) == 0


def test_before_a_rate_is_known_one_replica_measures_it() -> None:
    unknown = replace(LOAD, iterations_per_s=None, replicas=0)
    assert desired_replicas(unknown, GOAL) == 1
    assert desired_replicas(replace(unknown, replicas=3), GOAL) == 3
    assert desired_replicas(replace(unknown, replicas=3, puzzles_left=2.0), GOAL) == 2


def test_a_time_to_finish_asks_for_as_many_as_make_it_with_their_start() -> None:
    # One replica works 1800 s of 2000, the others 1700: 1 + ceil(8200 / 1700).
    assert desired_replicas(LOAD, replace(GOAL, seconds_left=2000)) == 6
    assert desired_replicas(LOAD, replace(GOAL, seconds_left=10_000 / MARGIN)) == 1
    assert desired_replicas(LOAD, replace(GOAL, seconds_left=50)) == 50
    assert desired_replicas(LOAD, replace(GOAL, seconds_left=-5)) == 50


def test_the_cap_stops_the_run_and_bounds_what_is_spent_on_starting() -> None:
    capped = replace(GOAL, price_per_hour=3.6, money_left=10.0)
    # 10,000 replica-seconds are left; a tenth of them starts ten machines.
    assert desired_replicas(LOAD, capped) == 11
    assert desired_replicas(LOAD, replace(capped, money_left=0.5)) == 1
    assert desired_replicas(LOAD, replace(capped, money_left=0.0)) == 0


def test_an_unknown_number_of_puzzles_asks_for_all() -> None:
    assert desired_replicas(Load(math.inf, 10.0, 2, math.inf), GOAL) == 50


@given(loads, goals)
def test_the_answer_stays_within_its_bounds(load: Load, goal: Goal) -> None:
    n = desired_replicas(load, goal)
    assert 0 <= n <= max(goal.most, 1)
    assert n <= max(load.puzzles_left, 1)
    over = load.puzzles_left <= 0 or (goal.money_left is not None and goal.money_left <= 0)
    assert (n == 0) == over


@given(loads, goals, st.floats(1, 100))
def test_more_work_or_less_time_never_asks_for_fewer(load: Load, goal: Goal, factor: float) -> None:
    n = desired_replicas(load, goal)
    assert desired_replicas(replace(load, iterations_left=load.iterations_left * factor), goal) >= n
    if goal.seconds_left is not None and goal.seconds_left > 0:
        assert desired_replicas(load, replace(goal, seconds_left=goal.seconds_left / factor)) >= n


def test_a_goal_that_allows_no_replica_is_refused() -> None:
    with pytest.raises(ValueError, match="most must be at least 1"):
        Goal(most=0)
