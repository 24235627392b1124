from __future__ import annotations

import math

import numpy as np
import pytest
from tally_builders import CONVERGED, DIVERGED, RUNNING, Row, tally

from eqr_ray.policy.voting import ALTERNATIVES, Selection, choose, leader_and_runner_up, settled, undiverged


def sigmoid(q: float) -> float:
    return 1 / (1 + math.exp(-q))


def all_vote(selection: Selection, *rows: Row, k: int = 1) -> int:
    tallies = tally(list(rows))
    return int(choose(tallies, undiverged(tallies.trajectories), selection, k).answer_key[0])


SPLIT = (Row(key=1, residual=0.5), Row(key=1, residual=0.4), Row(key=1, residual=0.3), Row(key=2, residual=0.01))


def test_majority_takes_the_mode_and_top1_the_lowest_residual() -> None:
    assert all_vote(Selection.MAJORITY, *SPLIT) == 1
    assert all_vote(Selection.TOP1_RESIDUAL, *SPLIT) == 2


def test_top1_by_logits_looks_at_the_change_of_the_logits() -> None:
    rows = (Row(key=1, residual=0.01, logit_delta=0.9), Row(key=2, residual=0.9, logit_delta=0.01))
    assert all_vote(Selection.TOP1_LOGIT, *rows) == 2


def test_topk_counts_only_the_k_lowest_residuals() -> None:
    assert [all_vote(Selection.TOPK, *SPLIT, k=k) for k in (1, 2, 3, 4)] == [2, 2, 1, 1]


def test_a_tie_goes_to_the_lowest_residual_and_then_to_the_lower_key() -> None:
    assert all_vote(Selection.MAJORITY, Row(key=1, residual=0.2), Row(key=2, residual=0.1)) == 2
    assert all_vote(Selection.MAJORITY, Row(key=9, residual=0.1), Row(key=2, residual=0.1)) == 2


def test_an_undefined_residual_loses_to_a_defined_one() -> None:
    rows = (Row(key=1, residual=math.nan), Row(key=2, residual=0.9), Row(key=3, residual=math.inf))
    assert all_vote(Selection.TOP1_RESIDUAL, *rows) == 2


def test_a_diverged_trajectory_never_votes_but_answers_when_all_diverged() -> None:
    broken = Row(status=DIVERGED, key=7, residual=math.nan, q_halt=math.nan)
    mixed = tally([broken, broken, Row(key=3)], [broken])
    choices = choose(mixed, np.ones(4, np.bool_), Selection.MAJORITY)
    assert choices.answer_key.tolist() == [3, 7]
    assert choices.votes.tolist() == [1, 0]
    assert np.diff(choices.start).tolist() == [1, 1]


def test_nobody_settled_falls_back_to_the_lowest_residual_with_low_confidence() -> None:
    rows = [Row(RUNNING, key=1, residual=0.6, q_halt=9.0), Row(RUNNING, key=2, residual=0.5, q_halt=-3.0)]
    tallies = tally(rows)
    choices = choose(tallies, settled(tallies.trajectories), Selection.POSTERIOR)
    assert (choices.answer_key[0], choices.votes[0]) == (2, 0)
    assert choices.confidence[0] == pytest.approx(1 / (ALTERNATIVES + 1))


def test_an_answer_with_a_doubtful_vote_still_beats_one_without_votes() -> None:
    rows = [Row(CONVERGED, key=1, q_halt=-4.0), Row(RUNNING, key=2, residual=0.0001)]
    tallies = tally(rows)
    assert choose(tallies, settled(tallies.trajectories), Selection.POSTERIOR).answer_key.tolist() == [1]


@pytest.mark.parametrize("q_halt", [-2.0, 0.0, 3.0])
def test_one_vote_is_believed_exactly_as_far_as_its_head_says(q_halt: float) -> None:
    tallies = tally([Row(q_halt=q_halt)])
    choices = choose(tallies, settled(tallies.trajectories), Selection.POSTERIOR)
    assert choices.confidence[0] == pytest.approx(sigmoid(q_halt), rel=1e-6)


def test_posterior_equals_the_product_of_the_votes_likelihoods() -> None:
    q = [1.0, 0.5, 2.0]
    keys = [1, 1, 2]
    tallies = tally([Row(key=key, q_halt=value) for key, value in zip(keys, q, strict=True)])
    c = [sigmoid(value) for value in q]
    k = ALTERNATIVES

    def likelihood(truth: int) -> float:
        return math.prod(p if key == truth else (1 - p) / k for key, p in zip(keys, c, strict=True))

    total = likelihood(1) + likelihood(2) + (k + 1 - 2) * likelihood(99)
    choices = choose(tallies, settled(tallies.trajectories), Selection.POSTERIOR)
    found = dict(zip(choices.ballots.answer_key.tolist(), choices.ballots.weight.tolist(), strict=True))
    assert found == pytest.approx({1: likelihood(1) / total, 2: likelihood(2) / total}, rel=1e-6)


def test_no_single_vote_is_certain() -> None:
    tallies = tally([Row(q_halt=50.0)])
    assert choose(tallies, settled(tallies.trajectories), Selection.POSTERIOR).confidence[0] < 0.995


def test_many_votes_do_not_overflow() -> None:
    tallies = tally([Row(key=n % 3, q_halt=80.0 if n % 3 else -80.0) for n in range(3000)])
    choices = choose(tallies, settled(tallies.trajectories), Selection.POSTERIOR)
    assert np.isfinite(choices.ballots.weight).all()
    assert choices.ballots.weight.sum() <= 1 + 1e-12


def test_leader_and_runner_up_are_counted_per_puzzle() -> None:
    owner = np.array([2, 0, 0, 0, 2, 0], np.int64)
    key = np.array([5, 1, 2, 1, 5, 3], np.uint64)
    leader, runner_up = leader_and_runner_up(owner, key, 3)
    assert leader.tolist() == [2, 0, 2]
    assert runner_up.tolist() == [1, 0, 0]


def test_a_puzzle_without_trajectories_cannot_be_answered() -> None:
    with pytest.raises(ValueError, match="every puzzle needs a trajectory"):
        choose(tally([]), np.zeros(0, np.bool_), Selection.MAJORITY)
