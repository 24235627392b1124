from __future__ import annotations

import numpy as np

from eqr_ray.coordinator import Coordinator
from eqr_ray.policy import policy_from
from eqr_ray.sim import SimEngine
from eqr_ray.sim.made import made_trace

PUZZLES = made_trace(10, 2, 1).puzzles
POOL = policy_from("pool", depth=8, breadth=2, mean=12, cohort=4)


def test_a_cohort_begins_when_it_is_full_or_the_input_has_ended() -> None:
    coordinator = Coordinator(POOL, 0)
    coordinator.join("a")
    coordinator.submit(PUZZLES[:3])
    assert coordinator.next_slice("a") is None
    coordinator.submit(PUZZLES[3:6])
    orders = coordinator.next_slice("a")
    assert orders is not None
    assert sorted(orders.puzzle.tolist()) == [0, 1, 2, 3]
    assert coordinator.next_slice("a") is None
    coordinator.end_input()
    orders = coordinator.next_slice("a")
    assert orders is not None
    assert sorted(orders.puzzle.tolist()) == [4, 5]


def test_a_cohort_waits_for_the_last_of_its_members() -> None:
    coordinator = Coordinator(POOL, 0, slice_rows=3)
    coordinator.join("a")
    coordinator.submit(PUZZLES[:4])
    engine = SimEngine()
    first, second = coordinator.next_slice("a"), coordinator.next_slice("a")
    assert first is not None
    assert second is not None
    assert coordinator.on_result(engine.run(first)) == []
    assert coordinator.next_slice("a") is None
    coordinator.on_result(engine.run(second))
    third = coordinator.next_slice("a")
    assert third is None or set(third.puzzle.tolist()) <= {0, 1, 2, 3}
    assert coordinator.done or third is not None


def test_a_cohort_larger_than_the_limit_of_open_puzzles_still_fits() -> None:
    coordinator = Coordinator(policy_from("pool", depth=8, breadth=2, cohort=50), 0, open_limit=5)
    assert coordinator.room == 50


def test_an_end_said_twice_orders_nothing_twice() -> None:
    coordinator = Coordinator(POOL, 0)
    coordinator.join("a")
    coordinator.submit(PUZZLES[:2])
    coordinator.end_input()
    coordinator.end_input()
    orders = coordinator.next_slice("a")
    assert orders is not None
    assert np.bincount(orders.puzzle).tolist() == [1, 1]
