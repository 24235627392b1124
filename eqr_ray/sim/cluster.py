"""A cluster on a virtual clock: replicas that start late, work at their own speed, straggle and are taken away.

The coordinator is the real one, the engines are any that report `nfe_computed`; nothing waits.
Invariants, asserted in tests/sim/test_cluster.py: the same seed gives the same run; verdicts are those of an undisturbed
run; twice the replicas never make a steady cluster slower; paid time is the time from request to end or loss.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from eqr_ray.coordinator import Coordinator
from eqr_ray.types import Engine, Slice, SliceResult, Verdict

Pacer = Callable[[int, SliceResult | None, float], int]
"""(rows of the last slice, its result or None, how long it took) -> rows of the next slice."""
MOST_LOSSES = 100_000


@dataclass(frozen=True, slots=True)
class Cluster:
    """The machines."""

    replicas: int = 1
    iterations_per_s: float = 1000.0
    """Of one replica at full load; `eqr-ray bench engine` measures it."""
    slice_overhead_s: float = 0.005
    """Between two slices of a replica: messages, and tiles that fill and drain."""
    start_s: float = 0.0
    """From the request of a replica to its first slice."""
    start_spread: float = 0.3
    """Standard deviation of the logarithm of that time."""
    preemptions_per_hour: float = 0.0
    """Of one replica; the time to it is exponential. Another is asked for at once."""
    straggler_share: float = 0.0
    """Share of replicas that are slow for as long as they live."""
    straggler_slowdown: float = 3.0
    speed_spread: float = 0.05
    """Standard deviation of the logarithm of the speed of a slice."""
    price_per_hour: float = 0.0
    """Of one replica, from its request."""
    in_flight: int = 2
    """Slices ordered ahead of each replica."""
    first_rows: int = 4
    seed: int = 0
    starts_s: tuple[float, ...] = ()
    """Start times of the first replicas, where they were measured; the others draw theirs."""

    def __post_init__(self) -> None:
        for name in ("replicas", "in_flight", "first_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {name}={getattr(self, name)}")
        if not self.iterations_per_s > 0:
            raise ValueError(f"iterations_per_s must be positive, got iterations_per_s={self.iterations_per_s}")


@dataclass(slots=True)
class ClusterRun:
    """What the cluster took."""

    wall_s: float = 0.0
    paid_s: float = 0.0
    """Of all replicas, added up: start-up and waiting included."""
    busy_s: float = 0.0
    """Of all replicas with a slice at work."""
    preemptions: int = 0
    puzzles: int = 0
    nfe: int = 0
    nfe_computed: int = 0
    slices: int = 0
    lost_slices: int = 0
    cost: float = 0.0


@dataclass(slots=True, eq=False)
class _Machine:
    name: str
    engine: Engine
    asked_at: float
    slowdown: float
    rows: int
    queue: deque[tuple[Slice, SliceResult, float]] = field(default_factory=deque)
    """Slices in flight, their results, and how long each takes."""


class _Play:
    def __init__(self, cluster: Cluster, coordinator: Coordinator, engine: Callable[[], Engine], pace: Pacer) -> None:
        self.cluster, self.coordinator, self.engine, self.pace = cluster, coordinator, engine, pace
        self.rng = np.random.default_rng(cluster.seed)
        self.run = ClusterRun()
        self.now = 0.0
        self.events: list[tuple[float, int, str, str]] = []
        self.machines: dict[str, _Machine] = {}
        self.starting: dict[str, float] = {}
        self.n_named = self.n_events = 0

    def at(self, time: float, what: str, name: str) -> None:
        heapq.heappush(self.events, (time, self.n_events, what, name))
        self.n_events += 1

    def ask(self) -> None:
        name = f"r{self.n_named}"
        self.n_named += 1
        self.starting[name] = self.now
        measured, drawn = self.cluster.starts_s, self.rng.standard_normal()
        delay = self.cluster.start_s * float(np.exp(self.cluster.start_spread * drawn))
        delay = measured[self.n_named - 1] if self.n_named <= len(measured) else delay
        self.at(self.now + delay, "start", name)

    def start(self, name: str) -> None:
        cluster = self.cluster
        slow = self.rng.random() < cluster.straggler_share
        asked = self.starting.pop(name)
        self.machines[name] = _Machine(
            name, self.engine(), asked, cluster.straggler_slowdown if slow else 1.0, cluster.first_rows
        )
        self.coordinator.join(name)
        if cluster.preemptions_per_hour > 0:
            self.at(self.now + float(self.rng.exponential(3600 / cluster.preemptions_per_hour)), "preempt", name)

    def preempt(self, name: str) -> None:
        machine = self.machines.pop(name, None)
        if machine is None:
            return
        self.run.preemptions += 1
        self.run.paid_s += self.now - machine.asked_at
        self.coordinator.on_lost(name)
        if self.run.preemptions > MOST_LOSSES:
            raise ValueError("replicas are taken away faster than they can work; lower preemptions_per_hour or start_s")
        self.ask()

    def hand_out(self) -> None:
        for _ in range(self.cluster.in_flight):
            for machine in self.machines.values():
                if len(machine.queue) < self.cluster.in_flight:
                    orders = self.coordinator.next_slice(machine.name, machine.rows)
                    if orders is not None:
                        self.send(machine, orders)

    def send(self, machine: _Machine, orders: Slice) -> None:
        cluster = self.cluster
        result = machine.engine.run(orders)
        speed = cluster.iterations_per_s / machine.slowdown
        wobble = float(np.exp(cluster.speed_spread * self.rng.standard_normal()))
        takes = cluster.slice_overhead_s + wobble * result.nfe_computed / speed
        machine.queue.append((orders, result, takes))
        if len(machine.queue) == 1:
            self.at(self.now + takes, "done", machine.name)

    def finish(self, name: str) -> list[Verdict]:
        machine = self.machines.get(name)
        if machine is None or not machine.queue:
            return []
        _, result, takes = machine.queue.popleft()
        self.run.busy_s += takes
        machine.rows = self.pace(machine.rows, result, takes)
        if machine.queue:
            self.at(self.now + machine.queue[0][2], "done", name)
        return self.coordinator.on_result(result)


def play(
    cluster: Cluster,
    coordinator: Coordinator,
    engine: Callable[[], Engine],
    puzzles: Iterable,  # type: ignore[type-arg]
    pace: Pacer,
) -> Iterator[tuple[ClusterRun, list[Verdict]]]:
    """Yield the verdicts as they are reached, with the run so far; the last item has the whole run and no verdict.

    engine: makes the engine of one replica. Raises ValueError when preemption leaves no time to work.
    """
    machine = _Play(cluster, coordinator, engine, pace)
    run, source = machine.run, iter(puzzles)
    for _ in range(cluster.replicas):
        machine.ask()
    while True:
        room = coordinator.room
        batch = list(islice(source, room)) if room else []
        coordinator.submit(batch)
        if len(batch) < room:
            coordinator.end_input()
        machine.hand_out()
        if coordinator.done and not batch:
            break
        machine.now, _, what, name = heapq.heappop(machine.events)
        if what == "start":
            machine.start(name)
        elif what == "preempt":
            machine.preempt(name)
        else:
            found = machine.finish(name)
            run.puzzles += len(found)
            run.nfe += sum(verdict.nfe for verdict in found)
            yield run, found
    counters = coordinator.counters()
    run.wall_s = machine.now
    run.paid_s += sum(machine.now - own.asked_at for own in machine.machines.values())
    run.paid_s += sum(machine.now - asked for asked in machine.starting.values())
    run.nfe_computed, run.slices, run.lost_slices = counters.nfe_computed, counters.slices_done, counters.lost_slices
    run.cost = run.paid_s / 3600 * cluster.price_per_hour
    yield run, []
