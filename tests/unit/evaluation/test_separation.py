"""The area under the ROC curve."""

from __future__ import annotations

import numpy as np
import pytest

from eqr_ray.evaluation.separation import auroc


def test_a_perfect_signal_has_area_one_and_the_reverse_zero() -> None:
    right = np.array([True, False, True, False])
    score = np.array([3.0, 1.0, 2.0, 0.5])
    assert auroc(score, right) == 1.0
    assert auroc(-score, right) == 0.0


def test_a_constant_signal_has_area_one_half() -> None:
    assert auroc(np.zeros(5), np.array([True, True, False, False, False])) == 0.5


def test_it_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    score, right = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(s > t) + 0.5 * (s == t) for s in score[right] for t in score[~right]]
    assert auroc(score, right) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("kind", [True, False])
def test_it_is_undefined_without_both_kinds(kind: bool) -> None:
    assert auroc(np.arange(3.0), np.full(3, kind)) is None
