"""Who works: the replicas, what each has in flight and what each has been told.

Invariant, asserted in tests/unit/coordinator/test_coordinator.py: a replica number is used again only after its predecessor was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from eqr_ray.coordinator.counters import ReplicaCounters
from eqr_ray.coordinator.queues import RowQueue
from eqr_ray.coordinator.trials import Group
from eqr_ray.types import I64, Bool, Slice


@dataclass(slots=True, eq=False)
class Flight:
    """A slice that a replica has been given and has not answered."""

    orders: Slice
    rows: I64
    """(N,) rows of the table, aligned with the orders; none for a control, which belongs to no puzzle of the run."""
    new_slots: I64
    """(M,) slots whose cells travelled with the slice."""
    group: Group | None = None
    """The suspects that it tries; such a slice is alone on its replica."""
    twin: Flight | None = None
    """The same rows on another replica; whichever reports first counts."""
    void: bool = False
    """Whether the twin has reported: this one's report changes nothing any more."""

    @property
    def is_control(self) -> bool:
        """Whether it only asks whether the replica can work at all."""
        return not len(self.rows)


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
    reserved: bool = False
    """Gets nothing until its slices have come back, and then suspects."""
    n_slices: int = 0
    n_rows: int = 0
    nfe_computed: int = 0
    elapsed_s: float = 0.0

    @property
    def is_trying(self) -> bool:
        """Whether it works on suspects, or shows that it can work."""
        return any(flight.group is not None or flight.is_control for flight in self.flights.values())

    def counters(self) -> ReplicaCounters:
        """Return how it stands."""
        return ReplicaCounters(
            replica_id=self.replica_id,
            slices_in_flight=len(self.flights),
            rows_in_flight=sum(len(flight.rows) for flight in self.flights.values() if not flight.void),
            rows_waiting=len(self.waiting),
            slices_done=self.n_slices,
            rows_done=self.n_rows,
            nfe_computed=self.nfe_computed,
            elapsed_s=self.elapsed_s,
            leaving=self.leaving,
        )


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

    def flight(self, slice_id: int) -> Flight | None:
        """Return the slice of that number that is in flight, None when none is."""
        return next((own.flights[slice_id] for own in self if slice_id in own.flights), None)

    def works_on(self, first: int, last: int) -> bool:
        """Return whether a slice in flight, whose report would count, holds a row from `first` up to, not including, `last`."""
        flights = (flight for own in self for flight in own.flights.values() if not flight.void)
        return any(bool(((flight.rows >= first) & (flight.rows < last)).any()) for flight in flights)

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
