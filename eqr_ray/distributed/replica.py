"""The actor: one engine, built once, that runs slices for the driver.

Invariants, asserted in tests/ray_local: `ping` answers while a slice runs; slices run one after another in the order they were sent; an
error of the engine reaches the driver as it is. No policy here: a replica reports raw facts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from eqr_ray.distributed.shares import Share
from eqr_ray.types import Engine, Slice, SliceResult

EngineFactory = Callable[[], Engine]
"""Builds the engine inside the actor; picklable. What it carries travels once, as one object that all actors read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica ended up."""

    node_id: str
    pid: int
    device: str


class Replica:
    """Owns the engine of one process; `control` calls are answered beside a running slice."""

    def __init__(self, factory: EngineFactory, name: str = "replica") -> None:
        self._name = name
        self._engine = factory()

    def __repr__(self) -> str:
        """What Ray writes before the lines that the process logs."""
        return self._name

    def run(self, orders: Slice) -> SliceResult:
        """Run a slice; columns in, columns out, latents stay."""
        return self._engine.run(orders)

    @ray.method(concurrency_group="control")  # type: ignore[untyped-decorator]
    def ping(self) -> Place:
        """Say where this is; the first answer also says that the engine is built."""
        device = str(getattr(self._engine, "device", "cpu"))
        return Place(ray.get_runtime_context().get_node_id(), os.getpid(), device)


def start_replica(factory: ray.ObjectRef, share: Share, name: str, run: str = "") -> Any:
    """Start an actor, known to Ray as `eqr/RUN/NAME`; returns its handle at once, while Ray looks for room.

    It is never restarted by Ray: a restarted process has lost its latents and would answer under a name whose orders were given to others.
    """
    actor = ray.remote(
        num_cpus=share.num_cpus,
        num_gpus=share.num_gpus,
        max_restarts=0,
        max_task_retries=0,
        concurrency_groups={"control": 1},
        **({"name": f"eqr/{run}/{name}"} if run else {}),
    )(Replica)
    return actor.remote(factory, name)
