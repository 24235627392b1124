from __future__ import annotations

import math

import pytest
from tally_builders import CONVERGED, DIVERGED, RUNNING, Row, tally

from eqr_ray.policy import Adaptive
from eqr_ray.types import StopReason

SURE, UNSURE = Row(CONVERGED, q_halt=6.0), Row(CONVERGED, q_halt=1.0)
POLICY = Adaptive(depth=256, breadth=8, nfe=1024, first_depth=16, accept_q=4.0, agree=2)


def decide(policy: Adaptive, *rows: Row) -> tuple[StopReason | None, list[int], int, int]:
    """Return stop, extensions, how many new ones and how deep for one puzzle."""
    a = policy.allocate(tally(list(rows)))
    spawn = int(a.spawn[0])
    return a.stop[0], a.extend_to.tolist(), spawn, int(a.spawn_to[0]) if spawn else 0


def test_a_fresh_puzzle_gets_one_short_trajectory() -> None:
    assert decide(POLICY) == (None, [], 1, 16)
    assert decide(Adaptive(first_breadth=3, first_depth=8)) == (None, [], 3, 8)


def test_a_single_sure_trajectory_is_accepted_at_once() -> None:
    assert decide(POLICY, SURE)[0] is StopReason.CONVERGED


def test_an_unsure_one_asks_for_a_second_opinion() -> None:
    assert decide(POLICY, UNSURE) == (None, [0], 1, 16)


def test_two_that_agree_are_a_consensus() -> None:
    assert decide(POLICY, UNSURE, UNSURE)[0] is StopReason.CONSENSUS


def test_dissent_voids_acceptance_and_asks_for_the_votes_that_lack() -> None:
    dissent = Row(CONVERGED, key=2, q_halt=1.0)
    assert decide(POLICY, SURE, dissent) == (None, [0, 0], 2, 16)
    assert decide(POLICY, SURE, dissent, SURE)[0] is None
    assert decide(POLICY, SURE, dissent, SURE, SURE)[0] is StopReason.CONSENSUS


def test_a_running_trajectory_is_doubled_before_anything_new_starts() -> None:
    assert decide(POLICY, Row(RUNNING, depth=16)) == (None, [32], 0, 0)
    assert decide(POLICY, Row(RUNNING, depth=200, residual=0.3))[1] == [256]


def test_a_running_trajectory_counts_as_a_vote_to_come() -> None:
    assert decide(POLICY, UNSURE, Row(RUNNING, depth=16)) == (None, [0, 32], 0, 0)


def test_an_unsettled_puzzle_widens_once_it_is_deep() -> None:
    assert decide(POLICY, Row(RUNNING, depth=64, residual=0.3)) == (None, [128], 1, 16)


def test_a_trajectory_that_stays_high_is_left_until_breadth_is_used_up() -> None:
    stuck = Row(RUNNING, depth=128, residual=0.9)
    assert decide(POLICY, stuck) == (None, [0], 1, 16)
    assert decide(Adaptive(depth=256, breadth=1), stuck) == (None, [256], 0, 0)


def test_a_diverged_trajectory_is_replaced() -> None:
    assert decide(POLICY, Row(DIVERGED, depth=5, residual=math.inf)) == (None, [0], 1, 16)


def test_breadth_grows_by_the_factor_when_nothing_is_left_to_extend() -> None:
    rows = [Row(CONVERGED, key=key, q_halt=1.0) for key in (1, 1, 2, 2)]
    assert decide(Adaptive(breadth=32, growth=2.0), *rows)[2] == 4
    assert decide(Adaptive(breadth=32, growth=1.0), *rows)[2] == 2
    assert decide(Adaptive(breadth=5, growth=2.0), *rows)[2] == 1


def test_reservations_keep_the_cap_even_if_nothing_halts() -> None:
    tight = Adaptive(depth=256, breadth=8, nfe=100)
    closer, farther = Row(RUNNING, depth=40, residual=0.2), Row(RUNNING, depth=40, residual=0.3)
    assert decide(tight, farther, closer) == (None, [0, 60], 0, 0)
    assert decide(tight, Row(CONVERGED, depth=95, q_halt=1.0)) == (None, [0], 1, 5)
    assert decide(tight, Row(RUNNING, depth=100))[0] is StopReason.NFE_SPENT


def test_spending_everything_names_what_to_raise() -> None:
    at_the_end = [Row(RUNNING, depth=32, residual=0.3)] * 2
    assert decide(Adaptive(depth=32, breadth=2), *at_the_end)[0] is StopReason.DEPTH_SPENT
    assert decide(Adaptive(depth=32, breadth=3, nfe=64), *at_the_end)[0] is StopReason.NFE_SPENT
    split = [Row(CONVERGED, key=1), Row(CONVERGED, key=2)]
    assert decide(Adaptive(depth=32, breadth=2), *split)[0] is StopReason.DEPTH_SPENT


def test_an_unsettled_trajectory_casts_no_vote() -> None:
    rows = [Row(RUNNING, key=1, residual=0.0)] * 5 + [Row(CONVERGED, key=2, residual=0.09)]
    choices = POLICY.select(tally(rows))
    assert (int(choices.answer_key[0]), int(choices.votes[0])) == (2, 1)


@pytest.mark.parametrize("name", ["first_depth", "first_breadth", "agree", "widen_after", "patience"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got {name}=0"):
        Adaptive(**{name: 0})


def test_thresholds_must_be_numbers() -> None:
    with pytest.raises(ValueError, match="growth must be at least 1"):
        Adaptive(growth=0.5)
    with pytest.raises(ValueError, match="got nan"):
        Adaptive(accept_q=math.nan)
