"""Mazes of any size: notation, rules, shortest paths, pretty printing.

Tokens: 0 open, 1 wall, 2 start, 3 goal, 4 path. A move goes to one of four neighbours.
Invariants, asserted in tests/unit/puzzles/test_mazes.py: `parse` and `format` are inverse to each other; a valid answer
marks a simple path of the shortest length from start to goal through open cells and changes nothing else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from eqr_ray.types import I32, U8, Bool, InputError

OPEN, WALL, START, GOAL, PATH = range(5)
MARKS = " #SGo"
"""Token v is written `MARKS[v]`."""
_DRAWN = " █SG·"


@dataclass(frozen=True, slots=True)
class MazeTask:
    """A rectangular maze with one start and one goal."""

    rows: int
    cols: int

    family = "maze"
    vocab = len(MARKS)

    @property
    def name(self) -> str:
        """Such as `maze30x30`: rows x columns."""
        return f"maze{self.rows}x{self.cols}"

    @property
    def n_cells(self) -> int:
        """Cells of the field, S."""
        return self.rows * self.cols

    def parse(self, text: str) -> U8:
        """Return (S,) uint8 of a row-major line or of a block of lines."""
        line = text.replace("\r", "").replace("\n", "")
        if len(line) != self.n_cells:
            raise InputError(
                f"a {self.name} puzzle has {self.rows} x {self.cols} = {self.n_cells} characters, got {len(line)}; "
                "write one maze a line, row by row, and name the task if it is not square"
            )
        unknown = set(line) - set(MARKS)
        if unknown:
            place = min(line.index(mark) for mark in unknown)
            raise InputError(
                f"a maze is written with # (wall), space (open), S, G and o (path), got {line[place]!r} "
                f"at character {place + 1}; replace it"
            )
        return np.array([MARKS.index(mark) for mark in line], np.uint8)

    def format(self, cells: U8) -> str:
        """Return the row-major line of (S,) cells."""
        return "".join(MARKS[token] for token in cells.tolist())

    def draw(self, question: U8, answer: U8 | None = None) -> str:
        """Return the field for a terminal, with the answer's path where there is one."""
        board = (question if answer is None else answer).reshape(self.rows, self.cols)
        return "\n".join("".join(_DRAWN[token] for token in row) for row in board.tolist())

    def conflicts(self, question: U8) -> str | None:
        """Return why (S,) `question` is no maze, such as `2 starts (S)`, None if it is one."""
        for token, what in ((START, "starts (S)"), (GOAL, "goals (G)")):
            count = int((question == token).sum())
            if count != 1:
                return f"{count} {what}"
        if (question == PATH).any():
            return "a path (o) that is marked already"
        if self.shortest(question) is None:
            return "no way from the start to the goal"
        return None

    def is_valid(self, question: U8, answer: U8) -> bool:
        """Tell whether (S,) `answer` marks one shortest path of (S,) `question` and changes nothing else.

        A marked set that joins start and goal has at least as many cells as a shortest path; with as many it is one.
        """
        changed = answer != question
        if (question[changed] != OPEN).any() or (answer[changed] != PATH).any():
            return False
        shortest = self.shortest(question)
        if shortest is None or int(changed.sum()) != len(shortest) - 2:
            return False
        joined = self._distances(question, passable=changed | (question >= START))
        return bool(joined[self._goal(question)] >= 0)

    def shortest(self, question: U8) -> list[int] | None:
        """Return the cells of a shortest path, start and goal included; None if there is none."""
        return path_between(self._distances(question, question != WALL), self.cols, self._goal(question))

    def answer(self, question: U8) -> U8 | None:
        """Return (S,) `question` with a shortest path marked, the only one in a perfect maze; None if there is none."""
        path = self.shortest(question)
        if path is None:
            return None
        marked = question.copy()
        marked[path[1:-1]] = PATH
        return marked

    def _goal(self, question: U8) -> int:
        return int(np.argmax(question == GOAL))

    def _distances(self, question: U8, passable: Bool) -> I32:
        return distances(passable.reshape(self.rows, self.cols), int(np.argmax(question == START)))


def distances(passable: Bool, start: int) -> I32:
    """Return (rows * cols,) int32: moves from `start` through `passable` (rows, cols) cells, -1 out of reach."""
    rows, cols = passable.shape
    free = passable.ravel().tolist()
    reached = [-1] * (rows * cols)
    reached[start] = 0
    waiting = deque([start])
    while waiting:
        cell = waiting.popleft()
        for neighbour in neighbours(cell, rows, cols):
            if free[neighbour] and reached[neighbour] < 0:
                reached[neighbour] = reached[cell] + 1
                waiting.append(neighbour)
    return np.array(reached, np.int32)


def path_between(reached: I32, cols: int, goal: int) -> list[int] | None:
    """Return the cells from where `reached` is 0 to `goal`, downhill from the goal; None if the goal is not reached."""
    if reached[goal] < 0:
        return None
    path = [goal]
    while reached[path[-1]] > 0:
        steps = neighbours(path[-1], len(reached) // cols, cols)
        path.append(next(cell for cell in steps if reached[cell] == reached[path[-1]] - 1))
    return path[::-1]


def neighbours(cell: int, rows: int, cols: int) -> list[int]:
    """Return the cells above, below, left and right of a cell."""
    row, col = divmod(cell, cols)
    above, below = [cell - cols] * (row > 0), [cell + cols] * (row < rows - 1)
    return above + below + [cell - 1] * (col > 0) + [cell + 1] * (col < cols - 1)
