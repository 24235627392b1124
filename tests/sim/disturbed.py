"""A run over simulated replicas to which everything happens that can happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from eqr_ray.coordinator import Coordinator
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.types import Puzzle, Slice, SliceResult, Verdict

_MOST_IN_FLIGHT = 3


@dataclass
class Disturbed:
    """Chances, per step, of each trouble; results arrive in any order from replicas of random speed."""

    coordinator: Coordinator
    landscape: Landscape
    seed: int = 0
    n_replicas: int = 5
    lose: float = 0.004
    leave: float = 0.004
    fail: float = 0.01
    repeat: float = 0.05
    shuffle: float = 0.5
    copy: float = 0.02
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._engines: dict[str, SimEngine] = {}
        self._leaving: dict[str, SimEngine] = {}
        self._speed: dict[str, float] = {}
        self._sent: list[Slice] = []
        self._stale: list[SliceResult] = []
        self._n_named = 0

    def verdicts(self, puzzles: Iterable[Puzzle]) -> list[Verdict]:
        """Run the puzzles to their end."""
        source, found = iter(puzzles), []
        while True:
            while len(self._engines) < self.n_replicas:
                self._hire()
            room = self.coordinator.room
            batch = list(islice(source, room))
            self.coordinator.submit(batch)
            if len(batch) < room:
                self.coordinator.end_input()
            if self.coordinator.done:
                return found
            self._hand_out()
            found += self._step()

    def _hire(self) -> None:
        name = f"r{self._n_named}"
        self._n_named += 1
        self._engines[name] = SimEngine(self.landscape)
        self._speed[name] = float(self._rng.exponential())
        self.coordinator.join(name)

    def _hand_out(self) -> None:
        for name in self._engines:
            while sum(orders.replica_id == name for orders in self._sent) < _MOST_IN_FLIGHT:
                orders = self.coordinator.next_slice(name)
                if orders is None:
                    break
                self._sent.append(orders)
            if self._sent and self._rng.random() < self.copy:
                slow = self._sent[int(self._rng.integers(len(self._sent)))]
                if (again := self.coordinator.copy_slice(name, slow.slice_id)) is not None:
                    self.happened["copied"] += 1
                    self._sent.append(again)

    def _step(self) -> list[Verdict]:
        # Within a replica slices end in order, as an actor's do; between replicas speed and chance decide.
        heads = {orders.replica_id: orders for orders in reversed(self._sent)}
        names = sorted(heads)
        speed = np.array([self._speed[name] for name in names])
        name = names[int(self._rng.choice(len(names), p=speed / speed.sum()))]
        orders = heads[name]
        trouble = self._rng.random()
        if name in self._engines and trouble < self.lose:
            return self._lose(name)
        if name in self._engines and trouble < self.lose + self.leave:
            self.happened["left"] += 1
            self.coordinator.leave(name)
            self._leaving[name] = self._engines.pop(name)
            return []
        self._sent.remove(orders)
        if trouble > 1 - self.fail:
            return self._fail(orders)
        try:
            return self._deliver(self._machine(name).run(orders))
        except KeyError:
            # The cells travelled with an earlier slice that failed; what was sent after it fails as well.
            return self._fail(orders)

    def _fail(self, orders: Slice) -> list[Verdict]:
        self.happened["failed"] += 1
        assert self.coordinator.on_failed(orders.replica_id, orders.slice_id)
        return []

    def _machine(self, name: str) -> SimEngine:
        return self._engines[name] if name in self._engines else self._leaving[name]

    def _lose(self, name: str) -> list[Verdict]:
        """Lose a replica; one of its slices may have been done and be reported too late."""
        self.happened["lost"] += 1
        own = [orders for orders in self._sent if orders.replica_id == name]
        self._sent = [orders for orders in self._sent if orders.replica_id != name]
        if own and self._rng.random() < 0.5:
            # It cannot have been done if its cells travelled with a slice that failed.
            with suppress(KeyError):
                self._stale.append(self._engines[name].run(own[0]))
        machine_lost = bool(self._rng.random() < 0.5)
        assert self.coordinator.on_lost(name, own[0].slice_id if own else None, machine_lost) <= len(own)
        assert self.coordinator.take_aside() == []
        del self._engines[name]
        return []

    def _deliver(self, result: SliceResult) -> list[Verdict]:
        if self._rng.random() < self.shuffle:
            self.happened["shuffled"] += 1
            order = self._rng.permutation(len(result.trajectories))
            moved = result.trajectories.take(order)
            result = SliceResult(
                result.slice_id, result.replica_id, moved, result.answers, result.nfe_computed, result.elapsed_s
            )
        found = self.coordinator.on_result(result)
        if self._rng.random() < self.repeat:
            self._stale.append(result)
        if self._stale and self._rng.random() < self.repeat:
            self.happened["stale"] += 1
            assert self.coordinator.on_result(self._stale.pop(0)) == []
        return found
