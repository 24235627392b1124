"""Slices: what a replica is told to do with rows of the table.

Invariants, asserted in tests/unit/coordinator/test_coordinator.py: a replica is sent a puzzle's cells once; slices are numbered; no
leg is longer than allowed.
"""

from __future__ import annotations

import numpy as np

from eqr_ray.coordinator.replicas import Flight, Replica, Replicas
from eqr_ray.coordinator.seeds import trajectory_seeds
from eqr_ray.coordinator.table import Table
from eqr_ray.coordinator.trials import Group
from eqr_ray.types import I64, HaltRule, Slice

CONTROL = -1
"""Number of the blank board on which a replica shows that it can work at all; no puzzle of a run has it."""


class Dispatch:
    """Writes orders and enters them into the books."""

    def __init__(self, table: Table, replicas: Replicas, seed: int, leg: int, halt: HaltRule) -> None:
        self._table, self._replicas, self._seed, self._leg, self._halt = table, replicas, seed, leg, halt
        self._next_slice_id = 0

    def send(self, replica: Replica, rows: I64, group: Group | None = None, leg: int | None = None) -> Flight:
        """Order a leg of each row, of another length where `leg` is given; `group` are the suspects that the slice tries."""
        table = self._table
        slots = table.slot_of(rows)
        index = table.index_of(rows).astype(np.int32)
        new_slots = self._replicas.unseen(replica, slots)
        cells = {
            n: puzzle.cells for n, puzzle in zip(table.number[new_slots].tolist(), table.puzzle[new_slots], strict=True)
        }
        orders = Slice(
            slice_id=self._next_slice_id,
            replica_id=replica.replica_id,
            puzzle=table.number[slots],
            index=index,
            seed=trajectory_seeds(self._seed, table.draw_key[slots], index),
            until=np.minimum(table.target[rows], table.depth[rows] + (leg or self._leg)).astype(np.int32),
            halt=np.zeros(len(rows), np.int32),
            halts=(self._halt,),
            cells=cells,
            # A slice that failed may name a puzzle that is sent again here; it is not to be dropped.
            retired=np.array([n for n in replica.retired if n not in cells], np.int64),
        )
        self._replicas.mark(replica, new_slots, seen=True)
        table.home[rows] = replica.number
        return self._enter(replica, Flight(orders, rows, new_slots, group))

    def send_control(self, replica: Replica) -> Flight:
        """Order one iteration of a blank board."""
        nobody = np.zeros(0, np.int64)
        orders = Slice(
            slice_id=self._next_slice_id,
            replica_id=replica.replica_id,
            puzzle=np.array([CONTROL], np.int64),
            index=np.zeros(1, np.int32),
            seed=np.zeros(1, np.uint64),
            until=np.ones(1, np.int32),
            halt=np.zeros(1, np.int32),
            halts=(HaltRule(),),
            cells={CONTROL: self._table.blank()},
            retired=np.array(replica.retired, np.int64),
        )
        return self._enter(replica, Flight(orders, nobody, nobody))

    def _enter(self, replica: Replica, flight: Flight) -> Flight:
        self._next_slice_id += 1
        replica.retired.clear()
        replica.flights[flight.orders.slice_id] = flight
        return flight
