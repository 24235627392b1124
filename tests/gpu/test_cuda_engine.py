"""The engine on CUDA: near the CPU's numbers, and rows that do not depend on slot or company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eqr_ray.engine.torch_engine import TorchEngine
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec
from eqr_ray.types import HaltRule, Slice, Trajectories

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

SPEC = ModelSpec(
    task="sudoku6", rows=6, cols=6, box_rows=2, box_cols=3, vocab=7, model_vocab=7, token_map=tuple(range(7)),
    hidden=64, layers=2, heads=4, ff_width=128, noise=0.01,
)  # fmt: skip
POSITIONS = ("grid", "rope2d")


def engine(position: str, device: str, **options: object) -> TorchEngine:
    torch.manual_seed(0)
    spec = ModelSpec.from_json({**SPEC.to_json(), "position": position})
    model = EquilibriumReasoner(spec)
    torch.nn.init.normal_(model.q_head.weight)
    return TorchEngine(model, device=device, tile=32, **options)  # type: ignore[arg-type]


def orders(rows: list[int], until: int, halt: HaltRule | None = None) -> Slice:
    cells = {p: np.random.default_rng(p).integers(0, 7, 36, dtype=np.uint8) for p in rows}
    puzzle = np.array(rows, np.int64)
    return Slice(
        0, "r", puzzle, np.zeros(len(rows), np.int32), (puzzle + 1).astype(np.uint64), np.full(len(rows), until, np.int32),
        np.zeros(len(rows), np.int32), (halt or HaltRule(),), cells, np.zeros(0, np.int64),
    )  # fmt: skip


def bits(t: Trajectories, row: int) -> bytes:
    return b"".join(
        column[row].tobytes() for column in (t.depth, t.residual, t.logit_delta, t.q_halt, t.answer_key, t.status)
    )


@pytest.mark.parametrize("position", POSITIONS)
def test_cuda_agrees_with_the_cpu_within_rounding(position: str) -> None:
    rows = list(range(40))
    cpu = engine(position, "cpu").run(orders(rows, 4)).trajectories
    cuda = engine(position, "cuda").run(orders(rows, 4)).trajectories
    assert cuda.depth.tolist() == cpu.depth.tolist()
    np.testing.assert_allclose(cuda.residual, cpu.residual, rtol=2e-2)
    np.testing.assert_allclose(cuda.q_halt, cpu.q_halt, atol=0.2)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_on_cuda_does_not_depend_on_slot_or_company(position: str, dtype: str) -> None:
    rows = list(range(70))
    together = engine(position, "cuda", dtype=dtype).run(orders(rows, 12)).trajectories
    turned = engine(position, "cuda", dtype=dtype).run(orders(rows[::-1], 12)).trajectories
    assert [bits(together, k) for k in range(70)] == [bits(turned, 69 - k) for k in range(70)]
    alone = engine(position, "cuda", dtype=dtype).run(orders([33], 12)).trajectories
    assert bits(alone, 0) == bits(together, 33)


def test_legs_on_cuda_end_where_one_go_ends() -> None:
    rows, one_go, legs = list(range(50)), engine("grid", "cuda"), engine("grid", "cuda")
    for until in (3, 7):
        legs.run(orders(rows, until))
    first, second = legs.run(orders(rows, 13)).trajectories, one_go.run(orders(rows, 13)).trajectories
    assert [bits(first, k) for k in range(50)] == [bits(second, k) for k in range(50)]
