"""The torch engine passes the engine contract on tiny networks of both forms, with one lane and with three."""

from __future__ import annotations

import shutil
from functools import lru_cache

import numpy as np
import pytest
import torch
import torch._dynamo.utils
from engine_contract import EngineContract, facts

from eqr_ray.engine.torch_engine import TorchEngine
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec
from eqr_ray.types import U8

QUESTIONS = list(np.random.default_rng(3).integers(0, 5, (4, 16), dtype=np.uint8))
BOARD = {
    "task": "sudoku4",
    "rows": 4,
    "cols": 4,
    "vocab": 5,
    "model_vocab": 5,
    "token_map": (0, 1, 2, 3, 4),
    "box_rows": 2,
    "box_cols": 2,
}
COMPACT = ModelSpec(**BOARD, hidden=16, layers=1, heads=2, ff_width=24, position="grid", noise=0.05)
PUBLISHED = ModelSpec(
    **BOARD, form="hierarchical", mixer="mlp", position="none", hidden=12, layers=1, heads=2, token_width=20, ff_width=16,
    H_cycles=2, L_cycles=2, prefix_tokens=3, noise=0.05,
)  # fmt: skip
UNITS = ModelSpec(**BOARD, mixer="units", position="none", hidden=12, layers=2, token_width=8, ff_width=16, noise=0.05)


def network(spec: ModelSpec) -> EquilibriumReasoner:
    """Build a network with fixed random weights and a q head that says something."""
    torch.manual_seed(5)
    model = EquilibriumReasoner(spec)
    with torch.no_grad():
        model.q_head.weight.normal_()
        model.q_head.bias.zero_()
    return model


class TorchContract(EngineContract):
    depth = 8
    n_many = 8
    spec = COMPACT
    options: dict[str, object] = {"tile": 4}  # noqa: RUF012

    def make_engine(self) -> TorchEngine:
        return TorchEngine(network(self.spec), **self.options)  # type: ignore[arg-type]

    def questions(self) -> list[U8]:
        return QUESTIONS


class TestCompactForm(TorchContract):
    spec = COMPACT


class TestPublishedForm(TorchContract):
    spec = PUBLISHED
    options = {"tile": 5}  # noqa: RUF012


class TestUnits(TorchContract):
    spec = UNITS


@lru_cache(maxsize=1)
def compiled_network() -> EquilibriumReasoner:
    """Return the network of an engine that compiled it; the engines of a test class share it, for compiling takes seconds."""
    return TorchEngine(network(UNITS), tile=4, compiled=True).model


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
class TestCompiled(TorchContract):
    spec = UNITS

    def make_engine(self) -> TorchEngine:
        return TorchEngine(compiled_network(), tile=4, threads=2)

    def test_signals_are_those_of_the_engine_as_it_is_written_up_to_rounding(self) -> None:
        fused = self.make_engine().run(self.orders(self.rows(), self.depth)).trajectories
        plain = TorchEngine(network(UNITS), tile=4).run(self.orders(self.rows(), self.depth)).trajectories
        assert fused.depth.tolist() == plain.depth.tolist()
        np.testing.assert_allclose(fused.residual, plain.residual, rtol=1e-3)
        np.testing.assert_allclose(fused.q_halt, plain.q_halt, rtol=1e-2, atol=1e-3)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


class TestThreeLanes(TorchContract):
    options = {"tile": 2, "threads": 3}  # noqa: RUF012


class TestLazySynchronisation(TorchContract):
    """Rows that finish between two synchronisations stand still."""

    options = {"tile": 4, "sync_every": 5}  # noqa: RUF012


class TestHalfPrecision(TorchContract):
    options = {"tile": 4, "dtype": "bfloat16"}  # noqa: RUF012


class TestCrowdedPool(TorchContract):
    """Nearly every parked trajectory is pushed out and restarts from its seed."""

    options = {"tile": 4, "park_bytes": 1}  # noqa: RUF012

    def test_a_lost_trajectory_restarts_elsewhere_to_the_same_state(self) -> None:
        rows, engine = self.rows(), self.make_engine()
        engine.run(self.orders(rows, 5))
        again = engine.run(self.orders(rows, self.depth))
        assert again.nfe_computed > (self.depth - 5) * len(rows)
        assert facts(again) == facts(self.make_engine().run(self.orders(rows, self.depth)))
