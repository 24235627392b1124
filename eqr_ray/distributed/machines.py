"""Several Ray nodes on this machine that come, are drained and are killed: what a cluster does to a run, without a cluster.

Invariants, asserted in tests/ray_local/test_chaos.py: the head has no CPUs and stays; a machine that is killed is gone with all its
processes; in the end no process that was started here is left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eqr_ray.distributed.cluster import START_TRIES, start_patiently, too_slow

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 3000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}
"""A node that is gone refuses at once and is noticed in seconds; one that is slow on a busy machine is not taken for dead."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One actor that the cluster knows, alive or not."""

    pid: int
    node_id: str
    name: str
    alive: bool


class Machines:
    """A head without CPUs and worker nodes; this process is connected to them."""

    def __init__(self, cluster: Any, n_cpus: float) -> None:
        self._cluster, self._n_cpus = cluster, n_cpus

    @property
    def address(self) -> str:
        """Where programs join."""
        return str(self._cluster.address)

    @property
    def nodes(self) -> list[Any]:
        """The worker nodes, oldest first."""
        return list(self._cluster.worker_nodes)

    def add(self) -> Any:
        """Start a worker node."""
        return _add_patiently(self._cluster, num_cpus=self._n_cpus)

    def kill(self, node: Any) -> None:
        """Kill a node without a word, as a machine that loses its power."""
        self._cluster.remove_node(node, allow_graceful=False)

    def drain(self, node: Any, notice_s: float = 60.0) -> None:
        """Tell Ray that a node will be taken away, as a cloud does before it takes a spot machine."""
        import ray
        from ray.core.generated import autoscaler_pb2

        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        client = ray._private.worker.global_worker.gcs_client
        accepted, why = client.drain_node(node.node_id, reason, "spot", int((time.time() + notice_s) * 1000))
        if not accepted:
            raise RuntimeError(f"node {node.node_id} cannot be drained: {why}")

    def actors(self) -> list[Actor]:
        """Return every actor of the cluster, those of the past included."""
        import ray._private.state

        table = ray._private.state.state.actor_table(None)
        return [
            Actor(int(row["Pid"]), str(row["Address"]["NodeID"]), str(row["Name"]), row["State"] == "ALIVE")
            for row in table.values()
        ]


@contextmanager
def machines(n_nodes: int, n_cpus: float = 1) -> Iterator[Machines]:
    """Start a head and so many worker nodes, connect this process, and end them all afterwards."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        _add_patiently(cluster, num_cpus=0, _system_config=QUICK_TO_NOTICE, include_dashboard=False)
        there = Machines(cluster, n_cpus)
        for _ in range(n_nodes):
            there.add()
        start_patiently(address=cluster.address)
        yield there
    finally:
        ray.shutdown()
        cluster.shutdown()


def _add_patiently(cluster: Any, **settings: Any) -> Any:
    for attempt in range(1, START_TRIES + 1):
        try:
            return cluster.add_node(**settings)
        except Exception as error:
            # Ray gives a node 30 s to come up, which a machine under load may miss.
            if attempt == START_TRIES or not (too_slow(error) or isinstance(error, TimeoutError)):
                raise
    raise AssertionError("unreachable")
