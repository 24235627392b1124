"""Sudoku of any box shape: notation, rules, pretty printing.

Invariants, asserted in tests/unit/puzzles/test_puzzle_tasks.py: `parse` and `format` are inverse to each other; `conflicts` is
None exactly when no symbol is twice in a unit; a valid answer is a filled board without conflicts that keeps the clues.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eqr_ray.puzzles.board import Box, default_box, unit_cells
from eqr_ray.types import U8, InputError

SYMBOLS = "123456789ABCDEFGHIJKLMNOP"
"""Token v is written `SYMBOLS[v - 1]`; a board has at most 25 of them."""
_UNKNOWN = 255


@lru_cache
def _tokens(n_symbols: int) -> U8:
    """Return (256,) uint8: the token of each Latin-1 character, 255 where the board does not have it."""
    table = np.full(256, _UNKNOWN, np.uint8)
    table[[ord("."), ord("0")]] = 0
    for token, symbol in enumerate(SYMBOLS[:n_symbols], start=1):
        table[ord(symbol)] = token
    return table


@dataclass(frozen=True, slots=True)
class SudokuTask:
    """Sudoku with boxes of one shape; 0 is blank, tokens 1..side are the symbols."""

    box: Box

    family = "sudoku"

    @property
    def name(self) -> str:
        """`sudoku9`, or `sudoku6-3x2` where the box is not the usual one."""
        side = self.box.side
        return f"sudoku{side}" if self.box == default_box(side) else f"sudoku{side}-{self.box.rows}x{self.box.cols}"

    @property
    def rows(self) -> int:
        """Rows of the board."""
        return self.box.side

    @property
    def cols(self) -> int:
        """Columns of the board."""
        return self.box.side

    @property
    def n_cells(self) -> int:
        """Cells of the board, S."""
        return self.box.side**2

    @property
    def vocab(self) -> int:
        """Tokens, blank included."""
        return self.box.side + 1

    def parse(self, text: str) -> U8:
        """Return (S,) uint8 of a row-major line; spaces and line breaks do not count; `.` or `0` is blank."""
        line = "".join(text.split())
        if len(line) != self.n_cells:
            raise InputError(
                f"a {self.name} question has {self.n_cells} characters, got {len(line)}; "
                "write one puzzle a line, row by row, with . or 0 for a blank cell"
            )
        cells = _tokens(self.box.side)[np.frombuffer(line.encode("latin-1", "replace"), np.uint8)]
        if cells.max() == _UNKNOWN:
            place = int(np.flatnonzero(cells == _UNKNOWN)[0])
            last = SYMBOLS[self.box.side - 1]
            known = f"1-{last}" if self.box.side < 10 else f"1-9, A-{last}"
            raise InputError(
                f"a {self.name} puzzle is written with {known} and . or 0, got {line[place]!r} "
                f"at character {place + 1}; replace it or name another task"
            )
        return cells

    def format(self, cells: U8) -> str:
        """Return the row-major line of (S,) cells, `.` for blank."""
        return "".join(("." + SYMBOLS)[token] for token in cells.tolist())

    def draw(self, question: U8, answer: U8 | None = None) -> str:
        """Return the board with its boxes for a terminal, the answer's cells where there is one."""
        board = (question if answer is None else answer).reshape(self.rows, self.cols)
        bar = "+" + "+".join("-" * (2 * self.box.cols + 1) for _ in range(self.box.rows)) + "+"
        lines = [bar]
        for row in range(self.rows):
            marks = [("." + SYMBOLS)[token] for token in board[row].tolist()]
            groups = [" ".join(marks[left : left + self.box.cols]) for left in range(0, self.cols, self.box.cols)]
            lines.append("| " + " | ".join(groups) + " |")
            if (row + 1) % self.box.rows == 0:
                lines.append(bar)
        return "\n".join(lines)

    def conflicts(self, question: U8) -> str | None:
        """Return what breaks the rules, such as `two 5s in row 3`, None if nothing does; blanks do not count."""
        units = unit_cells(self.box)
        side, vocab = self.box.side, self.vocab
        keys = question[units].astype(np.int64) + np.arange(3 * side)[:, None] * vocab
        counts = np.bincount(keys.ravel(), minlength=3 * side * vocab).reshape(3 * side, vocab)
        counts[:, 0] = 0
        if counts.max() < 2:
            return None
        unit, token = np.argwhere(counts > 1)[0].tolist()
        kind = ("row", "column", "box")[unit // side]
        return f"two {SYMBOLS[token - 1]}s in {kind} {unit % side + 1}"

    def is_valid(self, question: U8, answer: U8) -> bool:
        """Tell whether (S,) `answer` fills the board by the rules and keeps the clues of (S,) `question`."""
        in_range = bool(answer.min() >= 1 and answer.max() < self.vocab)
        kept = bool((answer[question != 0] == question[question != 0]).all())
        return in_range and kept and self.conflicts(answer) is None
