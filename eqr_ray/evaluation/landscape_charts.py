"""Charts of a trace's landscape as inline SVG: curves, a heat map and a reliability diagram, drawn without a script.

Invariants, asserted in tests/unit/evaluation/test_landscape.py: every chart is well-formed XML, also for one puzzle and one trajectory; no
text of a user gets into a chart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from eqr_ray.evaluation.calibration import Bin

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 280, 52, 16, 24, 44
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:currentColor}.axis{stroke:currentColor;stroke-opacity:.5;fill:none}"
    ".grid{stroke:currentColor;stroke-opacity:.12}.a{stroke:#2563b0;fill:none;stroke-width:2}.b{stroke:#c2571a;fill:none;stroke-width:2}"
    ".c{stroke:#3a7d44;fill:none;stroke-width:2}.fa{fill:#2563b0}.fb{fill:#c2571a}.fc{fill:#3a7d44}.iso{stroke:currentColor;stroke-opacity:.55;"
    "stroke-dasharray:4 3;fill:none}.whisker{stroke:#2563b0;stroke-opacity:.5;stroke-width:1.5}"
)
_KINDS = "abc"


class Plot:
    """A plotting area of fixed size; axes are linear or logarithmic."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], *, log_x: bool = False, log_y: bool = False
    ) -> None:
        self._x, self._y, self._log_x, self._log_y = _room(x, log_x), _room(y, log_y), log_x, log_y
        self._parts: list[str] = []
        self._named: list[tuple[int, str]] = []

    def px(self, value: float) -> float:
        """Return the horizontal place of a value."""
        return LEFT + (WIDTH - LEFT - RIGHT) * _share(value, self._x, self._log_x)

    def py(self, value: float) -> float:
        """Return the vertical place of a value."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - _share(value, self._y, self._log_y))

    def axes(
        self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str, percent: bool = False
    ) -> None:
        """Draw grid, ticks and names."""
        for value in y_ticks:
            y = self.py(value)
            text = f"{100 * value:g} %" if percent else f"{value:g}"
            self._parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            self._parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for value in x_ticks:
            self._parts.append(
                f'<text x="{self.px(value):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:g}</text>'
            )
        self._parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        self._parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{x_label}; up: {y_label}</text>')

    def line(self, points: Sequence[tuple[float, float]], kind: int, name: str = "") -> None:
        """Draw a polyline of values."""
        if points:
            path = "L".join(f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in points)
            self._parts.append(f'<path class="{_KINDS[kind]}" d="M{path}"><title>{name}</title></path>')
            for x, y in points:
                place = f'cx="{self.px(x):.1f}" cy="{self.py(y):.1f}" r="3"'
                self._parts.append(
                    f'<circle class="f{_KINDS[kind]}" {place}><title>{name} {x:g}: {y:.4g}</title></circle>'
                )
            self._named += [(kind, name)] if name else []

    def legend(self) -> None:
        """Name the lines drawn so far in a row above the plot, where no curve can hide them."""
        x = float(LEFT)
        for kind, name in self._named:
            self._parts.append(
                f'<path class="{_KINDS[kind]}" d="M{x:.1f} 9h18"/><text x="{x + 23:.1f}" y="13">{name}</text>'
            )
            x += 23 + 7 * len(name) + 18

    def label(self, x: float, y: float, name: str) -> None:
        """Write a name beside a point."""
        self._parts.append(f'<text x="{self.px(x) - 4:.1f}" y="{self.py(y) - 7:.1f}" text-anchor="end">{name}</text>')

    def whisker(self, x: float, low: float, high: float) -> None:
        """Draw an interval."""
        self._parts.append(f'<path class="whisker" d="M{self.px(x):.1f} {self.py(low):.1f}V{self.py(high):.1f}"/>')

    def raw(self, text: str) -> None:
        """Add an element."""
        self._parts.append(text)

    def svg(self, name: str) -> Markup:
        """Return the chart."""
        return Markup(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}"><title>{name}</title>'
            f"<style>{_STYLE}</style>{''.join(self._parts)}</svg>"
        )


def reliability_chart(bins: Sequence[Bin]) -> Markup:
    """Return stated confidence against the share that was right, with 95 % intervals."""
    plot = Plot((0, 1), (0, 1))
    plot.axes([0, 0.25, 0.5, 0.75, 1], [0, 0.25, 0.5, 0.75, 1], "stated confidence", "share right")
    plot.raw(f'<path class="iso" d="M{plot.px(0):.1f} {plot.py(0):.1f}L{plot.px(1):.1f} {plot.py(1):.1f}"/>')
    for own in bins:
        plot.whisker(own.stated, *own.interval)
    plot.line([(own.stated, own.right) for own in bins], 0)
    return plot.svg("Reliability of stated confidences")


def heat_map(depths: Sequence[int], breadths: Sequence[int], accuracy: Sequence[Sequence[float]]) -> Markup:
    """Return accuracy by depth (across) and breadth (up); `accuracy[b][d]`; dashed lines join cells of equal D x B."""
    plot = Plot((0, 1), (0, 1))
    right = 44
    width, height = (WIDTH - LEFT - right) / len(depths), (HEIGHT - TOP - BOTTOM) / len(breadths)
    values = [value for row in accuracy for value in row]
    low, high = min(values), max(values)
    for b, breadth in enumerate(breadths):
        y = HEIGHT - BOTTOM - (b + 1) * height
        plot.raw(f'<text x="{LEFT - 6}" y="{y + height / 2 + 4:.1f}" text-anchor="end">{breadth}</text>')
        for d, depth in enumerate(depths):
            value = accuracy[b][d]
            strength = 0.08 + 0.8 * (value - low) / (high - low) if high > low else 0.5
            x = LEFT + d * width
            plot.raw(
                f"<g><title>D {depth}, B {breadth}: {100 * value:.2f} % at {depth * breadth} NFE</title>"
                f'<rect class="fa" fill-opacity="{strength:.3f}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
                f'<text x="{x + width / 2:.1f}" y="{y + height / 2 + 4:.1f}" text-anchor="middle">{100 * value:.1f}</text></g>'
            )
    for d, depth in enumerate(depths):
        plot.raw(
            f'<text x="{LEFT + (d + 0.5) * width:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{depth}</text>'
        )
    for nfe, line in _iso_lines(depths, breadths):
        d, b = line[-1]
        plot.raw(
            f'<text class="iso-name" x="{LEFT + (d + 1) * width + 3:.1f}" y="{HEIGHT - BOTTOM - (b + 0.5) * height + 4:.1f}">{nfe:,}</text>'
            if d + 1 == len(depths)
            else ""
        )
        points = "L".join(f"{LEFT + (d + 0.5) * width:.1f} {HEIGHT - BOTTOM - (b + 0.5) * height:.1f}" for d, b in line)
        plot.raw(f'<path class="iso" d="M{points}"/>')
    names = "depth; up: breadth; dashed: equal NFE, at the right"
    plot.raw(f'<text x="{(LEFT + WIDTH - right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{names}</text>')
    return plot.svg("Accuracy by depth and breadth")


def _iso_lines(depths: Sequence[int], breadths: Sequence[int]) -> list[tuple[int, list[tuple[int, int]]]]:
    """Return (NFE, cells (d, b) from shallow to deep) of every product that several cells share."""
    cells: dict[int, list[tuple[int, int]]] = {}
    for d, depth in enumerate(depths):
        for b, breadth in enumerate(breadths):
            cells.setdefault(depth * breadth, []).append((d, b))
    return [(nfe, own) for nfe, own in sorted(cells.items()) if len(own) > 1]


def _room(span: tuple[float, float], log: bool) -> tuple[float, float]:
    low, high = span
    if high > low:
        return low, high
    return (low / 2, low * 2) if log else (low - 0.5, low + 0.5)


def _share(value: float, span: tuple[float, float], log: bool) -> float:
    low, high = span
    if log:
        low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-300))
    return min(max((value - low) / (high - low), 0.0), 1.0)
