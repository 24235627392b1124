from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eqr_ray.policy import policy_from
from eqr_ray.policy.halting import halted_at, holds
from eqr_ray.types import HaltRule

BOTH = HaltRule(residual_below=0.1, q_halt_above=0.0, stable_for=2)


def record(residual: list[float], q_halt: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([residual], np.float32), np.array([q_halt], np.float32)


def by_hand(rule: HaltRule, residual: list[float], q_halt: list[float]) -> int:
    run = 0
    for depth, (r, q) in enumerate(zip(residual, q_halt, strict=True), start=1):
        within = rule.residual_below == math.inf or r < np.float32(rule.residual_below)
        sure = rule.q_halt_above == -math.inf or q > np.float32(rule.q_halt_above)
        run = run + 1 if within and sure else 0
        if run >= rule.stable_for and depth >= rule.min_depth:
            return depth
    return 0


def test_a_row_halts_on_the_second_check_in_a_row() -> None:
    residual, q_halt = record([math.inf, 0.05, 0.5, 0.05, 0.05, 0.05], [1, 1, 1, 1, 1, 1])
    assert halted_at(BOTH, residual, q_halt).tolist() == [5]


def test_either_signal_alone_does_not_halt() -> None:
    assert halted_at(BOTH, *record([0.01] * 6, [-1.0] * 6)).tolist() == [0]
    assert halted_at(BOTH, *record([0.9] * 6, [9.0] * 6)).tolist() == [0]


def test_iterations_before_min_depth_count_towards_the_row() -> None:
    rule = HaltRule(min_depth=4, residual_below=0.1, stable_for=4)
    assert halted_at(rule, *record([0.01] * 6, [0.0] * 6)).tolist() == [4]


def test_an_infinite_residual_bound_ignores_even_an_undefined_residual() -> None:
    rule = HaltRule(residual_below=math.inf, q_halt_above=0.0, stable_for=1)
    assert halted_at(rule, *record([math.inf, math.nan], [-1.0, 1.0])).tolist() == [2]


def test_the_default_of_the_types_never_halts() -> None:
    assert halted_at(HaltRule(), *record([-1.0] * 5, [99.0] * 5)).tolist() == [0]


def test_nan_never_holds() -> None:
    assert not holds(BOTH, *record([math.nan, 0.0], [1.0, math.nan])).any()


def test_the_default_policy_halts_on_both_signals_and_two_checks() -> None:
    rule = policy_from().budget.halt
    assert math.isfinite(rule.residual_below)
    assert math.isfinite(rule.q_halt_above)
    assert rule.stable_for == 2


values = st.lists(st.sampled_from([0.0, 0.05, 0.2, math.inf]), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(residual=values, data=st.data(), min_depth=st.integers(1, 8), stable_for=st.integers(1, 4))
def test_columns_agree_with_a_count_by_hand_in_any_cut(residual, data, min_depth, stable_for) -> None:
    q_halt = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=len(residual), max_size=len(residual)))
    rule = HaltRule(min_depth, 0.1, data.draw(st.sampled_from([-math.inf, 0.0])), stable_for)
    expected = by_hand(rule, residual, q_halt)
    r, q = record(residual, q_halt)
    assert halted_at(rule, r, q).tolist() == [expected]
    cut = data.draw(st.integers(0, len(residual)))
    first = halted_at(rule, r[:, :cut], q[:, :cut]).tolist()[0]
    streak = np.zeros(1, np.int32)
    for held in holds(rule, r[:, :cut], q[:, :cut]).T:
        streak = np.where(held, streak + 1, 0).astype(np.int32)
    second = halted_at(rule, r[:, cut:], q[:, cut:], first_depth=cut + 1, streak=streak).tolist()[0]
    assert (first or second) == expected


def test_rows_may_start_at_different_depths() -> None:
    rule = HaltRule(min_depth=5, residual_below=0.1, stable_for=1)
    residual = np.full((2, 4), 0.01, np.float32)
    assert halted_at(rule, residual, residual, np.array([1, 4], np.int32)).tolist() == [0, 5]
