from __future__ import annotations

import numpy as np

from eqr_ray.coordinator.seeds import mix, trajectory_seeds


def seeds(run_seed: int, draw_key: int, index: list[int]) -> list[int]:
    keys = np.full(len(index), draw_key, np.uint64)
    return trajectory_seeds(run_seed, keys, np.array(index, np.int32)).tolist()


def test_mix_is_the_published_splitmix64() -> None:
    # First outputs of SplitMix64 from state 1234567, as in its public test vectors.
    golden = np.uint64(0x9E3779B97F4A7C15)
    state = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * golden
    assert mix(state).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_seed_does_not_depend_on_its_neighbours() -> None:
    assert seeds(5, 77, [0, 3, 9])[1] == seeds(5, 77, [3])[0]


def test_run_seed_question_and_index_all_matter() -> None:
    first = seeds(5, 77, [0])
    assert first != seeds(6, 77, [0])
    assert first != seeds(5, 78, [0])
    assert first != seeds(5, 77, [1])


def test_any_integer_is_a_run_seed() -> None:
    assert seeds(-1, 77, [0]) == seeds(2**64 - 1, 77, [0])
    assert seeds(2**70 + 5, 77, [0]) == seeds(5, 77, [0])


def test_seeds_of_many_trajectories_are_distinct_and_spread() -> None:
    keys = np.repeat(np.arange(1000, dtype=np.uint64), 100)
    found = trajectory_seeds(0, keys, np.tile(np.arange(100, dtype=np.int32), 1000))
    assert len(np.unique(found)) == 100_000
    bits = (found[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.01
