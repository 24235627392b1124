import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqr_ray.distributed.pacing import STEP, TARGET_S, Pace, paced


@given(
    rows=st.integers(1, 10_000),
    n_rows=st.integers(0, 10_000),
    elapsed_s=st.floats(0, 1e4),
    rate=st.none() | st.floats(0.1, 1e6),
)
def test_rows_stay_within_bounds_and_change_by_at_most_a_factor_of_two(rows, n_rows, elapsed_s, rate):
    pace = Pace(min(max(rows, 4), 4096), rate)
    after = paced(pace, n_rows, elapsed_s, least=4, most=4096)
    assert 4 <= after.rows <= 4096
    assert pace.rows / STEP - 1 <= after.rows <= pace.rows * STEP


@pytest.mark.parametrize("rows_per_s", [20.0, 700.0, 90_000.0])
def test_a_steady_device_converges_to_the_target_duration(rows_per_s):
    pace = Pace(64)
    for _ in range(30):
        pace = paced(pace, pace.rows, pace.rows / rows_per_s, least=1, most=1_000_000)
    assert pace.rows / rows_per_s == pytest.approx(TARGET_S, rel=0.06)


def test_a_device_that_slows_down_gets_fewer_rows():
    pace = Pace(1000, 2000.0)
    for _ in range(20):
        pace = paced(pace, pace.rows, pace.rows / 200.0, least=1, most=8192)
    assert pace.rows == pytest.approx(200 * TARGET_S, rel=0.1)


def test_a_slice_that_was_mostly_empty_and_quick_says_nothing():
    pace = Pace(1000, 2000.0)
    assert paced(pace, 3, 0.1, least=1, most=8192) == pace


def test_bounds_that_cross_are_refused():
    with pytest.raises(ValueError, match="least=9, most=8"):
        paced(Pace(1), 1, 1.0, least=9, most=8)


def test_a_pace_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="rows=0"):
        Pace(0)
