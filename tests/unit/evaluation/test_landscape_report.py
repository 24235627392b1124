from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from eqr_ray.evaluation.calibration import reliability
from eqr_ray.evaluation.landscape import Ends, landscape_of
from eqr_ray.evaluation.landscape_charts import reliability_chart
from eqr_ray.evaluation.landscape_report import landscape_page


def ends(last: list[list[int]], depth: int = 4, rating: list[float] | None = None) -> Ends:
    """Trajectories that wander (answers of their own) until their last two iterations; answer 0 is right."""
    final = np.array(last, np.int32)
    n, b = final.shape
    code = np.arange(1000, 1000 + n * b * depth, dtype=np.int32).reshape(n, b, depth)
    code[:, :, -2:] = final[:, :, None]
    residual = np.where(code < 1000, 0.01, 0.8).astype(np.float32)
    ratings = np.full(n, np.nan) if rating is None else np.array(rating)
    return Ends(code, np.zeros(n, np.int32), residual, np.full((n, b), depth, np.int32), ratings)


FOUR = ends([[1, 2, 3, 4], [0, 5, 5, 0], [0, 6, 7, 0], [0, 0, 0, 0]])


def test_each_mode_is_told_by_what_the_trajectories_end_in() -> None:
    found = landscape_of(FOUR)
    assert {letter: n for letter, _, n in found.modes} == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert sum(n for _, _, n in found.modes) == found.puzzles
    assert found.never == (0,)


def test_curves_meet_in_the_corner_of_the_map() -> None:
    found = landscape_of(FOUR)
    assert found.majority[0][-1] == found.top1[0] == found.any_right[0] == 0.75
    assert found.single[0] == 0.0
    assert found.single[-1] == (0 + 2 + 2 + 4) / 16
    assert all(later >= earlier for earlier, later in zip(found.any_right, found.any_right[1:], strict=False))
    assert found.agree[-1] == pytest.approx((0 + 4 / 12 + 2 / 12 + 1) / 4)


def test_difficulty_groups_and_residual_bins_state_their_denominators() -> None:
    found = landscape_of(ends([[0, 0]] * 6 + [[1, 2]] * 6, rating=[*range(12)]))
    assert [group.puzzles for group in found.groups] == [3, 3, 3, 3]
    assert [group.solved for group in found.groups] == [3, 3, 0, 0]
    assert found.groups[0].median_iterations == 3
    assert found.groups[3].median_iterations is None
    assert sum(own.n for own in found.by_residual) == 24


def test_a_diverged_trajectory_keeps_its_last_answer() -> None:
    own = ends([[0, 1]])
    short = Ends(own.code, own.right, own.residual, np.array([[3, 3]], np.int32), own.rating)
    assert landscape_of(short).single[-1] == 0.5


def test_the_page_is_whole_for_one_puzzle_and_escapes_text() -> None:
    found = landscape_of(ends([[1]], depth=1))
    page = landscape_page(found, {"checkpoint": "<b>x", "seed": 0}, [("<script>", "<i>", 3.0)])
    assert "<script>" not in page
    assert "<b>x" not in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    for part in page.split("<svg")[1:]:
        ET.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")


def test_a_reliability_diagram_is_well_formed() -> None:
    ET.fromstring(str(reliability_chart(reliability(np.array([0.2, 0.9]), np.array([False, True])))))


def test_a_landscape_without_puzzles_is_refused() -> None:
    nothing = Ends(FOUR.code[:0], FOUR.right[:0], FOUR.residual[:0], FOUR.depth[:0], FOUR.rating[:0])
    with pytest.raises(ValueError, match="needs labelled puzzles"):
        landscape_of(nothing)
