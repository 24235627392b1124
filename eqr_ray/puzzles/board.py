"""Shape of a Sudoku board and its units."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from eqr_ray.types import I32


class Box(NamedTuple):
    """Shape of a Sudoku box; the board has `rows * cols` rows, columns and symbols."""

    rows: int
    cols: int

    @property
    def side(self) -> int:
        """Rows of the board, which is also its number of symbols."""
        return self.rows * self.cols


def default_box(side: int) -> Box | None:
    """Return the box nearest to a square, no taller than wide; None where only a line would do (a prime side)."""
    rows = max(r for r in range(1, int(side**0.5) + 1) if side % r == 0)
    return Box(rows, side // rows) if rows > 1 else None


@lru_cache
def unit_cells(box: Box) -> I32:
    """Return (3n, n) int32: the cells of each row, then of each column, then of each box."""
    side = box.side
    cell = np.arange(side * side, dtype=np.int32).reshape(side, side)
    boxes = cell.reshape(box.cols, box.rows, box.rows, box.cols).transpose(0, 2, 1, 3).reshape(side, side)
    return np.ascontiguousarray(np.concatenate([cell, cell.T, boxes]))


@lru_cache
def cell_units(box: Box) -> I32:
    """Return (S, 3) int32: the row, column and box of each cell, as positions in `unit_cells`."""
    units = unit_cells(box)
    table = np.empty((box.side**2, 3), np.int32)
    for position, cells in enumerate(units):
        table[cells, position // box.side] = position
    return table
