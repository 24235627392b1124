"""Makes perfect mazes, in which any two cells are joined by exactly one path.

Invariants, asserted in tests/unit/puzzles/test_puzzle_generator.py: start and goal are joined by exactly one simple path, whose length is
in the range asked for; the border is wall; the same generator state gives the same maze.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eqr_ray.puzzles.maze import GOAL, OPEN, START, WALL, MazeTask, distances
from eqr_ray.types import U8, InputError

UNIQUE_LENGTHS = (100, 140)
"""Moves of the paths of Maze-Unique, whose mazes are 29x29 in a field of 30x30."""
TRIES = 200
"""Mazes carved for one path in range before its range is taken for impossible."""


@dataclass(frozen=True, slots=True, eq=False)
class MadeMaze:
    """A maze and its path."""

    question: U8
    """(S,)"""
    answer: U8
    """(S,)"""
    length: int
    """Moves from start to goal."""


def default_lengths(task: MazeTask) -> tuple[int, int]:
    """Return the shortest and longest path asked for: Maze-Unique's, scaled with the number of cells."""
    scale = task.n_cells / 900
    return max(2, round(UNIQUE_LENGTHS[0] * scale)), max(2, round(UNIQUE_LENGTHS[1] * scale))


def make_maze(task: MazeTask, rng: np.random.Generator, shortest: int, longest: int) -> MadeMaze:
    """Carve a perfect maze and place start and goal `shortest` to `longest` moves apart.

    Rooms lie at odd coordinates, so a field of even height or width keeps its last row or column as wall. Raises InputError when
    the field is too small or the range is not met in many mazes.
    """
    if min(task.rows, task.cols) < 3 or task.rows * task.cols < 15:
        raise InputError(f"a perfect maze needs a field of 3x5 or more, got {task.name}; name a larger one")
    for _ in range(TRIES):
        field = _carve(task.rows, task.cols, rng)
        rooms = np.flatnonzero(field.ravel() == OPEN)
        for start in rng.permutation(rooms)[:8].tolist():
            apart = distances(field == OPEN, start)
            goals = np.flatnonzero((apart >= shortest) & (apart <= longest))
            if not len(goals):
                continue
            question = field.ravel().copy()
            question[start], question[goals[rng.integers(len(goals))]] = START, GOAL
            answer = task.answer(question)
            assert answer is not None
            return MadeMaze(question, answer, int(apart[question == GOAL][0]))
    raise InputError(
        f"no path of {shortest} to {longest} moves was found in {TRIES} mazes of {task.name}; ask for shorter ones"
    )


def _carve(rows: int, cols: int, rng: np.random.Generator) -> U8:
    """Return (rows, cols) uint8, a spanning tree of the rooms by randomised depth-first search."""
    field = np.full((rows, cols), WALL, np.uint8)
    high, wide = (rows - 1) // 2, (cols - 1) // 2
    seen = np.zeros((high, wide), bool)
    stack = [(int(rng.integers(high)), int(rng.integers(wide)))]
    seen[stack[0]] = True
    field[2 * stack[0][0] + 1, 2 * stack[0][1] + 1] = OPEN
    while stack:
        row, col = stack[-1]
        steps = [
            (down, right)
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
            if 0 <= row + down < high and 0 <= col + right < wide and not seen[row + down, col + right]
        ]
        if not steps:
            stack.pop()
            continue
        down, right = steps[int(rng.integers(len(steps)))]
        field[2 * row + 1 + down, 2 * col + 1 + right] = OPEN
        field[2 * (row + down) + 1, 2 * (col + right) + 1] = OPEN
        seen[row + down, col + right] = True
        stack.append((row + down, col + right))
    return field
