"""Easier versions of puzzles, with the same answer where the puzzle is left: what the curriculum draws.

Invariants, asserted in tests/unit/training/test_easing.py: an easier puzzle is one with an answer; with nothing to ease it is the puzzle
itself; a cell stays open to be answered.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from eqr_ray.puzzles.maze import OPEN, WALL


def reveal(question: Tensor, answer: Tensor, count: Tensor, generator: Generator) -> Tensor:
    """Return (n, S) uint8 questions with `count` (n,) of their blank cells solved, drawn at random; one stays blank."""
    blank = question == 0
    order = torch.where(blank, torch.rand(question.shape, generator=generator, device=question.device), 2.0)
    rank = order.argsort(dim=1).argsort(dim=1)
    most = torch.minimum(count, blank.sum(1) - 1)
    return torch.where(blank & (rank < most[:, None]), answer, question)


def fill_dead_ends(question: Tensor, answer: Tensor, count: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return (n, S) uint8 mazes and answers whose dead ends are walled up from their tips, `count` (n,) cells deep."""
    field = question.view(-1, 1, *shape)
    around = torch.tensor([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=torch.float32, device=question.device)[None, None]
    for step in range(int(count.max()) if len(count) else 0):
        free = F.conv2d((field != WALL).float(), around, padding=1)
        tip = (field == OPEN) & (free < 1.5) & (step < count)[:, None, None, None]
        field = torch.where(tip, WALL, field)
    easier = field.reshape(question.shape)
    return easier, torch.where(easier == WALL, WALL, answer)
