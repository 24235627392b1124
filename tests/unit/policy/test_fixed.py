from __future__ import annotations

import numpy as np
import pytest
from tally_builders import RUNNING, Row, tally

from eqr_ray.policy import Fixed
from eqr_ray.types import StopReason


def rounds_of(policy: Fixed) -> tuple[list[tuple[int, int]], StopReason]:
    """Return (how many, how deep) for each round, and why the puzzle stopped."""
    rows: list[Row] = []
    granted = []
    while True:
        allocations = policy.allocate(tally(rows))
        if allocations.stop[0] is not None:
            return granted, allocations.stop[0]
        spawn, until = int(allocations.spawn[0]), int(allocations.spawn_to[0])
        granted.append((spawn, until))
        rows += [Row(RUNNING, depth=until)] * spawn


def test_the_whole_budget_is_one_round() -> None:
    assert rounds_of(Fixed(depth=64, breadth=8)) == ([(8, 64)], StopReason.DEPTH_SPENT)


def test_a_cap_gives_full_trajectories_and_one_shorter() -> None:
    assert rounds_of(Fixed(depth=64, breadth=8, nfe=200)) == ([(3, 64), (1, 8)], StopReason.NFE_SPENT)
    assert rounds_of(Fixed(depth=64, breadth=8, nfe=128)) == ([(2, 64)], StopReason.NFE_SPENT)
    assert rounds_of(Fixed(depth=64, breadth=8, nfe=63)) == ([(1, 63)], StopReason.NFE_SPENT)


def test_nothing_halts() -> None:
    assert Fixed().budget.halt.never


def test_unsettled_trajectories_vote() -> None:
    tallies = tally([Row(RUNNING, key=4), Row(RUNNING, key=4), Row(RUNNING, key=5)])
    choices = Fixed(depth=16, breadth=3).select(tallies)
    assert (int(choices.answer_key[0]), int(choices.votes[0])) == (4, 2)


@pytest.mark.parametrize(("select_by", "expected"), [("majority", 1), ("top1_residual", 2), ("top1_logit", 3)])
def test_the_selection_rule_is_the_one_asked_for(select_by: str, expected: int) -> None:
    rows = [Row(key=1), Row(key=1), Row(key=2, residual=0.001), Row(key=3, logit_delta=0.001)]
    policy = Fixed(depth=16, breadth=4, select_by=select_by)
    assert policy.selection == select_by
    assert np.array_equal(policy.select(tally(rows)).answer_key, [expected])


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="select_by must be one of majority"):
        Fixed(select_by="mode")
    with pytest.raises(ValueError, match="k must be at least 1"):
        Fixed(k=0)
    with pytest.raises(ValueError, match="depth must be at least 1"):
        Fixed(depth=0)
