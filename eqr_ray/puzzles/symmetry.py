"""Symmetric variants of puzzles: another puzzle of the same difficulty, with its answer carried along.

Invariants, asserted in tests/unit/puzzles/test_symmetry.py: a variant's answer is valid for the variant; the number
of clues and of solutions stays; the same generator state gives the same variants; question and answer move together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eqr_ray.puzzles.maze import MazeTask
from eqr_ray.puzzles.sudoku import SudokuTask
from eqr_ray.puzzles.task import Task
from eqr_ray.types import I64, U8


@dataclass(frozen=True, slots=True, eq=False)
class Variants:
    """N questions and answers after one symmetry each."""

    questions: U8
    """(N, S)"""
    answers: U8
    """(N, S)"""


def augment(task: Task, questions: U8, answers: U8, rng: np.random.Generator) -> Variants:
    """Return one random symmetric variant of each of N puzzles, (N, S) questions and answers.

    Sudoku: symbols, bands, rows of a band, stacks, columns of a stack, and transposition where the box is square.
    Mazes: the rotations and reflections that keep the field's shape.
    """
    n_puzzles = len(questions)
    if isinstance(task, MazeTask):
        source = _maze_sources(task)
        moves = source[rng.integers(len(source), size=n_puzzles)]
        return Variants(np.take_along_axis(questions, moves, 1), np.take_along_axis(answers, moves, 1))
    if not isinstance(task, SudokuTask):
        raise TypeError(f"symmetries are known for Sudoku and mazes, got {type(task).__name__}")
    moves = _sudoku_sources(task, n_puzzles, rng)
    relabel = np.zeros((n_puzzles, task.vocab), np.uint8)
    relabel[:, 1:] = _permutations(n_puzzles, task.vocab - 1, rng) + 1
    return Variants(
        np.take_along_axis(relabel, np.take_along_axis(questions, moves, 1).astype(np.intp), 1),
        np.take_along_axis(relabel, np.take_along_axis(answers, moves, 1).astype(np.intp), 1),
    )


def _permutations(count: int, length: int, rng: np.random.Generator) -> I64:
    return np.argsort(rng.random((count, length)), axis=1)


def _lines(count: int, groups: int, size: int, rng: np.random.Generator) -> I64:
    """Return (count, groups * size): rows (or columns) after permuting the groups and the lines inside each group."""
    order = _permutations(count, groups, rng)
    inside = np.argsort(rng.random((count, groups, size)), axis=2)
    return (order[:, :, None] * size + inside).reshape(count, groups * size)


def _sudoku_sources(task: SudokuTask, count: int, rng: np.random.Generator) -> I64:
    """Return (count, S): the cell from which each cell of a variant comes."""
    box, side = task.box, task.box.side
    rows = _lines(count, box.cols, box.rows, rng)
    cols = _lines(count, box.rows, box.cols, rng)
    source = rows[:, :, None] * side + cols[:, None, :]
    if box.rows == box.cols:
        transposed = rng.integers(2, size=count).astype(bool)
        source[transposed] = source[transposed].transpose(0, 2, 1)
    return source.reshape(count, task.n_cells)


def _maze_sources(task: MazeTask) -> I64:
    """Return (8, S), or (4, S) for a field that is not square: the source cells of each symmetry."""
    cell = np.arange(task.n_cells, dtype=np.int64).reshape(task.rows, task.cols)
    views = [cell, cell[::-1], cell[:, ::-1], cell[::-1, ::-1]]
    if task.rows == task.cols:
        views += [view.T for view in views]
    return np.stack([view.ravel() for view in views])
