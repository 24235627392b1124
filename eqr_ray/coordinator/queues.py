"""Rows that wait for a replica, first in, first out.

Invariants, asserted in tests/unit/coordinator/test_queues.py: what is pushed comes out once, in order; work on arrays,
never on single rows.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from eqr_ray.types import I64


class RowQueue:
    """A queue of row numbers held as chunks."""

    def __init__(self) -> None:
        self._chunks: deque[I64] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, rows: I64) -> None:
        """Append rows at the end."""
        if len(rows):
            self._chunks.append(rows)
            self._length += len(rows)

    def pop(self, most: int) -> I64:
        """Take up to `most` rows from the front."""
        taken: list[I64] = []
        room = most
        while room > 0 and self._chunks:
            chunk = self._chunks.popleft()
            if len(chunk) > room:
                self._chunks.appendleft(chunk[room:])
                chunk = chunk[:room]
            taken.append(chunk)
            room -= len(chunk)
        rows = np.concatenate(taken) if taken else np.zeros(0, np.int64)
        self._length -= len(rows)
        return rows

    def drop(self, first: int, last: int) -> None:
        """Remove the rows from `first` up to, and not including, `last`."""
        kept = [chunk[(chunk < first) | (chunk >= last)] for chunk in self._chunks]
        self._chunks = deque(chunk for chunk in kept if len(chunk))
        self._length = sum(map(len, self._chunks))
