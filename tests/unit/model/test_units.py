"""The mixer over units: what it must not tell apart, what it must, and that every token hears of its units alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec
from eqr_ray.model.units import UnitMixer, given

SPEC = ModelSpec(
    task="sudoku6", rows=6, cols=6, box_rows=2, box_cols=3, vocab=7, model_vocab=7, token_map=tuple(range(7)),
    mixer="units", position="none", hidden=16, layers=2, token_width=8, ff_width=24, L_cycles=2,
)  # fmt: skip
CELLS = torch.arange(36).view(6, 6)


def network(spec: ModelSpec = SPEC) -> EquilibriumReasoner:
    torch.manual_seed(0)
    made = EquilibriumReasoner(spec)
    with torch.no_grad():
        made.q_head.weight.normal_()  # the halting head starts out at zero
    return made.requires_grad_(False)


def state() -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, SPEC.tokens, SPEC.hidden, generator=made), torch.randint(0, 7, (2, 36), generator=made)


def answered(model: EquilibriumReasoner, z: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (N, S, vocab) and halting logits (N,) of an iteration."""
    z = model.iterate(z, model.embed(cells))
    return model.logits(z), model.q_halt(z)


def test_symbols_are_interchangeable() -> None:
    model, (z, cells) = network(), state()
    renamed = torch.tensor([0, 3, 5, 1, 6, 2, 4])  # symbol s is called renamed[s]
    back = renamed[1:] - 1
    moved = torch.empty_like(z).view(2, 36, 6, 16)
    moved[:, :, back] = z.view(2, 36, 6, 16)
    logits, q_halt = answered(model, z, cells)
    found, found_q = answered(model, moved.view(z.shape), renamed[cells])
    torch.testing.assert_close(found[..., renamed], logits)
    torch.testing.assert_close(found_q, q_halt)


EXCHANGES = {
    "rows of a band": CELLS[[1, 0, 2, 3, 4, 5]], "columns of a stack": CELLS[:, [2, 1, 0, 3, 4, 5]],
    "bands": CELLS[[2, 3, 0, 1, 4, 5]], "stacks": CELLS[:, [3, 4, 5, 0, 1, 2]],
}  # fmt: skip
OTHERS = {
    "rows of two bands": CELLS[[2, 1, 0, 3, 4, 5]], "rows and columns": CELLS.T,
    "two cells": CELLS.flatten()[[1, 0, *range(2, 36)]].view(6, 6),
}  # fmt: skip


@pytest.mark.parametrize("name", [*EXCHANGES, *OTHERS])
def test_cells_are_told_apart_by_their_units_alone(name: str) -> None:
    model, (z, cells) = network(), state()
    order = {**EXCHANGES, **OTHERS}[name].flatten()
    logits, _ = answered(model, z, cells)
    found, _ = answered(model, z.view(2, 36, 6, 16)[:, order].view(z.shape), cells[:, order])
    assert torch.allclose(found, logits[:, order], atol=1e-4) == (name in EXCHANGES)


def test_a_token_hears_of_its_cell_and_of_its_symbol_in_its_units() -> None:
    torch.manual_seed(2)
    mixer = UnitMixer(SPEC).requires_grad_(False)
    mixer.get_parameter("write.3.weight").zero_()  # the whole board
    h = torch.randn(1, SPEC.tokens, 16)
    other = h.clone()
    other.view(1, 6, 6, 6, 16)[0, 2, 4, 1] += 1.0  # row 2, column 4, symbol 1
    changed = (mixer(other) - mixer(h)).abs().amax(-1).view(6, 6, 6) > 1e-6
    heard = {(r, c, 1) for r in range(6) for c in range(6) if r == 2 or c == 4 or (r in (2, 3) and c in (3, 4, 5))}
    assert {tuple(place) for place in changed.nonzero().tolist()} == heard | {(2, 4, s) for s in range(6)}


def test_means_by_hand() -> None:
    spec = dataclasses.replace(SPEC, task="maze2x2", rows=2, cols=2, box_rows=0, box_cols=0, vocab=3, model_vocab=3,
                               token_map=(0, 1, 2), hidden=1, token_width=1)  # fmt: skip
    mixer = UnitMixer(spec).requires_grad_(False)
    assert len(mixer.write) == 4
    mixer.read.weight.fill_(1.0)
    for k, weight in enumerate((1.0, 10.0, 100.0, 1000.0)):
        mixer.get_parameter(f"write.{k}.weight").fill_(weight)
    h = torch.tensor([1.0, -2.0, 3.0, 0.5, 2.0, 1.5, -1.0, 4.0])
    v = torch.nn.functional.silu(h).view(2, 2, 2)
    row, col, cell = v.mean(1, keepdim=True), v.mean(0, keepdim=True), v.mean(2, keepdim=True)
    expected = row + 10 * col + 100 * cell + 1000 * v.mean()
    torch.testing.assert_close(mixer(h.view(1, 8, 1)).view(2, 2, 2), expected)


def test_a_question_says_of_every_symbol_whether_it_or_another_is_given() -> None:
    kinds = given(torch.tensor([[0, 2], [3, 0]], dtype=torch.uint8), 3)
    assert kinds.tolist() == [[0, 0, 0, 2, 1, 2], [2, 2, 1, 0, 0, 0]]


def test_no_answer_leaves_a_cell_blank() -> None:
    model, (z, cells) = network(), state()
    logits, q_halt = answered(model, z, cells)
    assert logits.shape == (2, 36, 7)
    assert logits.argmax(-1).min() >= 1
    assert q_halt.shape == (2,)


@pytest.mark.parametrize("task", ["sudoku4", "sudoku9"])
def test_weights_do_not_depend_on_the_size_of_the_board(task: str) -> None:
    side, box = (4, 2) if task == "sudoku4" else (9, 3)
    spec = dataclasses.replace(SPEC, task=task, rows=side, cols=side, box_rows=box, box_cols=box, vocab=side + 1,
                               model_vocab=side + 1, token_map=tuple(range(side + 1)))  # fmt: skip
    other = EquilibriumReasoner(spec)
    other.load_state_dict(network().state_dict())
    assert other.logits(torch.randn(1, 1, spec.tokens, 16)).shape == (1, side * side, side + 1)
