"""Which part of a machine each replica asks Ray for, and how many replicas the machines hold.

Invariants, asserted in tests/unit/distributed/test_shares.py: the wanted replicas fit into the nodes, and a larger share would not
fit; threads never exceed the cores a replica was given unless the user said so; without machines one replica is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEP = 1000
"""Shares below one are cut to thousandths; Ray counts resources in ten-thousandths."""
SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Node:
    """What one living node offers."""

    n_cpus: float
    n_gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """What one replica asks for."""

    num_cpus: float
    num_gpus: float
    threads: int
    """CPU threads that its engine may use."""


def capacity(nodes: Sequence[Node], share: Share) -> int:
    """Return how many replicas of this share the nodes hold."""
    return sum(_fitting(node, share) for node in nodes)


def share_out(
    nodes: Sequence[Node], replicas: int | None, gpus_per_replica: float | None, threads: int | None = None
) -> Share:
    """Divide the nodes among `replicas`, or among as many as suit the machines when it is None.

    `gpus_per_replica` None means engines on the CPU. Without a number of replicas there is one for a core: small matrices gain
    more from a second replica than from a second thread. On GPU nodes the cores are divided among the replicas that the GPUs
    hold. Nodes that do not exist yet (a cluster that scales from zero) are asked for one core a replica.
    """
    if replicas is not None and replicas < 1:
        raise ValueError(f"replicas must be at least 1, got replicas={replicas}")
    if gpus_per_replica is not None:
        per_node = [(math.floor(node.n_gpus / gpus_per_replica + SLACK), node.n_cpus) for node in nodes]
        cores = min((n_cpus / n for n, n_cpus in per_node if n), default=1.0)
        # A GPU engine needs a core only to launch kernels: asking for all of them would keep other work off the node.
        return Share(max(1 / STEP, min(1.0, _cut(cores))), gpus_per_replica, threads or max(1, int(cores)))
    offers = [node.n_cpus for node in nodes if node.n_cpus > 0]
    if not offers:
        return Share(1.0, 0.0, threads or 1)
    wanted = replicas or max(1, int(sum(offers)))
    shares = {_cut(offer / k) for offer in offers for k in range(1, wanted + 1)} - {0.0}
    fitting = [cpus for cpus in shares if sum(math.floor(offer / cpus + SLACK) for offer in offers) >= wanted]
    num_cpus = max(fitting, default=1 / STEP)
    return Share(num_cpus, 0.0, threads or max(1, int(num_cpus)))


def _fitting(node: Node, share: Share) -> int:
    by_cpu = math.floor(node.n_cpus / share.num_cpus + SLACK)
    return by_cpu if share.num_gpus == 0 else min(by_cpu, math.floor(node.n_gpus / share.num_gpus + SLACK))


def _cut(share: float) -> float:
    """Round down to what Ray can represent; above one only whole cores make sense."""
    return float(math.floor(share + SLACK)) if share >= 1.0 else math.floor(share * STEP + SLACK) / STEP
