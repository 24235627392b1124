"""Several nodes on one machine: they come, are drained and are killed while a run goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import ray
from engines import Gated, Simulated
from ray._private.node import Node as ClusterNode
from ray.cluster_utils import Cluster as Machines

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.distributed.cluster import Cluster, connect
from eqr_ray.distributed.driver import Driver, Staffing
from eqr_ray.distributed.shares import Node, capacity, share_out
from eqr_ray.policy import policy_from
from eqr_ray.types import Puzzle, Verdict

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 3000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}
"""A node that is gone refuses at once and is noticed in seconds; one that is slow on a busy machine is not taken for dead."""
N_PUZZLES = 400


def grow(cluster: Machines, **node: object) -> ClusterNode:
    """Add a node; Ray gives one 30 s to come up, which a machine under load may miss."""
    for _ in range(2):
        with contextlib.suppress(Exception):
            return cluster.add_node(**node)
    return cluster.add_node(**node)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """A head without CPUs and one node with one; `connect` finds the connection and leaves it open."""
    ray.shutdown()
    cluster = Machines()
    grow(cluster, num_cpus=0, _system_config=QUICK_TO_NOTICE, include_dashboard=False)
    grow(cluster, num_cpus=1)
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


def test_nodes_join_are_drained_and_are_killed_without_changing_a_verdict(machines: Machines, tmp_path: Path):
    expected = {row(verdict) for verdict in drive_local(coordinator(), Simulated()(), puzzles())}
    gate = tmp_path / "open"
    cluster = Cluster()
    share = share_out(cluster.nodes(), None, None)
    assert cluster.nodes().count(Node(1.0)) == 1
    staffing = Staffing(
        factory=Gated(Simulated(0.02), str(gate)),
        share=share,
        desired=lambda: max(1, capacity(cluster.nodes(), share)),
        draining=cluster.draining,
        least_rows=8,
        most_rows=8,
    )
    driver = Driver(coordinator(), staffing)
    running = driver.drive(puzzles())
    rows: list[tuple[object, ...]] = []

    def go_on(until_ready: int) -> None:
        ends = time.monotonic() + 120
        while driver.effort.ready != until_ready:
            rows.extend(row(verdict) for verdict in next(running))
            assert time.monotonic() < ends, f"{driver.effort.ready} replicas are ready, not {until_ready}"

    go_on(until_ready=1)
    second, third = grow(machines, num_cpus=1), grow(machines, num_cpus=1)
    go_on(until_ready=3)
    drain(second.node_id)
    gate.touch()
    go_on(until_ready=2)
    gate.unlink()
    assert driver.effort.lost_replicas == 0
    assert len(rows) < N_PUZZLES
    machines.remove_node(third, allow_graceful=False)
    go_on(until_ready=1)
    assert driver.effort.lost_replicas == 1
    gate.touch()
    rows.extend(row(verdict) for batch in running for verdict in batch)
    assert len(rows) == N_PUZZLES
    assert set(rows) == expected


def test_replicas_share_a_gpu(machines: Machines):
    expected = {row(verdict) for verdict in drive_local(coordinator(), Simulated()(), puzzles())}
    grow(machines, num_cpus=1, num_gpus=1)
    nodes = Cluster().nodes()
    share = share_out(nodes, None, 0.5)
    assert (share.num_cpus, share.num_gpus, capacity(nodes, share)) == (0.5, 0.5, 2)
    driver = Driver(coordinator(), Staffing(Simulated(0.002), share, lambda: capacity(nodes, share), frozenset))
    assert {row(verdict) for batch in driver.drive(puzzles()) for verdict in batch} == expected
    assert driver.effort.most_ready == 2


def test_a_connection_that_was_there_before_is_left_open(machines: Machines):
    with connect("local") as cluster:
        assert cluster.nodes()
    assert ray.is_initialized()
