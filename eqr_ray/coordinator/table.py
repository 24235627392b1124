"""What the coordinator knows: columns over the open puzzles and their trajectories.

A puzzle has a slot while it is open; trajectory i of the puzzle in slot p is row `p * B + i` of the trajectory columns.
Slots are used again.

Invariants, asserted in tests/unit/coordinator/test_table.py: memory follows the number of open puzzles, not of puzzles
seen; a tally holds the rows of its puzzles sorted by number and index; a closed slot keeps no answer alive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eqr_ray.types import I64, U8, Puzzle, Status, Tallies, Trajectories

_FIRST_CAPACITY = 64


class Table:
    """Growable columns; B is the breadth of the budget."""

    def __init__(self, breadth: int) -> None:
        self._breadth_limit = breadth
        self._capacity = 0
        self._free: list[int] = []
        self._next_number = 0
        self.number = np.zeros(0, np.int64)
        """(P,) number of the puzzle in each slot; numbers ascend with submission and are never used again."""
        self.draw_key = np.zeros(0, np.uint64)
        """(P,)"""
        self.breadth = np.zeros(0, np.int64)
        """(P,) trajectories started."""
        self.rounds = np.zeros(0, np.int32)
        """(P,) rounds of orders given."""
        self.pending = np.zeros(0, np.int64)
        """(P,) trajectories that have not yet reached what was ordered."""
        self.puzzle = np.zeros(0, object)
        """(P,) the puzzles themselves."""
        self.depth = np.zeros(0, np.int32)
        """(P * B,) iterations known to be done."""
        self.target = np.zeros(0, np.int32)
        """(P * B,) depth that the policy ordered."""
        self.residual = np.zeros(0, np.float32)
        self.logit_delta = np.zeros(0, np.float32)
        self.q_halt = np.zeros(0, np.float32)
        self.answer_key = np.zeros(0, np.uint64)
        self.status = np.zeros(0, np.uint8)
        self.home = np.zeros(0, np.int32)
        """(P * B,) number of the replica that holds the latents; 0 while none does."""
        self.answer = np.zeros(0, object)
        """(P * B,) decoded answers as last reported."""

    @property
    def capacity(self) -> int:
        """Slots that exist, open or free."""
        return self._capacity

    @property
    def n_open(self) -> int:
        """Puzzles that are open."""
        return self._capacity - len(self._free)

    @property
    def n_seen(self) -> int:
        """Puzzles that were ever opened."""
        return self._next_number

    def open_slots(self) -> I64:
        """Return the slots that hold a puzzle, ascending."""
        return np.flatnonzero(np.fromiter((puzzle is not None for puzzle in self.puzzle), np.bool_, self._capacity))

    def open(self, puzzles: Sequence[Puzzle]) -> I64:
        """Give each puzzle a slot and a number; returns the slots in the order of the puzzles."""
        while len(self._free) < len(puzzles):
            self._grow()
        slots = np.array([self._free.pop() for _ in puzzles], np.int64)
        self.number[slots] = np.arange(self._next_number, self._next_number + len(puzzles))
        self._next_number += len(puzzles)
        self.draw_key[slots] = np.array([puzzle.draw_key for puzzle in puzzles], np.uint64)
        self.breadth[slots] = 0
        self.rounds[slots] = 0
        self.pending[slots] = 0
        self.puzzle[slots] = _objects(puzzles)
        return slots

    def close(self, slots: I64) -> None:
        """Free the slots and forget what they held."""
        rows, _ = self.rows_of(slots)
        self.answer[rows] = None
        self.home[rows] = 0
        self.puzzle[slots] = None
        self.breadth[slots] = 0
        self._free.extend(slots.tolist())

    def start(self, slots: I64, count: I64, target: I64) -> I64:
        """Start `count` trajectories of each slot towards `target`; returns their rows, slot by slot."""
        first = slots * self._breadth_limit + self.breadth[slots]
        rows = np.repeat(first, count) + _within(count)
        self.depth[rows] = 0
        self.target[rows] = np.repeat(target, count)
        self.residual[rows] = np.inf
        self.logit_delta[rows] = np.inf
        self.status[rows] = Status.RUNNING
        self.home[rows] = 0
        self.breadth[slots] += count
        return rows

    def slot_of(self, rows: I64) -> I64:
        """Return the slot of each row."""
        return rows // self._breadth_limit

    def index_of(self, rows: I64) -> I64:
        """Return which trajectory of its puzzle each row is."""
        return rows % self._breadth_limit

    def span(self, slot: int) -> tuple[int, int]:
        """Return the first row of a slot and the first behind it."""
        return slot * self._breadth_limit, (slot + 1) * self._breadth_limit

    def blank(self) -> U8:
        """Return a board of blank cells of the size of the puzzles that are open; raises StopIteration when none is."""
        return np.zeros_like(next(puzzle.cells for puzzle in self.puzzle if puzzle is not None))

    def backlog(self) -> int:
        """Return the iterations that were ordered and have not been reported."""
        started = np.arange(len(self.depth)) % self._breadth_limit < np.repeat(self.breadth, self._breadth_limit)
        short = (self.status == Status.RUNNING) & (self.depth < self.target) & started
        return int((self.target - self.depth)[short].sum())

    def rows_of(self, slots: I64) -> tuple[I64, I64]:
        """Return the rows of the slots, slot by slot, and (P + 1,) where each slot's rows start among them."""
        count = self.breadth[slots]
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
        return np.repeat(slots * self._breadth_limit, count) + _within(count), start

    def tallies(self, slots: I64) -> tuple[Tallies, I64]:
        """Return the tallies of slots sorted by number, and the row of each of its trajectories."""
        rows, start = self.rows_of(slots)
        number = self.number[slots]
        trajectories = Trajectories(
            np.repeat(number, self.breadth[slots]),
            self.index_of(rows).astype(np.int32),
            self.depth[rows],
            self.residual[rows],
            self.logit_delta[rows],
            self.q_halt[rows],
            self.answer_key[rows],
            self.status[rows],
        )
        return Tallies(number, start, trajectories, self.rounds[slots]), rows

    def report(self, rows: I64, reported: Trajectories, answers: NDArray[np.object_]) -> None:
        """Write what a replica reported of the rows."""
        self.depth[rows] = reported.depth
        self.residual[rows] = reported.residual
        self.logit_delta[rows] = reported.logit_delta
        self.q_halt[rows] = reported.q_halt
        self.answer_key[rows] = reported.answer_key
        self.status[rows] = reported.status
        self.answer[rows] = answers

    def _grow(self) -> None:
        old, new = self._capacity, max(2 * self._capacity, _FIRST_CAPACITY)
        for name in ("number", "draw_key", "breadth", "rounds", "pending", "puzzle"):
            setattr(self, name, _longer(getattr(self, name), new))
        for name in (
            "depth", "target", "residual", "logit_delta", "q_halt", "answer_key", "status", "home", "answer",
        ):  # fmt: skip
            setattr(self, name, _longer(getattr(self, name), new * self._breadth_limit))
        self._capacity = new
        self._free.extend(range(new - 1, old - 1, -1))


def _within(count: I64) -> I64:
    """Return 0..count[p]-1 for every p, end to end."""
    total = int(count.sum())
    return np.arange(total, dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)


def _objects(values: Sequence[object]) -> NDArray[np.object_]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _longer(column: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    grown = np.zeros(length, column.dtype) if column.dtype != object else np.full(length, None, object)
    grown[: len(column)] = column
    return grown
