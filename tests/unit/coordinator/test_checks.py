from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from verdict_builders import puzzles

from eqr_ray.coordinator import Coordinator
from eqr_ray.coordinator.checks import align
from eqr_ray.coordinator.replicas import Flight
from eqr_ray.policy import policy_from
from eqr_ray.sim import SimEngine
from eqr_ray.types import SliceResult, Status, Trajectories


def flight_and_report() -> tuple[Flight, SliceResult]:
    run = Coordinator(policy_from("fixed", depth=8, breadth=2), seed=0)
    run.join("a")
    run.submit(puzzles(5))
    orders = run.next_slice("a")
    assert orders is not None
    nothing = np.zeros(0, np.int64)
    return Flight(orders, nothing, nothing), SimEngine().run(orders)


def changed(result: SliceResult, **columns: Callable[[np.ndarray], np.ndarray]) -> SliceResult:
    t = result.trajectories
    return replace(result, trajectories=replace(t, **{name: edit(getattr(t, name)) for name, edit in columns.items()}))


def test_a_report_in_any_order_is_aligned_with_the_slice() -> None:
    flight, result = flight_and_report()
    order = np.random.default_rng(0).permutation(len(flight.orders))
    shuffled = replace(result, trajectories=result.trajectories.take(order))
    aligned = align(flight, shuffled)
    for name in Trajectories.__slots__:
        assert np.array_equal(getattr(aligned, name), getattr(result.trajectories, name)), name


@pytest.mark.parametrize(
    ("rule", "columns"),
    [
        ("it must have 10 rows in every column", {"depth": lambda c: c[:-1]}),
        ("one row for each trajectory", {"puzzle": lambda c: c + 1}),
        ("one row for each trajectory", {"index": lambda c: np.zeros_like(c)}),
        ("every status must be a value of Status", {"status": lambda c: np.full_like(c, 9)}),
        ("a running trajectory must stand at the depth ordered", {"depth": lambda c: c - 1}),
        (
            "every depth must lie between 1 and the depth ordered",
            {"depth": lambda c: c + 1, "status": lambda c: np.full_like(c, Status.CONVERGED)},
        ),
        (
            "every depth must lie between 1 and the depth ordered",
            {"depth": lambda c: c * 0, "status": lambda c: np.full_like(c, Status.DIVERGED)},
        ),
        ("its answers must hold every answer_key", {"answer_key": lambda c: c + np.uint64(1)}),
    ],
)
def test_a_report_that_does_not_match_is_refused_by_name(
    rule: str, columns: dict[str, Callable[[np.ndarray], np.ndarray]]
) -> None:
    flight, result = flight_and_report()
    with pytest.raises(ValueError, match="replica a reported slice 0 wrongly") as problem:
        align(flight, changed(result, **columns))
    assert rule in str(problem.value)


def test_negative_work_is_refused() -> None:
    flight, result = flight_and_report()
    with pytest.raises(ValueError, match="nfe_computed must not be negative, got -1"):
        align(flight, replace(result, nfe_computed=-1))
