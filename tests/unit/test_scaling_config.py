from __future__ import annotations

from datetime import datetime

import pytest

from eqr_ray.config import load_config
from eqr_ray.config.scaling import seconds_until
from eqr_ray.types import InputError

NOON = datetime(2026, 11, 24, 12, 0, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("45m", 2700), ("2h30m", 9000), ("1d", 86_400), ("90s", 90), ("12:30", 1800), ("11:59", 86_340), ("12:00", 86_400),
        ("2026-11-24T13:00", 3600), ("2026-11-24T11:00", -3600),
    ],
)  # fmt: skip
def test_a_time_is_a_duration_a_clock_time_or_a_date(text: str, seconds: float) -> None:
    assert seconds_until(text, NOON) == seconds


@pytest.mark.parametrize("text", ["", "soon", "25:00", "2h 30m", "10"])
def test_other_text_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="2h30m"):
        seconds_until(text, NOON)


def load(**scaling: object) -> object:
    given = {"puzzles": "p.csv", "out": "o"} | {f"scaling.{key}": value for key, value in scaling.items()}
    return load_config(None, (), given).scaling


def test_goals_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(InputError, match="finish_by needs max_replicas"):
        load(finish_by="2h")
    with pytest.raises(InputError, match="max_cost needs price_per_replica_hour"):
        load(max_cost=5, max_replicas=4)
    with pytest.raises(InputError, match="in quotes"):
        load(finish_by=1110, max_replicas=4)
    with pytest.raises(InputError, match="replicas and scaling"):
        load_config(None, (), {"puzzles": "p.csv", "out": "o", "replicas": 2, "scaling.max_replicas": 4})
    load(finish_by="2h", max_replicas=4, max_cost=3.5, price_per_node_hour=0.8)
