"""The seed of every trajectory, from which all its draws follow.

Invariants, asserted in tests/unit/coordinator/test_seeds.py: a seed depends on (run seed, question, index) alone, so
equal questions draw equal trajectories on any replica, in any order, after any loss; the trajectories of a puzzle have
distinct seeds.
"""

from __future__ import annotations

import numpy as np

from eqr_ray.types import I32, U64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_WORD = (1 << 64) - 1


def mix(words: U64) -> U64:
    """Scramble 64-bit words one to one: the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), (N,) to
    (N,)."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


def trajectory_seeds(run_seed: int, draw_keys: U64, index: I32) -> U64:
    """Return the seeds of N trajectories: `index` steps along the SplitMix64 stream that starts at (run seed, draw
    key).

    run_seed: any integer, taken modulo 2^64. draw_keys: (N,) digests of the questions. index: (N,) counted from 0.
    Since `mix` is one to one and the stream does not repeat within 2^64 steps, two trajectories of one question never
    share a seed.
    """
    run = mix(np.array([run_seed & _WORD], np.uint64) + _GOLDEN)
    return mix(mix(draw_keys ^ run) + (index.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
