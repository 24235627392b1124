"""The report's charts as inline SVG, drawn without a script: each reads well at 350 pixels of width and in print.

Colours are classes of the page's style sheet, so charts follow the reader's light or dark setting; marks carry a `<title>` that a pointer
or a screen reader reads out. Invariants, asserted in tests/unit/evaluation/test_charts.py: every chart is well-formed XML for one puzzle,
for none labelled and for costs over six decades; bars add up to all puzzles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from eqr_ray.evaluation.distributions import CONFIDENCE_BINS, RESIDUAL_BINS_PER_DECADE, Distributions, Judged
from eqr_ray.evaluation.scoring import wilson

WIDTH, HEIGHT = 400, 236
LEFT, RIGHT, TOP, BOTTOM = 42, 20, 12, 40
MOST_STEPS = 240
"""Points of a curve; more would be finer than a pixel."""
MOST_BARS = 28


@dataclass(frozen=True, slots=True)
class Axes:
    """A plotting area of fixed size with a linear vertical axis and a horizontal axis that is linear or logarithmic."""

    low: float
    high: float
    top: float
    log: bool

    def x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - low) / (high - low)

    def y(self, value: float) -> float:
        """Return the vertical place of a value, 0 at the bottom."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / self.top)

    def frame(self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], x_label: str) -> str:
        """Return grid lines, tick labels and the name of the horizontal axis."""
        parts = []
        for value, name in y_ticks:
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text class="tick end" x="{LEFT - 6}" y="{y + 4:.1f}">{name}</text>')
        for value, name in x_ticks:
            parts.append(f'<text class="tick mid" x="{self.x(value):.1f}" y="{HEIGHT - BOTTOM + 16}">{name}</text>')
        parts.append(f'<path class="axis" d="M{LEFT} {self.y(0):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="label mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{x_label}</text>')
        return "".join(parts)


def iterations_histogram(seen: Distributions) -> Markup:
    """Return how many puzzles cost how many iterations, bars split into right and wrong."""
    by_cost = _by_cost(seen)
    costs = sorted(by_cost)
    edges = _integer_edges(costs[0], costs[-1])
    bars = [Judged() for _ in edges[1:]]
    for cost in costs:
        bars[int(np.searchsorted(edges, cost, side="right")) - 1].add(by_cost[cost])
    most = max(bar.puzzles for bar in bars)
    axes = Axes(*_room(edges[0], edges[-1]), _ceiling(most), log=True)
    parts = [
        axes.frame(_log_ticks(axes.low, axes.high), _count_ticks(axes.top), "iterations of a puzzle (NFE), log scale")
    ]
    for low, high, bar in zip(edges, edges[1:], bars, strict=False):
        if not bar.puzzles:
            continue
        x, width = axes.x(low) + 0.75, axes.x(high) - axes.x(low) - 1.5
        good = bar.right(seen.labelled)
        name = f"{low}" if high == low + 1 else f"{low} to {high - 1}"
        unknown = bar.puzzles - bar.judged(seen.labelled)
        title = f"{name} iterations: {bar.puzzles:,} puzzles, {good:,} right" + (
            f", {unknown:,} unknown" if unknown else ""
        )
        rects, base = [], 0
        for style, n in (("good", good), ("unknown", unknown), ("bad", bar.puzzles - good - unknown)):
            if n:
                y = axes.y(base + n)
                rects.append(
                    f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{axes.y(base) - y:.1f}"/>'
                )
            base += n
        parts.append(f"<g><title>{title}</title>{''.join(rects)}</g>")
    return _svg(parts, "Histogram of iterations")


