"""Counter-based random draws, keyed by (trajectory seed, iteration, site): the same bits on every device, in every
batch and slot.

A 64-bit counter hash (the SplitMix64 finaliser, Steele, Lea and Flood 2014) gives four 16-bit numbers, and each looks
up a quantile of the wanted distribution. Integer arithmetic and a table are exact everywhere, where log and cos are
not. Invariants, asserted in tests/unit/engine/test_draws.py: a draw depends on its key alone; keys that differ in one
part give unrelated draws; moments are those of the distribution.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from eqr_ray.model.layers import TRUNCATED_STD

GOLDEN = 0x9E3779B97F4A7C15 - 2**64
MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
MIX_2 = 0x94D049BB133111EB - 2**64
SITES = 4096
"""Draws that one iteration may ask for; site 0 of iteration 0 is the initial latent."""


def _shift_right(x: Tensor, n: int) -> Tensor:
    # int64 shifts copy the sign; the mask makes the shift that of an unsigned number.
    return (x >> n) & ((1 << (64 - n)) - 1)


def mix(x: Tensor) -> Tensor:
    """Return the SplitMix64 finaliser of an int64 tensor, element by element, modulo 2^64."""
    x = (x ^ _shift_right(x, 30)) * MIX_1
    x = (x ^ _shift_right(x, 27)) * MIX_2
    return x ^ _shift_right(x, 31)


@lru_cache(maxsize=8)
def quantiles(truncated: bool, device: torch.device) -> Tensor:
    """Return (65536,) float32 quantiles of a unit normal, or of one cut at two sigma and rescaled to unit variance."""
    share = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536
    if truncated:
        low = torch.special.ndtr(torch.tensor(-2.0, dtype=torch.float64))
        table: Tensor = torch.special.ndtri(low + share * (1 - 2 * low)) / TRUNCATED_STD
    else:
        table = torch.special.ndtri(share)
    return table.float().to(device)


def normals(keys: Tensor, iteration: Tensor, site: int, shape: tuple[int, ...], truncated: bool = False) -> Tensor:
    """Return (N, *shape) float32 unit normal draws.

    `keys` (N,) int64 are trajectory seeds, `iteration` (N,) int the iteration that draws, `site` which draw of it.
    """
    n = 1
    for size in shape:
        n *= size
    row = mix(keys + GOLDEN * (iteration.long() * SITES + site + 1))
    words = torch.arange(-(-n // 4), device=keys.device, dtype=torch.int64) * GOLDEN
    shorts = mix(row[:, None] + words[None, :]).view(torch.int16)[:, :n]
    table = quantiles(truncated, keys.device)
    return table.index_select(0, shorts.reshape(-1).int() + 32768).view(len(keys), *shape)
