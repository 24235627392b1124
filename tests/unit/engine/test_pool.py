"""Parked trajectories come out as they went in, the longest parked go first, and retired puzzles leave nothing behind."""

from __future__ import annotations

from dataclasses import fields

import torch

from eqr_ray.engine.rows import Pool, Rows
from eqr_ray.model.spec import ModelSpec

SPEC = ModelSpec(
    task="sudoku4", rows=4, cols=4, vocab=5, model_vocab=5, token_map=(0, 1, 2, 3, 4), hidden=8, heads=2, layers=1
)
CPU = torch.device("cpu")


def filled(n: int, seed: int = 0) -> Rows:
    """Return n rows of random state."""
    rows = Rows.blank(n, SPEC, CPU, torch.float32)
    made = torch.Generator().manual_seed(seed)
    for field in fields(rows):
        column = getattr(rows, field.name)
        if column.is_floating_point():
            column.copy_(torch.randn(column.shape, generator=made))
        else:
            column.copy_(torch.randint(0, 3, column.shape, generator=made))
    return rows


def pool_of(capacity: int) -> Pool:
    return Pool(SPEC, capacity, CPU, torch.float32)


def park(pool: Pool, names: list[tuple[int, int]], rows: Rows, depth: int = 4) -> None:
    pool.park(names, [depth] * len(names), rows, torch.arange(len(names)))


def test_a_parked_row_comes_out_as_it_went_in() -> None:
    pool, rows = pool_of(100), filled(5)
    names = [(7, k) for k in range(5)]
    park(pool, names, rows)
    park(pool, [(8, 0)], filled(1, seed=9))
    back = Rows.blank(5, SPEC, CPU, torch.float32)
    places = [pool.take(*name) for name in reversed(names)]
    back.put(torch.arange(5), pool.rows, torch.tensor(places))
    for field in fields(rows):
        assert torch.equal(getattr(back, field.name), getattr(rows, field.name).flip(0))


def test_taken_rows_are_forgotten_and_their_places_used_again() -> None:
    pool = pool_of(3)
    for round_ in range(20):
        park(pool, [(round_, 0), (round_, 1)], filled(2), depth=round_ + 1)
        assert pool.depth_of(round_, 1) == round_ + 1
        pool.take(round_, 0)
        pool.take(round_, 1)
        assert pool.depth_of(round_, 1) is None
        assert len(pool) == 0
    assert len(pool.rows.depth) <= 3


def test_the_longest_parked_go_first_when_the_pool_is_full() -> None:
    pool = pool_of(4)
    park(pool, [(0, 0), (1, 0), (2, 0)], filled(3))
    park(pool, [(3, 0), (4, 0), (5, 0)], filled(3))
    assert [pool.depth_of(p, 0) is not None for p in range(6)] == [False, False, True, True, True, True]
    assert len(pool) == 4
    assert len(pool.rows.depth) <= 4


def test_parking_more_than_the_pool_holds_keeps_the_last_of_them() -> None:
    pool, rows = pool_of(2), filled(5)
    park(pool, [(k, 0) for k in range(5)], rows)
    assert [pool.depth_of(k, 0) for k in range(5)] == [None, None, None, 4, 4]
    assert torch.equal(pool.rows.z[pool.take(4, 0)], rows.z[4])


def test_parking_a_name_again_replaces_its_row() -> None:
    pool, later = pool_of(4), filled(1, seed=5)
    park(pool, [(0, 0)], filled(1))
    park(pool, [(0, 0)], later, depth=9)
    assert (len(pool), pool.depth_of(0, 0)) == (1, 9)
    assert torch.equal(pool.rows.z[pool.take(0, 0)], later.z[0])


def test_a_retired_puzzle_leaves_nothing_behind() -> None:
    pool = pool_of(10)
    park(pool, [(0, 0), (0, 1), (1, 0)], filled(3))
    pool.retire(0)
    pool.retire(99)
    assert (pool.depth_of(0, 0), pool.depth_of(0, 1), pool.depth_of(1, 0)) == (None, None, 4)
    assert list(pool.places) == [1]
    pool.clear()
    assert (len(pool), pool.places, len(pool.free)) == (0, {}, len(pool.rows.depth))
