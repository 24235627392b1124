"""Draws depend on their key alone and have the moments of a normal, or of one cut at two sigma."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eqr_ray.engine.draws import SITES, mix, normals, quantiles


def draw(key: int, iteration: int = 1, site: int = 0, n: int = 4096) -> torch.Tensor:
    return normals(torch.tensor([key]), torch.tensor([iteration], dtype=torch.int32), site, (n,))[0]


def test_known_values_are_drawn_again_on_every_machine() -> None:
    found = normals(torch.tensor([1, -7]), torch.tensor([1, 5], dtype=torch.int32), 3, (2, 3))
    expected = [
        [
            [-0.16643694043159485, -0.46118125319480896, -1.4199426174163818],
            [-0.10743489861488342, -0.3424937129020691, -0.7181886434555054],
        ],
        [
            [-0.18500424921512604, 2.3877360820770264, -0.10362718999385834],
            [-1.0852367877960205, -1.5508989095687866, 0.4152023494243622],
        ],
    ]
    np.testing.assert_array_equal(found.numpy().view(np.uint32), np.array(expected, np.float32).view(np.uint32))


def test_mix_is_the_splitmix64_finaliser() -> None:
    # First outputs of SplitMix64 from state 0: the finaliser of 1, 2 and 3 times the golden gamma.
    golden = np.uint64(0x9E3779B97F4A7C15)
    states = np.arange(1, 4, dtype=np.uint64) * golden
    found = mix(torch.from_numpy(states.view(np.int64))).numpy().view(np.uint64)
    assert [hex(value) for value in found.tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


@pytest.mark.parametrize("truncated", [False, True])
def test_moments_are_those_of_a_unit_normal(truncated: bool) -> None:
    x = normals(torch.arange(64), torch.full((64,), 9, dtype=torch.int32), 2, (64, 100), truncated).double()
    n = x.numel()
    assert abs(x.mean()) < 4 / n**0.5
    assert abs(x.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((x**3).mean()) < 4 * (15 / n) ** 0.5
    if truncated:
        assert x.abs().max() <= 2 / 0.8796
        assert abs((x**4).mean() - 2.3718) < 0.03
    else:
        assert abs((x**4).mean() - 3) < 4 * (96 / n) ** 0.5
        assert 4 < x.abs().max() < 4.5


@pytest.mark.parametrize("truncated", [False, True])
def test_quantiles_are_symmetric_and_rise(truncated: bool) -> None:
    table = quantiles(truncated, torch.device("cpu"))
    torch.testing.assert_close(table, -table.flip(0), rtol=1e-5, atol=1e-6)
    assert (table.diff() > 0).all()


def test_a_draw_does_not_depend_on_batch_slot_or_the_rest_of_its_shape() -> None:
    keys, depths = torch.tensor([5, 6, 7, 8]), torch.tensor([3, 9, 1, 4], dtype=torch.int32)
    together = normals(keys, depths, 1, (6, 10))
    for row in range(4):
        alone = normals(keys[row : row + 1], depths[row : row + 1], 1, (6, 10))
        assert torch.equal(alone[0], together[row])
    assert torch.equal(normals(keys.flip(0), depths.flip(0), 1, (6, 10)).flip(0), together)
    assert torch.equal(normals(keys, depths, 1, (60,)).view(4, 6, 10), together)


@pytest.mark.parametrize(
    "other", [{"key": 124}, {"iteration": 2}, {"site": 1}, {"key": 123 + 2**32}, {"site": SITES - 1}]
)
def test_keys_that_differ_in_one_part_give_unrelated_draws(other: dict[str, int]) -> None:
    first, second = draw(123), draw(**{"key": 123, **other})
    # A lag as well: neighbouring counters must not give the same numbers shifted.
    for lag in (0, 1, 4, 16):
        a, b = first[: 4096 - lag], second[lag:]
        assert abs(float((a * b).mean())) < 5 / 4096**0.5
        assert (a == b).double().mean() < 0.002


def test_last_site_of_an_iteration_is_not_the_first_of_the_next() -> None:
    assert not torch.equal(draw(1, iteration=1, site=SITES - 1), draw(1, iteration=2, site=0))


def test_numbers_of_one_draw_are_independent_of_each_other() -> None:
    x = draw(77, n=65536)
    for lag in (1, 2, 3, 4, 5, 8, 64):
        assert abs(float((x[lag:] * x[:-lag]).mean())) < 5 / 65536**0.5
