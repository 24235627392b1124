"""A mixer over the units of a grid whose symbols are interchangeable: its tokens are pairs of a cell and a symbol.

A token exchanges means with the tokens of its cell, with those of its symbol in its row, its column and its box, and with the whole board.
Every weight is shared by all cells and symbols, so the network is equivariant to relabelling and to any exchange of cells that keeps the
units; interchangeable symbols as in arXiv 2603.02193, means over the axes of a table as in arXiv 1803.02879. That is a prior of the
architecture, to be stated in a checkpoint's card; no rule of a puzzle is in it. Invariants, asserted in tests/unit/model/test_units.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eqr_ray.model.layers import linear
from eqr_ray.model.spec import ModelSpec

GIVEN = ("blank", "this symbol", "another symbol")
"""What a question says of a cell and a symbol: the embedding has a row for each."""

BLANK_LOGIT = -20.0
"""Logit of a blank, which this network cannot answer with."""


def given(cells: Tensor, symbols: int) -> Tensor:
    """Return (N, T) int32 places in `GIVEN` of the tokens of questions (N, S) uint8."""
    symbol = torch.arange(1, symbols + 1, dtype=cells.dtype, device=cells.device)
    cells = cells.unsqueeze(-1)
    return ((cells > 0).int() * (2 - (cells == symbol).int())).flatten(1)


class UnitMixer(nn.Module):
    """Means of silu(W h) over every unit of a token, each kind of unit mapped back by weights of its own."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        kinds = 5 if spec.box_rows else 4
        self.read = linear(spec.hidden, kinds * spec.token_width)
        self.write = nn.ModuleList(linear(spec.token_width, spec.hidden) for _ in range(kinds))

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, T, d) to (N, T, d)."""
        spec = self.spec
        read = F.silu(self.read(h)).view(len(h), spec.rows, spec.cols, spec.symbols, -1)
        row, col, cell, board, *box = read.chunk(len(self.write), dim=-1)
        to_row, to_col, to_cell, to_board, *to_box = self.write
        mixed = to_row(row.mean(2, keepdim=True)) + to_col(col.mean(1, keepdim=True))
        mixed = mixed + to_cell(cell.mean(3, keepdim=True)) + to_board(board.mean((1, 2, 3), keepdim=True))
        if box:
            tiles = (
                len(h),
                spec.rows // spec.box_rows,
                spec.box_rows,
                spec.cols // spec.box_cols,
                spec.box_cols,
                spec.symbols,
                -1,
            )
            mixed = mixed.reshape(tiles) + to_box[0](box[0].reshape(tiles).mean((2, 4), keepdim=True))
        out: Tensor = mixed.reshape(h.shape)
        return out
