"""Slices of several coordinators as one slice of an engine, and its report taken apart again.

Requests of different policies, budgets and seeds share a batch that way: a slice carries its halting rules by row, and puzzle numbers
are moved into ranges that do not meet.

Invariants, asserted in tests/serving/test_serving_parts.py: every part gets back exactly its rows, whatever the order of the
report; numbers of two parts never meet; a merged slice does to each row what its own slice would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eqr_ray.types import I64, HaltRule, Slice, SliceResult

RANGE = 1 << 32
"""Puzzle numbers of one coordinator; 2^31 coordinators fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A slice of one coordinator."""

    serial: int
    """Which coordinator, a number that is never used again."""
    orders: Slice


def merge(slice_id: int, replica_id: str, parts: Sequence[Part], retired: Sequence[int] = ()) -> Slice:
    """Return one slice with the rows of all parts, part by part; `retired` are merged numbers that need no more memory."""
    halts: dict[HaltRule, int] = {}
    halt, cells = [], {}
    for part in parts:
        own = [halts.setdefault(rule, len(halts)) for rule in part.orders.halts]
        halt.append(np.array(own, np.int32)[part.orders.halt])
        cells.update({number + part.serial * RANGE: its for number, its in part.orders.cells.items()})
    gone = [part.orders.retired + part.serial * RANGE for part in parts]
    return Slice(
        slice_id=slice_id,
        replica_id=replica_id,
        puzzle=np.concatenate([part.orders.puzzle + part.serial * RANGE for part in parts]),
        index=np.concatenate([part.orders.index for part in parts]),
        seed=np.concatenate([part.orders.seed for part in parts]),
        until=np.concatenate([part.orders.until for part in parts]),
        halt=np.concatenate(halt),
        halts=tuple(halts),
        cells=cells,
        retired=np.concatenate([np.array(retired, np.int64), *gone]),
    )


def split(merged: Slice, parts: Sequence[Part], result: SliceResult) -> list[SliceResult]:
    """Return the report of each part; raises ValueError when the rows reported are not those ordered."""
    reported = result.trajectories
    if not (np.array_equal(reported.puzzle, merged.puzzle) and np.array_equal(reported.index, merged.index)):
        asked, given = np.lexsort((merged.index, merged.puzzle)), np.lexsort((reported.index, reported.puzzle))
        place = np.empty(len(merged), np.intp)
        if len(reported) == len(merged):
            place[asked] = given
            reported = reported.take(place)
        if not (np.array_equal(reported.puzzle, merged.puzzle) and np.array_equal(reported.index, merged.index)):
            raise ValueError("an engine must report one row for each trajectory ordered and no other")
    found, first = [], 0
    for part in parts:
        rows = reported.take(slice(first, first + len(part.orders)))
        first += len(part.orders)
        own = replace(rows, puzzle=rows.puzzle - part.serial * RANGE)
        # Padding is shared by all; what a part computed is its share of the rows.
        computed = result.nfe_computed * len(part.orders) // max(len(merged), 1)
        found.append(
            SliceResult(part.orders.slice_id, part.orders.replica_id, own, result.answers, computed, result.elapsed_s)
        )
    return found


def numbers(serial: int, n_puzzles: int) -> I64:
    """Return the merged numbers of a coordinator's first puzzles."""
    return np.arange(n_puzzles, dtype=np.int64) + serial * RANGE
