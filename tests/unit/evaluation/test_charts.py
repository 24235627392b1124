from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from made_verdicts import row, unlabelled, wrong
from markupsafe import Markup

from eqr_ray.evaluation.charts import WIDTH, accuracy_by_residual, iterations_histogram, reliability, settled_curve
from eqr_ray.evaluation.distributions import Distributions
from eqr_ray.evaluation.verdicts import VerdictRow, to_table

CHARTS = (iterations_histogram, settled_curve, accuracy_by_residual, reliability)
CASES = {
    "one puzzle": [row()],
    "one wrong puzzle": [wrong()],
    "no labels": [unlabelled(n, nfe=n + 1) for n in range(5)],
    "some labels": [row(0), unlabelled(1)],
    "nothing but the cheapest": [row(n, nfe=1) for n in range(3)],
    "six decades of cost": [row(n, nfe=10**n) for n in range(7)],
    "a thousand costs": [row(n, nfe=n + 1) for n in range(1000)],
    "tiny and huge residuals": [row(n, residual=10.0 ** (n - 13)) for n in range(20)],
    "residual zero": [row(0, residual=0.0)],
}


def gather(rows: list[VerdictRow]) -> Distributions:
    seen = Distributions()
    seen.add(to_table(rows))
    return seen


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.__name__)
@pytest.mark.parametrize("case", CASES)
def test_every_chart_is_well_formed_and_has_finite_numbers_only(
    chart: Callable[[Distributions], Markup], case: str
) -> None:
    svg = chart(gather(CASES[case]))
    ElementTree.fromstring(svg)
    assert not re.search(r"\b(nan|inf)\b", svg, re.IGNORECASE)
    assert len(svg) < 60_000


@pytest.mark.parametrize("case", CASES)
def test_bars_add_up_to_all_puzzles_and_stay_in_the_frame(case: str) -> None:
    seen = gather(CASES[case])
    svg = ElementTree.fromstring(iterations_histogram(seen))
    told = [int(re.search(r": ([\d,]+) puzzles", title.text or "")[1].replace(",", "")) for title in svg.iter("title")]  # type: ignore[index]
    assert sum(told) == len(CASES[case])
    for bar in svg.iter("rect"):
        assert float(bar.attrib["width"]) > 0
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= WIDTH


def test_bars_tell_right_from_wrong_and_from_unknown() -> None:
    svg = ElementTree.fromstring(iterations_histogram(gather([row(0), wrong(1), unlabelled(2)])))
    assert [bar.attrib["class"] for bar in svg.iter("rect")] == ["good", "unknown", "bad"]


def test_the_last_point_of_the_curve_tells_the_whole_run() -> None:
    svg = settled_curve(gather([row(0, nfe=4), row(1, nfe=8), wrong(2, nfe=64)]))
    assert "within 64 iterations: 3 of 3 puzzles settled, 2 of 3 right" in svg


def test_a_band_of_residuals_states_its_denominator() -> None:
    svg = accuracy_by_residual(gather([row(0, residual=0.012), wrong(1, residual=0.012), row(2, residual=1.5)]))
    assert "1 of 2 right, 50.0 %" in svg
    assert "1 of 1 right, 100.0 %" in svg


def test_what_was_never_stated_has_no_chart() -> None:
    assert reliability(gather([row(confidence=None)])) == ""
    assert accuracy_by_residual(gather([row(residual=None)])) == ""
