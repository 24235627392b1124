"""Who works: the replicas, what each has in flight and what each has been told.

Invariants, asserted in tests/unit/coordinator/test_coordinator.py: a replica is sent a puzzle's cells once; a replica
number is used again only after its predecessor was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from eqr_ray.coordinator.queues import RowQueue
from eqr_ray.types import I64, Bool, Slice


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """A slice that a replica has been given and has not answered."""

    orders: Slice
    rows: I64
    """(N,) rows of the table, aligned with the orders."""
    new_slots: I64
    """(M,) slots whose cells travelled with the slice."""


@dataclass(slots=True, eq=False)
class Replica:
    """One engine that asks for slices."""

    replica_id: str
    number: int
    """Its home number in the table, from 1."""
    waiting: RowQueue = field(default_factory=RowQueue)
    """Rows whose latents are parked here."""
    flights: dict[int, Flight] = field(default_factory=dict)
    retired: list[int] = field(default_factory=list)
    """Numbers of closed puzzles of which it has not been told."""
    leaving: bool = False
    n_slices: int = 0
    n_rows: int = 0
    nfe_computed: int = 0
    elapsed_s: float = 0.0


class Replicas:
    """The replicas by name and by number, and which puzzles each has seen."""

    def __init__(self) -> None:
        self._by_id: dict[str, Replica] = {}
        self._by_number: dict[int, Replica] = {}
        self._seen: Bool = np.zeros((1, 0), np.bool_)

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._by_id.values())

    def get(self, replica_id: str) -> Replica | None:
        """Return the replica of that name, None when it is not here."""
        return self._by_id.get(replica_id)

    def numbered(self, number: int) -> Replica:
        """Return the replica of that number."""
        return self._by_number[number]

    @property
    def n_staying(self) -> int:
        """Replicas that take new slices."""
        return sum(not replica.leaving for replica in self)

    def add(self, replica_id: str) -> Replica:
        """Take in a replica that has seen nothing."""
        number = 1
        while number in self._by_number:
            number += 1
        if number >= len(self._seen):
            more = np.zeros((2 * len(self._seen), self._seen.shape[1]), np.bool_)
            more[: len(self._seen)] = self._seen
            self._seen = more
        replica = Replica(replica_id, number)
        self._by_id[replica_id] = self._by_number[number] = replica
        return replica

    def remove(self, replica: Replica) -> None:
        """Forget a replica."""
        self._seen[replica.number] = False
        del self._by_id[replica.replica_id], self._by_number[replica.number]

    def unseen(self, replica: Replica, slots: I64) -> I64:
        """Return which of the slots hold puzzles that the replica has not seen, ascending and each once."""
        most = int(slots.max(initial=-1)) + 1
        if most > self._seen.shape[1]:
            wider = np.zeros((len(self._seen), max(most, 2 * self._seen.shape[1])), np.bool_)
            wider[:, : self._seen.shape[1]] = self._seen
            self._seen = wider
        return np.unique(slots[~self._seen[replica.number, slots]])

    def mark(self, replica: Replica, slots: I64, seen: bool) -> None:
        """Note that the replica has seen the puzzles in these slots, or that it has not."""
        self._seen[replica.number, slots] = seen

    def retire(self, slots: I64, numbers: I64) -> None:
        """Let every replica that has seen these puzzles be told, with its next slice, that they are closed."""
        slots, numbers = slots[slots < self._seen.shape[1]], numbers[slots < self._seen.shape[1]]
        seen = self._seen[:, slots]
        for number in np.flatnonzero(seen.any(axis=1)).tolist():
            self._by_number[number].retired.extend(numbers[seen[number]].tolist())
        self._seen[:, slots] = False
