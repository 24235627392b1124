"""Several nodes on one machine: they come, are drained and are killed while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import astuple

import numpy as np
import pytest
import ray
from engines import Simulated
from ray.cluster_utils import Cluster as Machines

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.distributed.cluster import Cluster, connect
from eqr_ray.distributed.driver import Driver, Staffing
from eqr_ray.distributed.shares import Node, capacity, share_out
from eqr_ray.policy import policy_from
from eqr_ray.types import Puzzle, Verdict

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}
N_PUZZLES = 400


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """A head without CPUs and one node with one; `connect` finds the connection and leaves it open."""
    cluster = Machines(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "_system_config": QUICK_TO_NOTICE, "include_dashboard": False},
    )
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def puzzles() -> Iterator[Puzzle]:
    draw = np.random.default_rng(11)
    for number in range(N_PUZZLES):
        yield Puzzle(f"p{number}", "sudoku4", draw.integers(0, 5, 16).astype(np.uint8))


def coordinator() -> Coordinator:
    return Coordinator(policy_from("adaptive", depth=32, breadth=4), seed=1, slice_rows=32, leg=16, open_limit=128)


def row(verdict: Verdict) -> tuple[object, ...]:
    return (verdict.puzzle_id, verdict.answer.tobytes(), *astuple(verdict)[2:-1])


def drain(node_id: str) -> None:
    """Tell Ray that a node will be taken away in a minute, as a cloud does before it takes a spot machine."""
    from ray.core.generated import autoscaler_pb2

    preempted = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline_ms = int((time.time() + 60) * 1000)
    accepted, why = ray._private.worker.global_worker.gcs_client.drain_node(node_id, preempted, "spot", deadline_ms)
    assert accepted, why


def test_nodes_join_are_drained_and_are_killed_without_changing_a_verdict(machines: Machines):
    expected = {row(verdict) for verdict in drive_local(coordinator(), Simulated()(), puzzles())}
    cluster = Cluster()
    share = share_out(cluster.nodes(), None, None)
    assert cluster.nodes().count(Node(1.0)) == 1
    staffing = Staffing(
        factory=Simulated(0.02),
        share=share,
        desired=lambda: max(1, capacity(cluster.nodes(), share)),
        draining=cluster.draining,
        first_rows=8,
        most_rows=8,
    )
    driver = Driver(coordinator(), staffing)
    running = driver.drive(puzzles())
    rows: list[tuple[object, ...]] = []

    def go_on(until_ready: int, until_done: int, within_s: float = 60.0) -> None:
        """Take verdicts until so many replicas are ready and so many puzzles done."""
        ends = time.monotonic() + within_s
        while driver.effort.ready != until_ready or len(rows) < until_done:
            rows.extend(row(verdict) for verdict in next(running))
            assert time.monotonic() < ends, (
                f"{driver.effort.ready} replicas and {len(rows)} verdicts, not {until_ready}"
            )

    go_on(until_ready=1, until_done=20)
    second = machines.add_node(num_cpus=1)
    third = machines.add_node(num_cpus=1)
    go_on(until_ready=3, until_done=40)
    drain(second.node_id)
    go_on(until_ready=2, until_done=60)
    assert driver.effort.lost_replicas == 0
    machines.remove_node(third, allow_graceful=False)
    go_on(until_ready=1, until_done=80)
    assert driver.effort.lost_replicas == 1
    assert len(rows) < N_PUZZLES
    rows.extend(row(verdict) for batch in running for verdict in batch)
    assert len(rows) == N_PUZZLES
    assert set(rows) == expected


def test_a_connection_that_was_there_before_is_left_open(machines: Machines):
    with connect("local") as cluster:
        assert cluster.nodes()
    assert ray.is_initialized()
