from __future__ import annotations

import numpy as np
import pytest
import torch
from trace_builders import QUESTIONS, tiny_engine, tiny_network

from eqr_ray.coordinator import trajectory_seeds
from eqr_ray.engine.recording import Recorder
from eqr_ray.types import HaltRule, Slice

DEPTH = 7


def orders(until: int, seeds: np.ndarray) -> Slice:
    n = len(QUESTIONS)
    return Slice(
        0, "r", np.arange(n), np.zeros(n, np.int32), seeds, np.full(n, until, np.int32), np.zeros(n, np.int32), (HaltRule(),),
        dict(enumerate(QUESTIONS)), np.zeros(0, np.int64),
    )  # fmt: skip


def test_every_column_is_what_the_engine_reports_at_that_depth() -> None:
    seeds = trajectory_seeds(3, np.arange(len(QUESTIONS), dtype=np.uint64), np.zeros(len(QUESTIONS), np.int32))
    found = Recorder(tiny_network(), tile=3).record(QUESTIONS, seeds, DEPTH)
    engine = tiny_engine()
    for depth in range(1, DEPTH + 1):
        result = engine.run(orders(depth, seeds))
        t = result.trajectories
        for name in ("residual", "logit_delta", "q_halt", "answer_key"):
            assert getattr(found, name)[:, depth - 1].tobytes() == getattr(t, name).tobytes(), (name, depth)
        for row, key in enumerate(t.answer_key.tolist()):
            assert np.array_equal(found.tokens[row, depth - 1], result.answers[key])
    assert found.depth.tolist() == [DEPTH] * len(QUESTIONS)


def test_a_divergence_ends_a_recording() -> None:
    model = tiny_network()
    with torch.no_grad():
        model.lm_head.weight[:] = torch.inf
    seeds = np.arange(len(QUESTIONS), dtype=np.uint64)
    found = Recorder(model, tile=2).record(QUESTIONS, seeds, DEPTH)
    assert found.diverged.all()
    assert found.depth.tolist() == [1] * len(QUESTIONS)
    assert np.isnan(found.residual[:, 1:]).all()


@pytest.mark.parametrize("tile", [1, 5])
def test_the_tile_of_a_recorder_may_hold_fewer_or_more_rows(tile: int) -> None:
    seeds = np.arange(len(QUESTIONS), dtype=np.uint64)
    found = Recorder(tiny_network(), tile=tile).record(QUESTIONS, seeds, 3)
    assert (found.depth == 3).all()
    assert np.isfinite(found.residual[:, 2]).all()
