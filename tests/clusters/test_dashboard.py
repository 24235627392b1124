"""The Grafana dashboard asks for metrics that exist, and shows every one of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from eqr_ray.distributed.metrics import COUNTERS, GAUGES, PER_REPLICA

DASHBOARD = json.loads((Path(__file__).parents[2] / "cluster/grafana-dashboard.json").read_text())
EXPORTED = {f"ray_{name}_total" for name in COUNTERS} | {f"ray_{name}" for name in (*GAUGES, *PER_REPLICA)}
"""As Ray's exporter spells them; tests/ray_local/test_run_metrics.py holds this against a real one."""


def queries() -> list[str]:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [
        *asked,
        *(variable["query"]["query"] for variable in DASHBOARD["templating"]["list"] if variable["name"] == "run"),
    ]


def test_every_query_names_metrics_that_exist():
    for query in queries():
        named = set(re.findall(r"\bray_\w+", query))
        assert named, query
        assert named <= EXPORTED, query


def test_every_metric_is_shown():
    shown = {name for query in queries() for name in re.findall(r"\bray_\w+", query)}
    assert shown == EXPORTED


def test_a_counter_is_shown_as_a_rate_a_sum_or_an_increase_and_braces_are_closed():
    for query in queries():
        assert query.count("(") == query.count(")")
        assert query.count("{") == query.count("}")
        if "_total{" in query:
            assert re.match(r"sum by \(\w+\) \((rate|increase|ray_)", query), query


def test_panels_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
