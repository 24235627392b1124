from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_verdicts import batches, row, unlabelled, wrong

from eqr_ray.evaluation.distributions import BOARDS, Distributions
from eqr_ray.evaluation.verdicts import VerdictRow, to_table


def gather(*rows: VerdictRow) -> Distributions:
    seen = Distributions()
    seen.add(to_table(rows))
    return seen


def test_costs_are_counted_with_how_they_came_out() -> None:
    seen = gather(row(0, nfe=3), wrong(1, nfe=3), unlabelled(2, nfe=700))
    assert seen.by_nfe.keys() == {3, 700}
    cheap = seen.by_nfe[3]
    assert (cheap.puzzles, cheap.valid, cheap.scored, cheap.exact) == (2, 1, 2, 1)
    assert (seen.total.puzzles, seen.total.scored, seen.total.exact) == (3, 2, 1)


def test_quantiles_are_costs_that_occurred() -> None:
    seen = gather(*[row(n, nfe=n + 1) for n in range(100)])
    assert seen.nfe_quantiles((0.5, 0.9, 0.99, 1.0)) == [50, 90, 99, 100]
    assert gather(row(0, nfe=7)).nfe_quantiles((0.5, 1.0)) == [7, 7]


@pytest.mark.parametrize(("residual", "place"), [(1.0, 0), (0.1, -4), (0.099, -5), (1e-30, -48), (0.0, -48)])
def test_residuals_fall_into_quarters_of_a_decade(residual: float, place: int) -> None:
    assert list(gather(row(0, residual=residual)).by_residual) == [place]


def test_a_verdict_without_residual_is_counted_apart() -> None:
    seen = gather(row(0, residual=None), row(1))
    assert seen.without_residual.puzzles == 1
    assert sum(judged.puzzles for judged in seen.by_residual.values()) == 1


def test_full_confidence_is_in_the_last_bin() -> None:
    seen = gather(row(0, confidence=1.0), row(1, confidence=0.95), wrong(2, confidence=0.0))
    assert {level: judged.puzzles for level, judged in seen.by_confidence.items()} == {9: 2, 0: 1}
    assert seen.mean_confidence(labelled=True) == pytest.approx(1.95 / 3)


def test_mean_confidence_is_over_what_accuracy_is_over() -> None:
    seen = gather(row(0, confidence=0.5), unlabelled(1, confidence=1.0))
    assert seen.mean_confidence(labelled=True) == 0.5
    assert seen.mean_confidence(labelled=False) == 0.75
    assert gather(row(0, confidence=None)).mean_confidence(labelled=True) is None


def test_the_costliest_boards_are_kept_wrong_and_right_apart() -> None:
    rows = [row(n, nfe=n) for n in range(1, 10)] + [wrong(n, nfe=n) for n in range(20, 30)]
    seen = gather(*rows)
    assert [board.nfe for board in seen.costly] == [9, 8, 7, 6]
    assert [board.nfe for board in seen.wrong] == [29, 28, 27, 26]


def test_without_labels_a_board_that_breaks_the_rules_counts_as_wrong() -> None:
    seen = gather(unlabelled(0), unlabelled(1, valid=False))
    assert not seen.labelled
    assert [board.puzzle_id for board in seen.wrong] == ["p1"]
    assert [board.puzzle_id for board in seen.costly] == ["p0"]


@given(st.lists(st.integers(0, 9), max_size=6), st.randoms(use_true_random=False))
def test_nothing_depends_on_batches_or_order(sizes: list[int], chance: random.Random) -> None:
    rows = [row(n, nfe=1 + n % 3, confidence=0.5, residual=[0.1, None, 2.0][n % 3]) for n in range(2 * BOARDS)]
    rows += [wrong(100 + n, confidence=0.25) for n in range(2)] + [unlabelled(200)]
    whole = gather(*rows)
    chance.shuffle(rows)
    seen = Distributions()
    for piece in batches(to_table(rows), sizes):
        seen.add(piece)
    assert seen.by_nfe == whole.by_nfe
    assert seen.by_residual == whole.by_residual
    assert seen.by_confidence == whole.by_confidence
    assert seen.without_residual == whole.without_residual
    assert (seen.wrong, seen.costly) == (whole.wrong, whole.costly)
    assert seen.confidence_sums.keys() == whole.confidence_sums.keys()
