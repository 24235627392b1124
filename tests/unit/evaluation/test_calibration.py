from __future__ import annotations

import numpy as np
import pytest

from eqr_ray.evaluation.calibration import (
    brier,
    expected_calibration_error,
    fit_logistic,
    fit_lomax,
    fit_rate,
    reliability,
)

RNG = np.random.default_rng(0)


def test_the_fit_finds_the_coefficients_that_made_the_data() -> None:
    x = RNG.normal(size=(20_000, 2)) * [1.0, 5.0] + [0.0, 3.0]
    right = RNG.random(20_000) < 1 / (1 + np.exp(-(0.7 + x @ [1.5, -0.3])))
    found = fit_logistic(x, right)
    assert found.bias == pytest.approx(0.7, abs=0.08)
    assert found.weights == pytest.approx([1.5, -0.3], abs=0.06)


def test_doubled_data_with_half_the_weight_gives_the_same_fit() -> None:
    x = RNG.normal(size=(300, 2))
    right = RNG.random(300) < 0.4
    once = fit_logistic(x, right)
    twice = fit_logistic(np.concatenate([x, x]), np.concatenate([right, right]), np.full(600, 0.5))
    assert (twice.bias, *twice.weights) == pytest.approx((once.bias, *once.weights), abs=1e-6)


def test_separable_data_and_constant_columns_stay_finite() -> None:
    x = np.stack([np.arange(40.0), np.ones(40)], axis=1)
    found = fit_logistic(x, np.arange(40) >= 20)
    assert np.isfinite([found.bias, *found.weights]).all()
    assert (found.weights[0] > 0, found.weights[1]) == (True, 0.0)
    always = fit_logistic(x, np.ones(40, bool))
    assert 3 < always.bias < 20
    with pytest.raises(ValueError, match="needs observations"):
        fit_logistic(np.zeros((0, 2)), np.zeros(0, bool))


def test_scores_tell_a_perfect_forecaster_from_a_boaster() -> None:
    stated = RNG.random(50_000)
    right = RNG.random(50_000) < stated
    assert expected_calibration_error(stated, right) < 0.01
    assert brier(stated, right) == pytest.approx(1 / 6, abs=0.01)
    assert expected_calibration_error(np.ones(4), np.array([True, True, True, False])) == pytest.approx(0.25)
    assert expected_calibration_error(np.zeros(0), np.zeros(0, bool)) is None
    assert brier(np.zeros(0), np.zeros(0, bool)) is None


def test_bins_add_up_to_all_forecasts_and_hold_their_share() -> None:
    stated = np.array([0.0, 0.05, 0.95, 1.0, 1.0])
    bins = reliability(stated, np.array([False, False, True, True, False]))
    assert [(own.low, own.n, own.right) for own in bins] == [(0.0, 2, 0.0), (0.9, 3, 2 / 3)]
    assert all(own.interval[0] <= own.right <= own.interval[1] for own in bins)


def test_a_power_law_is_found_again_from_its_counts() -> None:
    age = np.array([4.0, 8.0, 16.0, 32.0])
    exposure = np.full(4, 1e6)
    found = fit_rate(age, np.exp(-2.0) * age**-1.5 * exposure, exposure)
    assert (found.log_rate, found.slope) == pytest.approx((-2.0, -1.5), abs=0.01)
    with pytest.raises(ValueError, match="needs iterations"):
        fit_rate(age, np.zeros(4), np.zeros(4))


def test_a_mixture_of_rates_is_found_again_from_times_to_solution() -> None:
    rate = RNG.gamma(2.0, 1 / 30.0, 4000)
    time = RNG.exponential(1 / rate)
    shape, scale = fit_lomax(np.minimum(time, 200.0), time < 200.0)
    assert shape == pytest.approx(2.0, rel=0.25)
    assert scale == pytest.approx(30.0, rel=0.35)
