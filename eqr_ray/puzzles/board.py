"""Shape of a Sudoku board."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """Shape of a Sudoku box; the board has `rows * cols` rows, columns and symbols."""

    rows: int
    cols: int

    @property
    def side(self) -> int:
        """Rows of the board, which is also its number of symbols."""
        return self.rows * self.cols
