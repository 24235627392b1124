from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_verdicts import ANSWER, WRONG, verdict, vote

from eqr_ray.evaluation.scoring import pass_at, score_ballot, share, wilson
from eqr_ray.types import U8


def is_answer(cells: U8) -> bool:
    return "".join(map(str, cells)) == ANSWER


def test_a_share_of_nothing_is_undefined() -> None:
    assert share(0, 0) is None
    assert wilson(0, 0) is None
    assert share(0, 5) == 0.0


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (1, 1, 0.2065, 1.0),
        (500, 1000, 0.4691, 0.5309),
    ],
)
def test_wilson_interval_agrees_with_published_tables(right: int, total: int, low: float, high: float) -> None:
    got = wilson(right, total)
    assert got == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_stays_within_0_and_1(counts: tuple[int, int]) -> None:
    right, total = counts
    low, high = wilson(right, total) or (math.nan, math.nan)
    assert 0 <= low <= right / total <= high <= 1
    assert low < high


def test_pass_at_k_counts_the_draws_that_hold_a_right_one() -> None:
    assert pass_at(1, 4, 1) == pytest.approx(1 / 4)
    assert pass_at(2, 4, 1) == pytest.approx(1 / 2)
    assert pass_at(4, 4, 1) == 1.0
    assert pass_at(3, 8, 0) == 0.0


def test_pass_at_k_is_undefined_with_fewer_samples_than_k() -> None:
    assert pass_at(5, 4, 4) is None


def test_each_selection_rule_is_scored_on_its_own_winner() -> None:
    right = vote(ANSWER, 1, count=1, best_residual=0.001, best_logit_delta=0.9)
    popular = vote(WRONG, 2, count=3, best_residual=0.5, best_logit_delta=0.1)
    got = score_ballot(verdict(WRONG, popular, right), is_answer)
    assert (got.any_correct, got.majority_exact, got.top1_residual_exact, got.top1_logit_exact) == (
        True,
        False,
        True,
        False,
    )
    assert got.correct_votes == 1


def test_a_tie_of_voters_goes_to_the_greater_weight() -> None:
    light, heavy = vote(WRONG, 1, count=2, weight=0.3), vote(ANSWER, 2, count=2, weight=0.7)
    assert score_ballot(verdict(ANSWER, light, heavy), is_answer).majority_exact
    light, heavy = vote(ANSWER, 1, count=2, weight=0.3), vote(WRONG, 2, count=2, weight=0.7)
    assert not score_ballot(verdict(ANSWER, light, heavy), is_answer).majority_exact


def test_without_a_ballot_the_answer_given_stands_for_every_rule() -> None:
    got = score_ballot(verdict(ANSWER, votes=0), is_answer)
    assert got.any_correct
    assert got.majority_exact
    assert got.correct_votes == 0
    assert not score_ballot(verdict(WRONG), is_answer).any_correct


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6))
def test_the_oracle_is_right_whenever_any_rule_is(ballot: list[tuple[bool, int, float, float]]) -> None:
    votes = [
        vote(ANSWER if right else WRONG, key, count=count, best_residual=residual, best_logit_delta=delta)
        for key, (right, count, residual, delta) in enumerate(ballot)
    ]
    got = score_ballot(verdict(WRONG, *votes), is_answer)
    assert got.any_correct >= max(got.majority_exact, got.top1_residual_exact, got.top1_logit_exact)
    assert got.any_correct == any(right for right, *_ in ballot)
