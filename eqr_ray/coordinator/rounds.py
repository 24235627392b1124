"""What the reports of a round mean: the policy is asked, new orders are queued, puzzles are closed.

Invariants, asserted in tests/unit/coordinator/test_coordinator.py: the policy sees a puzzle only when nothing of it is under way;
an extension waits for the replica that holds the latents; every puzzle is closed once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eqr_ray.coordinator.cohorts import Cohorts
from eqr_ray.coordinator.queues import RowQueue
from eqr_ray.coordinator.replicas import Replicas
from eqr_ray.coordinator.table import Table
from eqr_ray.coordinator.verdicts import crashed, reported_only, verdicts_of
from eqr_ray.policy import Policy, PoolPolicy, check_allocations
from eqr_ray.types import I64, Allocations, Puzzle, StopReason, Tallies, Verdict


class Rounds:
    """Decides between rounds; holds the rows that wait for any replica."""

    def __init__(self, policy: Policy, table: Table, replicas: Replicas) -> None:
        self._policy, self._table, self._replicas = policy, table, replicas
        self.cohorts = Cohorts(policy.cohort) if isinstance(policy, PoolPolicy) else None
        self.returned, self.widened, self.fresh = RowQueue(), RowQueue(), RowQueue()
        self.puzzles_done = self.nfe = 0

    @property
    def queues(self) -> tuple[RowQueue, ...]:
        """The rows that any replica may take, in the order in which they are taken; older puzzles end first."""
        return self.returned, self.widened, self.fresh

    def end_input(self) -> list[Verdict]:
        """No puzzle will come any more: a cohort that waits for more begins as it is."""
        if self.cohorts is None:
            return []
        self.cohorts.ended = True
        return self.decide_ready(np.zeros(0, np.int64))

    def decide_ready(self, slots: I64) -> list[Verdict]:
        """Decide on puzzles of which nothing is under way; those of a pool wait for the last of their cohort."""
        if self.cohorts is None:
            return self._decide(slots)
        return [verdict for own in self.cohorts.ready(self._table, slots) for verdict in self._decide(own)]

    def close(self, slots: I64, stops: list[StopReason]) -> list[Verdict]:
        """Close puzzles with what was reported of them."""
        table = self._table
        tallies, rows = reported_only(*table.tallies(slots))
        choices = self._policy.select(tallies)
        puzzles: list[Puzzle] = table.puzzle[slots].tolist()
        answers: NDArray[np.object_] = table.answer[rows]
        found = verdicts_of(puzzles, tallies, answers, choices, self._policy.selection, stops)
        self.retire(slots)
        self.puzzles_done += len(found)
        self.nfe += int(tallies.nfe.sum())
        return found

    def close_crashed(self, slot: int) -> list[Verdict]:
        """Close a puzzle without an answer; returns its verdict, and those of puzzles that only waited for it."""
        number = int(self._table.number[slot])
        found = [crashed(self._table.puzzle[slot], self._policy.selection)]
        self.puzzles_done += 1
        self.retire(np.array([slot], np.int64))
        if self.cohorts is not None:
            for own in self.cohorts.ready_of(self._table, [self.cohorts.remove(number)]):
                found += self._decide(own)
        return found

    def retire(self, slots: I64) -> None:
        """Free the slots and let every replica that has seen their puzzles be told."""
        self._replicas.retire(slots, self._table.number[slots])
        self._table.close(slots)

    def _decide(self, slots: I64) -> list[Verdict]:
        if not len(slots):
            return []
        table = self._table
        slots = slots[np.argsort(table.number[slots])]
        tallies, rows = table.tallies(slots)
        granted = self._policy.allocate(tallies)
        check_allocations(tallies, granted, self._policy.budget, self.cohorts is not None)
        table.rounds[slots] += 1
        self._order(slots, rows, tallies, granted)
        stopped = np.array([reason is not None for reason in granted.stop], np.bool_)
        if not stopped.any():
            return []
        return self.close(slots[stopped], [reason for reason in granted.stop if reason is not None])

    def _order(self, slots: I64, rows: I64, tallies: Tallies, granted: Allocations) -> None:
        table = self._table
        extended = rows[granted.extend_to > 0]
        table.target[extended] = granted.extend_to[granted.extend_to > 0]
        np.add.at(table.pending, table.slot_of(extended), 1)
        home = table.home[extended]
        for number in np.unique(home).tolist():
            queue = self.returned if number == 0 else self._replicas.numbered(number).waiting
            queue.push(extended[home == number])
        table.pending[slots] += granted.spawn
        new = tallies.breadth == 0
        for queue, chosen in ((self.fresh, new), (self.widened, ~new)):
            count, target = granted.spawn[chosen].astype(np.int64), granted.spawn_to[chosen].astype(np.int64)
            queue.push(table.start(slots[chosen], count, target))
