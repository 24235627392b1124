"""What the package knows of a puzzle family: the `Task` protocol, and tasks by name or by the look of a line.

Invariants, asserted in tests/unit/puzzles/test_puzzle_tasks.py: `task(t.name) == t`; `infer_task` finds the task of every line
that `format` writes, for the square mazes and the usual boxes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

from eqr_ray.puzzles.board import Box, default_box
from eqr_ray.puzzles.maze import MazeTask
from eqr_ray.puzzles.sudoku import SYMBOLS, SudokuTask
from eqr_ray.types import U8, InputError

USUAL_SIDES = (4, 6, 9, 12, 16)
"""Sudoku boards that a line's length stands for; others are named."""
MAX_MAZE_SIDE = 1000


class Task(Protocol):
    """A puzzle family at one size. Values are immutable, comparable and cheap to make."""

    @property
    def name(self) -> str:
        """`sudoku9`, `sudoku6-3x2`, `maze30x30`."""
        ...

    @property
    def family(self) -> str:
        """`sudoku` or `maze`."""
        ...

    @property
    def rows(self) -> int:
        """Rows of the board."""
        ...

    @property
    def cols(self) -> int:
        """Columns of the board."""
        ...

    @property
    def n_cells(self) -> int:
        """Cells of the board, S = rows * cols."""
        ...

    @property
    def vocab(self) -> int:
        """Tokens 0..vocab-1, where 0 is blank (open in a maze)."""
        ...

    def parse(self, text: str) -> U8:
        """Return (S,) uint8; raise InputError for a wrong length or character."""
        ...

    def format(self, cells: U8) -> str:
        """Return the line that `parse` reads, `.` for a blank of Sudoku."""
        ...

    def draw(self, question: U8, answer: U8 | None = None) -> str:
        """Return a board for a terminal."""
        ...

    def conflicts(self, question: U8) -> str | None:
        """Return how the question breaks the rules, such as `two 5s in row 3`; None if it does not."""
        ...

    def is_valid(self, question: U8, answer: U8) -> bool:
        """Tell whether the answer obeys the rules and keeps what the question gives."""
        ...


@lru_cache
def task(name: str) -> Task:
    """Return the task of a name: `sudoku9`, `sudoku12-3x4` (box rows x columns), `maze30x30`; InputError for others."""
    if match := re.fullmatch(r"sudoku(\d{1,3})(?:-(\d{1,2})x(\d{1,2}))?", name):
        side = int(match[1])
        box = Box(int(match[2]), int(match[3])) if match[2] else default_box(side) if side > 0 else None
        if box is None or min(box) < 1 or box.side != side or not 1 < side <= len(SYMBOLS):
            raise InputError(
                f"a Sudoku board has up to {len(SYMBOLS)} symbols and boxes of rows x columns = symbols, got {name!r}; "
                "name one such as sudoku6, sudoku9 or sudoku12-3x4"
            )
        return SudokuTask(box)
    if match := re.fullmatch(r"maze(\d{1,4})x(\d{1,4})", name):
        rows, cols = int(match[1]), int(match[2])
        if not (1 <= rows <= MAX_MAZE_SIDE and 1 <= cols <= MAX_MAZE_SIDE and rows * cols >= 2):
            raise InputError(
                f"a maze has 1 to {MAX_MAZE_SIDE} rows and columns, got {name!r}; name one such as maze30x30"
            )
        return MazeTask(rows, cols)
    raise InputError(f"a task is named like sudoku9, sudoku6-3x2 or maze30x30, got {name[:40]!r}; name one of these")


def infer_task(text: str) -> Task:
    """Return the task that a question's length and characters show: usual boards, square mazes, blocks of lines."""
    if "#" in text:
        lines = text.strip("\r\n").splitlines()
        rows, cols = (len(lines), len(lines[0])) if len(lines) > 1 else (round(len(lines[0]) ** 0.5),) * 2
        if rows * cols != sum(map(len, lines)):
            raise InputError(
                f"a maze on one line is square, got {len(lines[0])} characters; name the task, such as maze20x30"
            )
        return task(f"maze{rows}x{cols}")
    length = len("".join(text.split()))
    side = min(USUAL_SIDES, key=lambda side: abs(side * side - length))
    if side * side != length:
        raise InputError(
            f"a sudoku{side} question has {side * side} characters, got {length}; "
            "write one puzzle a line, row by row, with . or 0 for a blank cell"
        )
    return task(f"sudoku{side}")
