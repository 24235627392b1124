"""Easier versions of puzzles."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from eqr_ray.puzzles.generator import generate
from eqr_ray.puzzles.maze import OPEN, WALL
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.training.easing import fill_dead_ends, reveal


def pairs(task: str, count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    records = list(generate(find_task(task), count, seed=9))
    question = np.stack([record.puzzle.cells for record in records])
    answer = np.stack([record.answer for record in records if record.answer is not None])
    return torch.from_numpy(question), torch.from_numpy(answer)


def test_revealed_cells_are_the_answers_and_as_many_as_asked_for() -> None:
    question, answer = pairs("sudoku4")
    count = torch.arange(12) % 4
    easier = reveal(question, answer, count, torch.Generator().manual_seed(1))
    changed = easier != question
    assert torch.equal(changed.sum(1), count)
    assert torch.equal(easier[changed], answer[changed])


def test_one_cell_stays_blank_however_many_are_asked_for() -> None:
    question, answer = pairs("sudoku4")
    easier = reveal(question, answer, torch.full((12,), 99), torch.Generator().manual_seed(1))
    assert torch.equal((easier == 0).sum(1), torch.ones(12, dtype=torch.int64))


def test_a_maze_without_its_dead_ends_has_the_same_way() -> None:
    task = find_task("maze9x11")
    question, answer = pairs("maze9x11")
    filled, marked = fill_dead_ends(question, answer, torch.full((12,), 40), (9, 11))
    for before, easy, whole in zip(answer.numpy(), filled.numpy(), marked.numpy(), strict=True):
        assert task.is_valid(easy, whole)
        assert np.array_equal(whole == 4, before == 4)
        assert set(easy[whole != easy]) == {OPEN}
        assert not ((easy == OPEN) & (whole == OPEN)).any(), "nothing but the way is left of a perfect maze"


def test_dead_ends_are_filled_cell_by_cell_from_their_tips() -> None:
    question, answer = pairs("maze9x11")
    steps = [fill_dead_ends(question, answer, torch.full((12,), k), (9, 11))[0] for k in range(4)]
    assert torch.equal(steps[0], question)
    for earlier, later in itertools.pairwise(steps):
        assert bool(((earlier == WALL) <= (later == WALL)).all())
        assert bool(((later == WALL).sum(1) >= (earlier == WALL).sum(1)).all())
    own = fill_dead_ends(question, answer, torch.tensor([2] + [0] * 11), (9, 11))[0]
    assert torch.equal(own[0], steps[2][0])
    assert torch.equal(own[1:], question[1:])