def settled_curve(seen: Distributions) -> Markup:
    """Return the share of puzzles settled within n iterations, and the accuracy among those settled within n."""
    by_cost = _by_cost(seen)
    costs = sorted(by_cost)
    counts = [by_cost[cost] for cost in costs]
    settled = np.cumsum([c.puzzles for c in counts])
    judged = np.cumsum([c.judged(seen.labelled) for c in counts])
    right = np.cumsum([c.right(seen.labelled) for c in counts])
    axes = Axes(*_room(costs[0], costs[-1]), 1.0, log=True)
    parts = [axes.frame(_log_ticks(axes.low, axes.high), _share_ticks(), "iterations of a puzzle (NFE), log scale")]
    keep = _thin(np.log(costs))
    shares = [(axes.x(costs[i]), axes.y(settled[i] / settled[-1])) for i in keep]
    accuracy = [(axes.x(costs[i]), axes.y(right[i] / judged[i])) for i in keep if judged[i]]
    end = float(WIDTH - RIGHT)
    for points, style in ((shares, "share"), (accuracy, "good")):
        if not points:
            continue
        path = (
            f"M{points[0][0]:.1f} {points[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in points[1:]) + f"H{end}"
        )
        if style == "share":
            parts.append(f'<path class="share area" d="{path}V{axes.y(0):.1f}H{points[0][0]:.1f}Z"/>')
        parts.append(f'<path class="line {style}" d="{path}"/>')
    for i in {0, len(costs) // 2, len(costs) - 1} if len(costs) > 2 else range(len(costs)):
        told = f"{right[i]:,} of {judged[i]:,} right" if judged[i] else "no answer known"
        title = f"within {costs[i]} iterations: {settled[i]:,} of {settled[-1]:,} puzzles settled, {told}"
        parts.append(
            f'<circle class="dot share" cx="{axes.x(costs[i]):.1f}" cy="{axes.y(settled[i] / settled[-1]):.1f}" r="3">'
            f"<title>{title}</title></circle>"
        )
    return _svg(parts, "Accuracy against iterations")


def _by_cost(seen: Distributions) -> dict[int, Judged]:
    """Return cost -> counts for a log axis; what was charged nothing, a puzzle that crashed, stands at its left end."""
    counts: dict[int, Judged] = {}
    for cost, judged in seen.by_nfe.items():
        counts.setdefault(max(cost, 1), Judged()).add(judged)
    return counts


def accuracy_by_residual(seen: Distributions) -> Markup:
    """Return the accuracy of each band of the final residual with its 95 % interval; dots grow with the number of puzzles."""
    bins = sorted(seen.by_residual)
    if not bins:
        return Markup("")
    low, high = (10 ** (edge / RESIDUAL_BINS_PER_DECADE) for edge in (bins[0], bins[-1] + 1))
    axes = Axes(*_room(low, high), 1.0, log=True)
    parts = [axes.frame(_log_ticks(axes.low, axes.high), _share_ticks(), "residual of the answer, log scale")]
    total = sum(judged.puzzles for judged in seen.by_residual.values())
    for place in bins:
        ends = [10 ** (edge / RESIDUAL_BINS_PER_DECADE) for edge in (place, place + 1)]
        band = f"residual {ends[0]:.2g} to {ends[1]:.2g}"
        parts.append(
            _interval_dot(axes, math.sqrt(ends[0] * ends[1]), seen.by_residual[place], seen.labelled, total, band)
        )
    return _svg(parts, "Accuracy against residual")


def reliability(seen: Distributions) -> Markup:
    """Return observed accuracy against stated confidence; a calibrated policy lies on the diagonal."""
    if not seen.by_confidence:
        return Markup("")
    axes = Axes(0.0, 1.0, 1.0, log=False)
    ticks = [(v / 4, f"{v * 25} %") for v in range(5)]
    parts = [axes.frame(ticks, _share_ticks(), "stated confidence")]
    parts.append(f'<path class="line ideal" d="M{axes.x(0):.1f} {axes.y(0):.1f}L{axes.x(1):.1f} {axes.y(1):.1f}"/>')
    total = sum(judged.puzzles for judged in seen.by_confidence.values())
    for level, judged in sorted(seen.by_confidence.items()):
        n = judged.judged(seen.labelled)
        if n:
            mean = min(1.0, max(0.0, seen.confidence_sums[level][int(seen.labelled)] / n))
            band = f"confidence {level / CONFIDENCE_BINS:.1f} to {(level + 1) / CONFIDENCE_BINS:.1f}, {100 * mean:.1f} % on average"
            parts.append(_interval_dot(axes, mean, judged, seen.labelled, total, band))
    return _svg(parts, "Reliability of the stated confidence")


def _interval_dot(axes: Axes, at: float, judged: Judged, labelled: bool, total: int, band: str) -> str:
    right, n = judged.right(labelled), judged.judged(labelled)
    interval = wilson(right, n)
    if interval is None:
        return ""
    x, y = axes.x(at), axes.y(right / n)
    title = f"{band}: {right:,} of {n:,} right, {100 * right / n:.1f} %"
    radius = 2.5 + 6 * math.sqrt(judged.puzzles / total)
    return (
        f'<g><title>{title}</title><path class="whisker" d="M{x:.1f} {axes.y(interval[0]):.1f}V{axes.y(interval[1]):.1f}"/>'
        f'<circle class="dot good" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/></g>'
    )


def _svg(parts: Sequence[str], label: str) -> Markup:
    """Wrap the parts; every part is made of numbers and fixed words, nothing of the user's text."""
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def _room(low: float, high: float) -> tuple[float, float]:
    """Return the ends of a log axis, moved apart where they are so close that a bar would fill the chart."""
    return (low, high) if high >= 4 * low else (low / 2, high * 2)


def _integer_edges(low: int, high: int) -> list[int]:
    """Return at most MOST_BARS + 1 edges of whole-number bins of near-equal width on a log scale; the last is above `high`."""
    low = max(low, 1)
    edges = np.unique(np.round(np.geomspace(low, high + 1, min(MOST_BARS, high - low + 1) + 1)).astype(np.int64))
    return [int(edge) for edge in edges]


def _thin(places: np.ndarray) -> list[int]:
    """Return indexes of at most MOST_STEPS points, evenly over the axis, the first and the last among them."""
    if len(places) <= MOST_STEPS:
        return list(range(len(places)))
    wanted = np.linspace(places[0], places[-1], MOST_STEPS)
    return sorted({int(i) for i in np.searchsorted(places, wanted).clip(0, len(places) - 1)} | {0, len(places) - 1})


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return 1-2-5 ticks for a short log axis, powers of ten for a long one, with the ends for a very short one."""
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades < 2.2 else (1, 3) if decades < 3.2 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    if len(inside) < 2:
        inside = [low, high]
    every = max(1, math.ceil(len(inside) / 7))
    return [(tick, _number(tick)) for tick in inside[::every]]


def _number(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"
    if value >= 0.001 or not value:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _ceiling(most: int) -> float:
    """Return a round number at or above `most`."""
    power = 10 ** math.floor(math.log10(most))
    return next(float(step * power) for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8, 10) if step * power >= most)


def _count_ticks(top: float) -> list[tuple[float, str]]:
    if top < 4:
        return [(v, str(v)) for v in range(math.floor(top) + 1)]
    return [(top * k / 4, _number(top * k / 4)) for k in range(5)]


def _share_ticks() -> list[tuple[float, str]]:
    return [(v / 4, f"{v * 25} %") for v in range(5)]
