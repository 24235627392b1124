"""Whether a replica's report answers the slice that it was given.

Invariant, asserted in tests/unit/coordinator/test_checks.py: a report that does not match its slice is refused with the
replica's name before anything is written down.
"""

from __future__ import annotations

import numpy as np

from eqr_ray.coordinator.replicas import Flight
from eqr_ray.types import SliceResult, Status, Trajectories


def align(flight: Flight, result: SliceResult) -> Trajectories:
    """Return the reported rows in the order of the slice; raises ValueError naming the replica when they do not match
    it."""
    orders, reported = flight.orders, result.trajectories
    columns = [getattr(reported, name) for name in Trajectories.__slots__]
    _require(
        result,
        all(len(column) == len(orders) for column in columns),
        f"it must have {len(orders)} rows in every column",
    )
    if not (np.array_equal(reported.puzzle, orders.puzzle) and np.array_equal(reported.index, orders.index)):
        asked, given = np.lexsort((orders.index, orders.puzzle)), np.lexsort((reported.index, reported.puzzle))
        same = np.array_equal(orders.puzzle[asked], reported.puzzle[given])
        same = same and np.array_equal(orders.index[asked], reported.index[given])
        _require(result, same, "it must have one row for each trajectory of the slice and no other")
        place = np.empty(len(orders), np.intp)
        place[asked] = given
        reported = reported.take(place)
    running = reported.status == Status.RUNNING
    _require(result, bool((reported.status <= max(Status)).all()), "every status must be a value of Status")
    at_order = reported.depth == orders.until
    _require(result, bool(at_order[running].all()), "a running trajectory must stand at the depth ordered")
    within = (reported.depth >= 1) & (reported.depth <= orders.until)
    _require(result, bool(within.all()), "every depth must lie between 1 and the depth ordered")
    missing = set(reported.answer_key.tolist()) - result.answers.keys()
    _require(result, not missing, f"its answers must hold every answer_key, and lack {sorted(missing)[:1]}")
    _require(result, result.nfe_computed >= 0, f"nfe_computed must not be negative, got {result.nfe_computed}")
    return reported


def _require(result: SliceResult, holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(f"replica {result.replica_id} reported slice {result.slice_id} wrongly: {rule}")
