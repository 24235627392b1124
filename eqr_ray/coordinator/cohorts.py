"""The puzzles that share a pool: the next so many in the order of submission.

Invariants, asserted in tests/unit/coordinator/test_cohorts.py: a cohort is decided on only when it is full, or the input has
ended, and nothing of it is under way; which puzzles share a cohort does not depend on replicas or on the order of reports.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from eqr_ray.coordinator.table import Table
from eqr_ray.types import I64


class Cohorts:
    """Puzzle number n belongs to cohort n // size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.ended = False
        """Whether the last cohort is whole though it is not full."""
        self._n_removed: Counter[int] = Counter()

    def remove(self, number: int) -> int:
        """Let a cohort go on without one of its puzzles, which was set aside; returns the cohort."""
        self._n_removed[number // self.size] += 1
        return number // self.size

    def ready(self, table: Table, slots: I64) -> list[I64]:
        """Return the slots of every cohort, of those that the given slots belong to, of which nothing is under way."""
        touched = table.number[slots] // self.size
        if self.ended and not len(slots):
            touched = table.number[table.open_slots()] // self.size
        return self.ready_of(table, np.unique(touched).tolist())

    def ready_of(self, table: Table, cohorts: list[int]) -> list[I64]:
        """Return the slots of those of the cohorts of which nothing is under way."""
        there = table.open_slots()
        cohort = table.number[there] // self.size
        found: list[I64] = []
        for own in cohorts:
            members = there[cohort == own]
            whole = self.size if not self.ended else min(self.size, table.n_seen - own * self.size)
            full = len(members) == whole - self._n_removed[own]
            if full and len(members) and not table.pending[members].any():
                found.append(members)
        return found
