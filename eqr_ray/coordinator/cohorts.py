"""The puzzles that share a pool: the next so many in the order of submission.

Invariants, asserted in tests/unit/coordinator/test_cohorts.py: a cohort is decided on only when it is full, or the input has
ended, and nothing of it is under way; which puzzles share a cohort does not depend on replicas or on the order of reports.
"""

from __future__ import annotations

import numpy as np

from eqr_ray.coordinator.table import Table
from eqr_ray.types import I64


class Cohorts:
    """Puzzle number n belongs to cohort n // size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.ended = False
        """Whether the last cohort is whole though it is not full."""

    def ready(self, table: Table, slots: I64) -> list[I64]:
        """Return the slots of every cohort, of those that the given slots belong to, of which nothing is under way."""
        there = table.open_slots()
        cohort = table.number[there] // self.size
        touched = np.unique(table.number[slots] // self.size)
        if self.ended and not len(slots):
            touched = np.unique(cohort)
        found: list[I64] = []
        for own in touched.tolist():
            members = there[cohort == own]
            full = len(members) == (self.size if not self.ended else min(self.size, table.n_seen - own * self.size))
            if full and not table.pending[members].any():
                found.append(members)
        return found
