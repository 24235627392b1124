from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from tally_builders import Row, tally

from eqr_ray import types
from eqr_ray.types import Budget, HaltRule, InputError, Puzzle, Status, StopReason, Trajectories, draw_key

VALUES = [value for value in vars(types).values() if dataclasses.is_dataclass(value)]
CELLS = np.array([0, 1, 2, 3], np.uint8)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_every_value_is_frozen_and_slotted(value: type) -> None:
    assert value.__dataclass_params__.frozen
    assert hasattr(value, "__slots__")


def test_a_puzzle_carries_no_label() -> None:
    assert [field.name for field in dataclasses.fields(Puzzle)] == ["puzzle_id", "task", "cells"]


def test_a_draw_key_depends_on_task_and_cells_and_not_on_the_id() -> None:
    one = Puzzle("a", "sudoku4", CELLS)
    assert one.draw_key == Puzzle("b", "sudoku4", CELLS.copy()).draw_key
    assert one.draw_key != Puzzle("a", "maze2x2", CELLS).draw_key
    assert one.draw_key != Puzzle("a", "sudoku4", CELLS[::-1]).draw_key
    assert 0 <= one.draw_key < 2**64


def test_a_draw_key_never_changes_between_versions() -> None:
    assert int(draw_key("sudoku4", CELLS)) == 8_017_749_988_270_567_643


def test_a_draw_key_does_not_depend_on_the_layout_of_the_cells() -> None:
    spread = np.zeros(8, np.uint8)
    spread[::2] = CELLS
    assert draw_key("sudoku4", spread[::2]) == draw_key("sudoku4", CELLS)


@pytest.mark.parametrize(
    ("message", "depth", "breadth", "nfe"),
    [
        ("depth must be at least 1, got depth=0", 0, 1, 1),
        ("breadth must be at least 1, got breadth=-2", 1, -2, 1),
        (r"nfe must be in \[1, depth \* breadth = 12\], got nfe=13", 4, 3, 13),
        (r"nfe must be in \[1, depth \* breadth = 12\], got nfe=0", 4, 3, 0),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(message: str, depth: int, breadth: int, nfe: int) -> None:
    with pytest.raises(ValueError, match=message):
        Budget(depth, breadth, nfe)


def test_a_budget_may_be_used_up_exactly() -> None:
    assert Budget(4, 3, 12).halt.never
    assert Budget(1, 1, 1).nfe == 1


def test_a_halting_rule_with_impossible_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="min_depth must be at least 1, got min_depth=0"):
        HaltRule(min_depth=0)
    with pytest.raises(ValueError, match="stable_for must be at least 1, got stable_for=0"):
        HaltRule(stable_for=0)


def test_only_a_bound_that_no_residual_meets_never_halts() -> None:
    assert HaltRule().never
    assert not HaltRule(residual_below=math.inf).never
    assert not HaltRule(residual_below=0.1).never


def test_rows_are_taken_from_every_column() -> None:
    rows = tally([Row(key=1), Row(key=2, depth=7), Row(key=3)]).trajectories
    for rule in (np.array([1]), np.array([False, True, False]), slice(1, 2)):
        taken = rows.take(rule)
        assert len(taken) == 1
        for name in Trajectories.__slots__:
            assert np.array_equal(getattr(taken, name), getattr(rows, name)[1:2]), name


def test_tallies_add_up_per_puzzle() -> None:
    tallies = tally([Row(depth=3), Row(depth=4)], [], [Row(depth=5)])
    assert len(tallies) == 3
    assert tallies.breadth.tolist() == [2, 0, 1]
    assert tallies.nfe.tolist() == [7, 0, 5]
    assert tallies.owner.tolist() == [0, 0, 2]


def test_enums_have_the_names_of_the_contract() -> None:
    assert [status.name for status in Status] == ["RUNNING", "CONVERGED", "Q_HALTED", "DIVERGED"]
    assert [reason.value for reason in StopReason] == [
        "consensus",
        "converged",
        "nfe_spent",
        "depth_spent",
        "deadline",
        "crashed",
    ]


def test_input_errors_are_value_errors() -> None:
    assert issubclass(InputError, ValueError)
