"""The page of a trace: its landscape in curves, maps and tables; one file without scripts or outside references.

Invariants, asserted in tests/unit/evaluation/test_landscape.py: it is written for one puzzle and one trajectory; no text of
the user gets into it unescaped; it names no resource outside itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor

from markupsafe import Markup, escape

from eqr_ray.evaluation.landscape import Landscape
from eqr_ray.evaluation.landscape_charts import Plot, heat_map
from eqr_ray.evaluation.scoring import wilson

MOST_NEVER = 60
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem}"
    "section{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:1.5rem}svg{width:100%;height:auto}"
    "table{border-collapse:collapse;margin:.5rem 0;font-variant-numeric:tabular-nums}td,th{padding:.25rem .8rem .25rem 0;text-align:left;"
    "border-bottom:1px solid #8884}code{overflow-wrap:anywhere;font-size:.85rem}p{opacity:.8}"
)


def landscape_page(
    found: Landscape, facts: Mapping[str, object], questions: Sequence[tuple[str, str, float | None]]
) -> str:
    """Return the page; questions: (source, question, rating) of every puzzle, by place."""
    n = found.puzzles
    corner = found.majority[-1][-1]
    low, high = wilson(round(corner * n), n) or (0.0, 1.0)
    depth, breadth = found.depths[-1], found.breadths[-1]
    interval = f"{100 * low:.2f} to {100 * high:.2f} %"
    head = (
        f"<h1>Landscape of {escape(facts.get('checkpoint', ''))} on {n:,} puzzles</h1>"
        f"<p>{breadth} trajectories of {depth} iterations each, seed {escape(facts.get('seed', ''))}. "
        f"Majority of all: {100 * corner:.2f} % (95 % interval {interval}) at {depth * breadth:,} NFE a puzzle. "
        f"Every accuracy is over all {n:,} labelled puzzles.</p>"
    )
    charts = (
        (
            "Depth",
            "Share of single trajectories that are right, majority of all, and chance that two agree.",
            _depth_curve(found),
        ),
        (
            "Breadth",
            "At full depth: majority, smallest residual, and whether any trajectory is right.",
            _breadth_curve(found),
        ),
        (
            "Depth x breadth",
            "Accuracy of the majority, in per cent.",
            heat_map(found.depths, found.breadths, found.majority),
        ),
        ("Residual", "Share of trajectories that end right, by their last residual.", _residual_curve(found)),
    )
    parts = [f"<div><h2>{name}</h2><p>{note}</p>{chart}</div>" for name, note, chart in charts]
    modes = _table(
        ("mode", "what it means", "puzzles", "share"),
        [(a, b, f"{k:,}", f"{100 * k / n:.1f} %") for a, b, k in found.modes],
    )
    groups = _table(
        ("difficulty", "puzzles", "solved by majority", "median iterations to the right answer"),
        [
            (g.name, f"{g.puzzles:,}", f"{g.solved:,} ({100 * g.solved / g.puzzles:.1f} %)",
             "–" if g.median_iterations is None else f"{g.median_iterations:g}")
            for g in found.groups
        ],
    )  # fmt: skip
    never = [questions[place] for place in found.never[:MOST_NEVER]]
    rows = [
        (source, Markup("<code>{}</code>").format(text), "" if rating is None else f"{rating:g}")
        for source, text, rating in never
    ]
    more = f"<p>The first {MOST_NEVER} of them.</p>" if len(found.never) > MOST_NEVER else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f'<link rel="icon" href="data:,"><title>Landscape of a trace</title><style>{_STYLE}</style></head><body>{head}'
        f"<section>{''.join(parts)}</section><h2>Landscape modes</h2>{modes}<h2>Iterations by difficulty</h2>{groups}"
        f"<h2>Never solved: {len(found.never):,} puzzles</h2>{more}{_table(('source', 'question', 'rating'), rows) if rows else ''}"
        "</body></html>\n"
    )


def _depth_curve(found: Landscape) -> Markup:
    plot = Plot((found.depths[0], found.depths[-1]), (0, 1), log_x=True)
    plot.axes(found.depths, _SHARES, "depth, log", "share", percent=True)
    plot.line(list(zip(found.depths, found.single, strict=True)), 0, "single")
    plot.line(list(zip(found.depths, found.majority[-1], strict=True)), 1, "majority")
    agree = [(d, share) for d, share in zip(found.depths, found.agree, strict=True) if share is not None]
    plot.line(agree, 2, "two agree")
    plot.legend()
    return plot.svg("Accuracy by depth")


def _breadth_curve(found: Landscape) -> Markup:
    shares = (*found.any_right, *found.top1, *(row[-1] for row in found.majority))
    # Breadth moves accuracy by points where depth moves it by tens: the axis holds what there is, and says so.
    low, high = max(0.0, floor(20 * min(shares) - 0.5) / 20), min(1.0, ceil(20 * max(shares) + 0.5) / 20)
    plot = Plot((found.breadths[0], found.breadths[-1]), (low, high), log_x=True)
    plot.axes(found.breadths, [low + (high - low) * k / 4 for k in range(5)], "breadth, log", "share", percent=True)
    plot.line(list(zip(found.breadths, found.any_right, strict=True)), 2, "any right")
    plot.line(list(zip(found.breadths, found.top1, strict=True)), 1, "smallest residual")
    plot.line(list(zip(found.breadths, (row[-1] for row in found.majority), strict=True)), 0, "majority")
    plot.legend()
    return plot.svg("Accuracy by breadth")


def _residual_curve(found: Landscape) -> Markup:
    bins = found.by_residual
    middles = [own.stated for own in bins]
    plot = Plot((min(middles), max(middles)), (0, 1), log_x=True)
    ticks = [tick for tick in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if min(middles) <= tick <= max(middles)]
    plot.axes(ticks, _SHARES, "residual, log", "share right", percent=True)
    for own in bins:
        plot.whisker(own.stated, *own.interval)
    plot.line([(own.stated, own.right) for own in bins], 0)
    return plot.svg("Correctness by residual")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return Markup(f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{lines}</table>")
