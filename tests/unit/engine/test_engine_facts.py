"""What the torch engine promises beyond the engine contract: accounting, definitions, divergence, and bits at real shapes."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from eqr_ray.engine.draws import normals
from eqr_ray.engine.lane import answer_keys, window_mean
from eqr_ray.engine.torch_engine import TorchEngine
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec
from eqr_ray.types import U8, HaltRule, Slice, SliceResult, Status

BOARD = {"task": "sudoku4", "rows": 4, "cols": 4, "vocab": 5, "model_vocab": 5, "token_map": (0, 1, 2, 3, 4)}
TINY = ModelSpec(**BOARD, hidden=8, layers=1, heads=2, ff_width=8, noise=0.05)  # type: ignore[arg-type]
REAL = ModelSpec(
    task="sudoku9", rows=9, cols=9, box_rows=3, box_cols=3, vocab=10, model_vocab=10, token_map=tuple(range(10)),
    hidden=128, layers=2, heads=4, ff_width=256, position="grid",
)  # fmt: skip


def network(spec: ModelSpec = TINY) -> EquilibriumReasoner:
    torch.manual_seed(2)
    model = EquilibriumReasoner(spec)
    torch.nn.init.normal_(model.q_head.weight)
    return model


def question(spec: ModelSpec, n: int) -> U8:
    return np.random.default_rng(n).integers(0, spec.vocab, spec.cells, dtype=np.uint8)


def orders(
    spec: ModelSpec,
    rows: list[tuple[int, int]],
    until: int | list[int],
    halt: HaltRule | None = None,
    slice_id: int = 0,
) -> Slice:
    puzzle, index = np.array([p for p, _ in rows], np.int64), np.array([i for _, i in rows], np.int32)
    return Slice(
        slice_id, "r", puzzle, index, (puzzle * 1000 + index + 1).astype(np.uint64),
        np.broadcast_to(np.array(until, np.int32), len(rows)).copy(), np.zeros(len(rows), np.int32), (halt or HaltRule(),),
        {p: question(spec, p) for p in set(puzzle.tolist())}, np.zeros(0, np.int64),
    )  # fmt: skip


def row_bits(result: SliceResult, row: int) -> tuple[object, ...]:
    t = result.trajectories
    return tuple(
        column[row].tobytes() for column in (t.depth, t.residual, t.logit_delta, t.q_halt, t.answer_key, t.status)
    )


def test_report_equals_the_network_stepped_by_hand() -> None:
    model, rows = network(), [(3, 0), (4, 1)]
    found = TorchEngine(network(), tile=2).run(orders(TINY, rows, 5)).trajectories
    keys = torch.tensor([3001, 4002])
    with torch.no_grad():
        x = model.embed(torch.from_numpy(np.stack([question(TINY, 3), question(TINY, 4)])))
        z = normals(keys, torch.zeros(2), 0, (1, 16, 8), truncated=True)
        moves, logits = [], [torch.zeros(2, 16, 5)]
        for depth in range(1, 6):
            at = torch.full((2,), depth)
            following = model.iterate(z, x, lambda site, at=at: normals(keys, at, site, (16, 8)))
            moves.append((following - z)[:, 0].square().mean((1, 2)).sqrt())
            z = following
            logits.append(model.logits(z))
    deltas = [(b - a).square().mean((1, 2)).sqrt() for a, b in pairwise(logits[2:])]
    torch.testing.assert_close(torch.from_numpy(found.residual), torch.stack(moves[-3:]).mean(0))
    torch.testing.assert_close(torch.from_numpy(found.logit_delta), torch.stack(deltas[-3:]).mean(0))
    torch.testing.assert_close(torch.from_numpy(found.q_halt), model.q_halt(z).detach())
    assert found.answer_key.tolist() == answer_keys(logits[-1].argmax(-1)).numpy().view(np.uint64).tolist()


def test_initial_latents_and_noise_scale_follow_the_spec_and_the_option() -> None:
    quiet = TorchEngine(network(), tile=2, beta=0.0).run(orders(TINY, [(0, 0)], 60)).trajectories
    noisy = TorchEngine(network(), tile=2, beta=0.5).run(orders(TINY, [(0, 0)], 60)).trajectories
    assert quiet.residual[0] < 0.05 < 0.3 < noisy.residual[0]


def test_padding_rows_count_as_computed() -> None:
    engine = TorchEngine(network(), tile=4)
    assert engine.run(orders(TINY, [(0, 0)], 6)).nfe_computed == 6 * 4
    assert engine.run(orders(TINY, [(1, i) for i in range(5)], 6)).nfe_computed == 2 * 6 * 4
    lazy = TorchEngine(network(), tile=4, sync_every=4)
    assert lazy.run(orders(TINY, [(0, 0)], 6)).nfe_computed == 8 * 4


def test_answer_keys_tell_answers_apart_and_nothing_else() -> None:
    tokens = torch.randint(0, 5, (5000, 16), generator=torch.Generator().manual_seed(0))
    keys = answer_keys(tokens)
    assert len(keys.unique()) == len(tokens.unique(dim=0))
    assert torch.equal(answer_keys(tokens.to(torch.uint8)), keys)
    swapped = tokens.clone()
    swapped[:, [0, 1]] = tokens[:, [1, 0]]
    assert ((answer_keys(swapped) == keys) == (tokens[:, 0] == tokens[:, 1])).all()


def test_window_mean_has_the_same_bits_for_any_number_of_rows() -> None:
    columns = torch.randn(1000, 3, generator=torch.Generator().manual_seed(1))
    whole = window_mean(columns)
    assert all(torch.equal(window_mean(columns[k : k + 1]), whole[k : k + 1]) for k in range(0, 1000, 7))


def test_a_row_that_diverges_says_so_and_leaves_its_neighbours_alone() -> None:
    model = network()
    with torch.no_grad():
        # A token that only one question holds is embedded as infinity.
        model.embedding[4] = torch.inf
    cells = {p: np.where(question(TINY, p) == 4, 1, question(TINY, p)).astype(np.uint8) for p in range(4)}
    poisoned = cells | {2: np.full(16, 4, np.uint8)}
    rows = [(p, 0) for p in range(4)]
    sound, mixed = orders(TINY, rows, 6), orders(TINY, rows, 6)
    sound.cells.update(cells)
    mixed.cells.update(poisoned)
    healthy = TorchEngine(model, tile=4).run(sound)
    hurt = TorchEngine(model, tile=4).run(mixed)
    t = hurt.trajectories
    assert (healthy.trajectories.status == Status.RUNNING).all()
    assert [Status(code) for code in t.status.tolist()] == [
        Status.RUNNING,
        Status.RUNNING,
        Status.DIVERGED,
        Status.RUNNING,
    ]
    assert (t.depth[2], t.residual[2], t.logit_delta[2], t.q_halt[2]) == (1, np.inf, np.inf, -np.inf)
    assert all(row_bits(healthy, row) == row_bits(hurt, row) for row in (0, 1, 3))


def test_a_slot_is_clean_after_a_row_diverged_in_it() -> None:
    model = network()
    with torch.no_grad():
        model.embedding[4] = torch.inf
    engine = TorchEngine(model, tile=1)
    first, poison = orders(TINY, [(0, 0)], 5), orders(TINY, [(9, 0)], 5)
    first.cells[0] = np.ones(16, np.uint8)
    poison.cells[9] = np.full(16, 4, np.uint8)
    before = engine.run(first)
    assert engine.run(poison).trajectories.status.tolist() == [Status.DIVERGED]
    restarted = orders(TINY, [(0, 0)], 3)
    restarted.cells[0] = first.cells[0]
    engine.run(restarted)
    assert row_bits(engine.run(first), 0) == row_bits(before, 0)


def test_a_diverged_row_never_halts() -> None:
    model = network()
    with torch.no_grad():
        model.embedding[:] = torch.nan
    rule = HaltRule(residual_below=float("inf"), stable_for=1)
    t = TorchEngine(model, tile=2).run(orders(TINY, [(0, 0), (1, 0)], 4, rule)).trajectories
    assert t.status.tolist() == [Status.DIVERGED] * 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_at_real_shapes_have_the_same_bits_in_every_slot_and_company(dtype: str) -> None:
    rows = [(p, 0) for p in range(4)]
    engine = TorchEngine(network(REAL), tile=4, dtype=dtype)
    together = engine.run(orders(REAL, rows, 6))
    turned = TorchEngine(network(REAL), tile=4, dtype=dtype).run(orders(REAL, rows[2:] + rows[:2], 6))
    assert [row_bits(together, k) for k in (2, 3, 0, 1)] == [row_bits(turned, k) for k in range(4)]
    alone = TorchEngine(network(REAL), tile=4, dtype=dtype, threads=2).run(orders(REAL, rows[3:], 6))
    assert row_bits(alone, 0) == row_bits(together, 3)


def test_cells_that_were_never_given_are_named() -> None:
    missing = orders(TINY, [(5, 0)], 2)
    missing.cells.clear()
    with pytest.raises(ValueError, match="orders puzzle 5, whose cells"):
        TorchEngine(network()).run(missing)


def test_a_reset_engine_starts_afresh() -> None:
    engine = TorchEngine(network(), tile=2)
    first = engine.run(orders(TINY, [(0, 0)], 4))
    engine.reset()
    again = orders(TINY, [(0, 0)], 4)
    again.cells[0] = question(TINY, 77)
    assert row_bits(engine.run(again), 0) != row_bits(first, 0)
    forgotten = orders(TINY, [(0, 0)], 4)
    forgotten.cells.clear()
    engine.reset()
    with pytest.raises(ValueError, match="whose cells"):
        engine.run(forgotten)


def test_trajectories_differ_by_their_random_start_and_are_one_without_it() -> None:
    for random_init, distinct in ((True, 3), (False, 1)):
        model = network(dataclasses.replace(TINY, noise=0.0, random_init=random_init))
        result = TorchEngine(model).run(orders(model.spec, [(0, 0), (0, 1), (0, 2)], 3))
        assert len(set(result.trajectories.residual.tolist())) == distinct
