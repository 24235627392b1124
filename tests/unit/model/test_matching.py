"""Which checkpoint answers which puzzles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from eqr_ray.model.checkpoint import build, save
from eqr_ray.model.matching import checkpoint_for, fitted
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec
from eqr_ray.types import InputError

MAZE = ModelSpec(
    task="maze11x9", rows=11, cols=9, vocab=5, model_vocab=5, token_map=(0, 1, 2, 3, 4), position="rope2d", hidden=16, heads=2, ff_width=16
)  # fmt: skip


def test_the_bundled_checkpoint_of_a_task_is_found() -> None:
    assert checkpoint_for("sudoku6").name == "sudoku6"
    assert checkpoint_for("sudoku9").spec.task == "sudoku9"


def test_a_task_without_a_checkpoint_is_refused() -> None:
    with pytest.raises(InputError, match="no bundled checkpoint answers the task sudoku25"):
        checkpoint_for("sudoku25")


def test_a_named_checkpoint_of_other_puzzles_is_refused() -> None:
    with pytest.raises(InputError, match=r"checkpoint sudoku6 answers sudoku6 puzzles, and p\.csv holds sudoku9"):
        checkpoint_for("sudoku9", "sudoku6", "p.csv")


@pytest.mark.parametrize("position", ["none", "rope2d", "grid"])
def test_a_maze_network_answers_smaller_mazes_with_the_same_weights(position: str, tmp_path: Path) -> None:
    spec = dataclasses.replace(MAZE, position=position)
    save(tmp_path / "maze", EquilibriumReasoner(spec), {})
    small = build(checkpoint_for("maze7x5", str(tmp_path / "maze"))).model
    assert (small.spec.task, small.spec.rows, small.spec.cols) == ("maze7x5", 7, 5)
    x = small.embed(torch.zeros(2, 35, dtype=torch.uint8))
    assert small.logits(small.iterate(torch.zeros(2, 1, 35, 16), x)).shape == (2, 35, 5)


@pytest.mark.parametrize("task", ["maze13x9", "maze11x11", "sudoku9"])
def test_no_network_answers_what_it_was_not_trained_for(task: str) -> None:
    assert fitted(MAZE, task) is None


@pytest.mark.parametrize(
    "change", [{"position": "learned"}, {"position": "rope1d"}, {"mixer": "mlp", "token_width": 8}]
)
def test_weights_bound_to_a_size_answer_that_size_only(change: dict[str, object]) -> None:
    spec = dataclasses.replace(MAZE, **change)
    assert fitted(spec, "maze7x5") is None
    assert fitted(spec, "maze11x9") == spec
