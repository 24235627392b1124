from __future__ import annotations

import numpy as np
import pytest
from tally_builders import CONVERGED, RUNNING, Row, tally

from eqr_ray.policy import check_allocations
from eqr_ray.types import Allocations, Budget, StopReason

BUDGET = Budget(depth=64, breadth=3, nfe=100)


def refusal(
    rows: list[Row], *, stop: StopReason | None = None, extend: int = 0, spawn: int = 0, until: int = 16
) -> str:
    """Return the message with which a grant to one puzzle is refused, `` when it is accepted."""
    extend_to = np.array([extend] + [0] * (len(rows) - 1) if rows else [], np.int32)
    granted = Allocations((stop,), extend_to, np.array([spawn], np.int32), np.array([until], np.int32))
    try:
        check_allocations(tally(rows), granted, BUDGET)
    except ValueError as problem:
        return str(problem)
    return ""


RUNS, HALTED = Row(RUNNING, depth=20), Row(CONVERGED, depth=20)


def test_grants_within_the_budget_are_accepted() -> None:
    assert refusal([], spawn=3, until=16) == ""
    assert refusal([RUNS], extend=64, spawn=2, until=18) == ""
    assert refusal([RUNS], stop=StopReason.CONSENSUS) == ""


@pytest.mark.parametrize(
    ("message", "rows", "grant"),
    [
        ("only a running trajectory may be extended", [HALTED], {"extend": 40}),
        ("must go beyond the depth already reached", [RUNS], {"extend": 20}),
        ("must stay within depth 64", [RUNS], {"extend": 65}),
        ("spawn must not be negative", [RUNS], {"spawn": -1}),
        ("spawn_to must be in", [], {"spawn": 1, "until": 0}),
        ("spawn_to must be in", [], {"spawn": 1, "until": 65}),
        ("breadth must stay within 3", [RUNS, RUNS], {"spawn": 2, "until": 1}),
        ("nfe must stay within 100", [RUNS], {"extend": 64, "spawn": 2, "until": 19}),
        ("a puzzle that stops is granted nothing", [RUNS], {"stop": StopReason.CONSENSUS, "spawn": 1}),
        ("a puzzle that goes on must be granted something", [RUNS], {}),
        ("cannot stop before its first trajectory", [], {"stop": StopReason.NFE_SPENT}),
    ],
)
def test_each_broken_rule_is_named(message: str, rows: list[Row], grant: dict[str, object]) -> None:
    assert message in refusal(rows, **grant)


def test_the_refusal_names_the_puzzle() -> None:
    granted = Allocations(
        (StopReason.CONSENSUS, None), np.zeros(2, np.int32), np.zeros(2, np.int32), np.ones(2, np.int32)
    )
    with pytest.raises(ValueError, match="puzzle 1: a puzzle that goes on"):
        check_allocations(tally([RUNS], [RUNS]), granted, BUDGET)
