"""The ray.wait loop with a quick engine: same verdicts whatever happens to the replicas, and an end to hopeless runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import ray
from engines import Dying, Failing, Gated, Hanging, Poisoned, Simulated
from ray_home import N_CPUS

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.distributed.driver import Driver, GaveUp, Staffing
from eqr_ray.distributed.replica import EngineFactory
from eqr_ray.distributed.roster import Patience
from eqr_ray.distributed.shares import Share
from eqr_ray.policy import policy_from
from eqr_ray.types import Puzzle, StopReason, Verdict

pytestmark = pytest.mark.usefixtures("one_node")
SHARE = Share(num_cpus=0.25, num_gpus=0.0, threads=1)


def puzzles(n: int) -> list[Puzzle]:
    draw = np.random.default_rng(5)
    return [Puzzle(f"p{i}", "sudoku4", draw.integers(0, 5, 16).astype(np.uint8)) for i in range(n)]


def coordinator() -> Coordinator:
    return Coordinator(policy_from("adaptive", depth=32, breadth=8), seed=3, slice_rows=64, leg=8, open_limit=200)


def staffing(
    factory: EngineFactory,
    replicas: int = 3,
    patience: Patience | None = None,
    desired: Callable[[], int] | None = None,
) -> Staffing:
    return Staffing(
        factory=factory,
        share=SHARE,
        desired=desired or (lambda: replicas),
        draining=frozenset,
        patience=patience or Patience(tries=3),
        least_rows=16,
    )


def row(verdict: Verdict) -> tuple[object, ...]:
    votes = tuple((v.answer_key, v.answer.tobytes(), *astuple(v)[2:]) for v in verdict.ballot)
    return (verdict.puzzle_id, verdict.answer.tobytes(), *astuple(verdict)[2:-1], votes)


def drive(plan: Staffing, n: int = 300) -> tuple[list[tuple[object, ...]], Driver]:
    driver = Driver(coordinator(), plan)
    rows = [row(verdict) for batch in driver.drive(iter(puzzles(n))) for verdict in batch]
    return sorted(rows, key=str), driver


@pytest.fixture(scope="module")
def expected() -> list[tuple[object, ...]]:
    """The verdicts of one engine in this process, without Ray."""
    return sorted((row(v) for v in drive_local(coordinator(), Simulated()(), puzzles(300))), key=str)


@pytest.mark.parametrize("replicas", [1, 3])
def test_the_number_of_replicas_does_not_change_a_verdict(expected, replicas):
    rows, driver = drive(staffing(Simulated(), replicas))
    assert rows == expected
    assert driver.effort.most_ready <= replicas
    assert driver.effort.devices == {"simulator"}


def test_a_killed_replica_is_replaced_and_changes_no_verdict(expected, tmp_path: Path):
    rows, driver = drive(staffing(Dying(Simulated(0.001), str(tmp_path / "died"))))
    assert (tmp_path / "died").exists()
    assert driver.effort.lost_replicas == 1
    assert rows == expected


def test_a_replica_that_hangs_is_given_up_and_changes_no_verdict(expected, tmp_path: Path):
    patience = Patience(quiet_s=0.5, ping_s=5, hang_s=3, tries=3, slow_s=600)
    rows, driver = drive(staffing(Hanging(Simulated(), str(tmp_path / "hung")), 2, patience))
    assert driver.effort.lost_replicas == 1
    assert rows == expected


def test_what_a_slow_replica_does_not_finish_is_done_by_another_one(expected, tmp_path: Path):
    own = coordinator()
    plan = staffing(Hanging(Simulated(0.001), str(tmp_path / "hung")), 2, Patience(slow_s=0.5))
    driver = Driver(own, plan)
    rows = [row(verdict) for batch in driver.drive(iter(puzzles(300))) for verdict in batch]
    assert sorted(rows, key=str) == expected
    assert (tmp_path / "hung").exists()
    assert driver.effort.lost_replicas == 0
    assert own.counters().copied_slices >= 1


def test_a_puzzle_that_kills_its_replicas_is_set_aside_and_the_others_are_solved(expected):
    lethal = puzzles(300)[123]
    rows, driver = drive(staffing(Poisoned(Simulated(), (lethal.cells.tobytes(),)), 2))
    crashed = [found for found in rows if StopReason.CRASHED in found]
    assert [found[0] for found in crashed] == [lethal.puzzle_id]
    assert [found for found in rows if found[0] != lethal.puzzle_id] == [
        found for found in expected if found[0] != lethal.puzzle_id
    ]
    assert driver.effort.lost_replicas <= 8


def test_an_engine_that_always_raises_ends_the_run_with_its_error():
    with pytest.raises(GaveUp, match="ArithmeticError: the device computes nonsense"):
        drive(staffing(Failing("run"), 1))


def test_an_engine_that_cannot_be_built_ends_the_run_with_its_error():
    with pytest.raises(GaveUp, match="the weights are not on this node"):
        drive(staffing(Failing("built"), 2))


def test_replicas_that_no_node_can_hold_end_the_run():
    plan = Staffing(Simulated(), Share(64.0, 0.0, 1), lambda: 1, frozenset, patience=Patience(give_up_s=2.0))
    with pytest.raises(GaveUp, match="no replica could be had for 2 s"):
        drive(plan)


def test_replicas_join_and_leave_during_a_run(expected, tmp_path: Path):
    gate = tmp_path / "open"
    wanted = 1
    driver = Driver(coordinator(), staffing(Gated(Simulated(0.002), str(gate)), desired=lambda: wanted))
    running = driver.drive(iter(puzzles(300)))
    rows: list[tuple[object, ...]] = []

    def until_ready(n_replicas: int) -> None:
        ends = time.monotonic() + 120
        while driver.effort.ready != n_replicas:
            rows.extend(row(verdict) for verdict in next(running))
            assert time.monotonic() < ends, f"{driver.effort.ready} replicas are ready, not {n_replicas}"

    until_ready(1)
    wanted = 3
    until_ready(3)
    assert rows == []
    gate.touch()
    wanted = 1
    until_ready(1)
    rows.extend(row(verdict) for batch in running for verdict in batch)
    assert sorted(rows, key=str) == expected
    assert driver.effort.lost_replicas == 0


def test_a_run_that_is_closed_halfway_leaves_no_actor_behind():
    driver = Driver(coordinator(), staffing(Simulated(0.001), 2))
    running = driver.drive(iter(puzzles(300)))
    while not next(running):
        pass
    running.close()
    assert driver.effort.ready == 0
    # An actor that is alive holds its share of the CPUs.
    for _ in range(100):
        if ray.available_resources().get("CPU") == N_CPUS:
            break
        time.sleep(0.1)
    assert ray.available_resources().get("CPU") == N_CPUS
