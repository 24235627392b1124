"""Random symmetries of puzzles on the device that trains: the torch twin of `puzzles.symmetry`.

Invariants, asserted in tests/unit/training/test_sampler.py: a variant's answer is valid for the variant; question and answer move
together; the same generator state gives the same variants.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from eqr_ray.puzzles.maze import MazeTask
from eqr_ray.puzzles.sudoku import SudokuTask
from eqr_ray.puzzles.task import Task


def vary(task: Task, question: Tensor, answer: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return one random symmetric variant of each of N puzzles, (N, S) uint8 questions and answers.

    Sudoku: symbols, bands, rows of a band, stacks, columns of a stack, and transposition where the box is square.
    Mazes: the rotations and reflections that keep the field's shape.
    """
    n, device = len(question), question.device
    if isinstance(task, MazeTask):
        sources = _maze_sources(task).to(device)
        moves = sources[torch.randint(len(sources), (n,), generator=generator, device=device)]
        return question.gather(1, moves), answer.gather(1, moves)
    if not isinstance(task, SudokuTask):
        raise TypeError(f"symmetries are known for Sudoku and mazes, got {type(task).__name__}")
    moves = _sudoku_sources(task, n, generator, device)
    symbols = _shuffled(n, (task.vocab - 1,), generator, device) + 1
    relabel = torch.cat([torch.zeros(n, 1, dtype=torch.int64, device=device), symbols], dim=1).to(torch.uint8)
    return (
        relabel.gather(1, question.gather(1, moves).long()),
        relabel.gather(1, answer.gather(1, moves).long()),
    )


def _shuffled(n: int, shape: tuple[int, ...], generator: Generator, device: torch.device) -> Tensor:
    """Return (n, *shape) int64, a permutation along the last dimension everywhere."""
    return torch.rand(n, *shape, generator=generator, device=device).argsort(dim=-1)


def _lines(n: int, groups: int, size: int, generator: Generator, device: torch.device) -> Tensor:
    """Return (n, groups * size): rows (or columns) after permuting the groups and the lines inside each group."""
    order = _shuffled(n, (groups,), generator, device)
    inside = _shuffled(n, (groups, size), generator, device)
    return (order[:, :, None] * size + inside).flatten(1)


def _sudoku_sources(task: SudokuTask, n: int, generator: Generator, device: torch.device) -> Tensor:
    """Return (n, S): the cell from which each cell of a variant comes."""
    box, side = task.box, task.box.side
    rows = _lines(n, box.cols, box.rows, generator, device)
    cols = _lines(n, box.rows, box.cols, generator, device)
    source = rows[:, :, None] * side + cols[:, None, :]
    if box.rows == box.cols:
        turned = torch.rand(n, 1, 1, generator=generator, device=device) < 0.5
        source = torch.where(turned, source.transpose(1, 2), source)
    return source.flatten(1)


def _maze_sources(task: MazeTask) -> Tensor:
    """Return (8, S), or (4, S) for a field that is not square: the source cells of each symmetry."""
    cell = torch.arange(task.n_cells).view(task.rows, task.cols)
    views = [cell, cell.flip(0), cell.flip(1), cell.flip(0, 1)]
    if task.rows == task.cols:
        views += [view.T for view in views]
    return torch.stack([view.flatten() for view in views])
