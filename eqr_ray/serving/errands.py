"""What a replica computes for another one: slices that stand alone, cut to the measure of its own drive.

An errand carries every question that it needs, so errands may arrive in any order, and a replica that has forgotten what it held starts
from the seeds. Its rows take part in the drive's slices with a fair share like those of any request, a leg at a time, so that a
replica that lends its engine still answers its own requests soon.

Invariants, asserted in tests/serving/test_errands.py: each errand is answered once, with exactly its rows; rows advance at most
a leg in a slice; an errand that cannot be finished is answered with None.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from eqr_ray.serving.jobs import Job, Outcome
from eqr_ray.types import I64, U8, Bool, Slice, SliceResult, Status, Trajectories, Verdict

Tell = Callable[[SliceResult | None], None]


@dataclass(slots=True, eq=False)
class _Errand:
    """One slice of another replica, and how far it has come."""

    orders: Slice
    tell: Tell
    depth: I64
    """(N,) what has been reported, or 0."""
    free: Bool
    """(N,) rows that are neither in a slice nor finished."""
    found: list[Trajectories | None]
    """Last report of each row, one row long."""
    answers: dict[int, U8] = field(default_factory=dict)
    nfe_computed: int = 0
    elapsed_s: float = 0.0
    n_left: int = 0
    known: bool = False
    """Whether its questions have been given to the engine."""


@dataclass(slots=True, eq=False)
class _Cut:
    """Rows of one errand in a slice under way."""

    errand: _Errand
    rows: I64


class Errands:
    """A queue of errands, as `Work` of a drive; errands come in from any thread."""

    def __init__(self, leg: int) -> None:
        self._leg = leg
        self._lock = threading.Lock()
        self._open: list[_Errand] = []
        self._under_way: dict[int, _Cut] = {}
        self._next_slice = 0
        self._ended = False
        self._reached: dict[tuple[int, int], int] = {}
        """Depth of the trajectories that may still be held here."""
        self.n_puzzles = 0
        """All puzzle numbers so far are below it."""

    def add(self, orders: Slice, tell: Tell) -> None:
        """Take in an errand; `tell` is called once, with its report, or with None when it is given up."""
        names = zip(orders.puzzle.tolist(), orders.index.tolist(), strict=True)
        depth = np.array([self._reached.get(name, 0) for name in names], np.int64)
        n = len(orders)
        with self._lock:
            if not self._ended:
                self.n_puzzles = max(self.n_puzzles, 1 + int(orders.puzzle.max(initial=-1)))
                self._open.append(_Errand(orders, tell, depth, np.ones(n, np.bool_), [None] * n, n_left=n))
                return
        tell(None)

    def end(self) -> None:
        """Give up what is open and take nothing new."""
        with self._lock:
            self._ended = True
            given_up, self._open = self._open, []
        for errand in given_up:
            errand.tell(None)

    @property
    def done(self) -> bool:
        """Never by itself: the other replica says when it needs this one no more."""
        return False

    @property
    def backlog_iterations(self) -> int:
        """Nothing: the replica that sent them counts them."""
        return 0

    @property
    def rows_free(self) -> int:
        """Nothing that may be handed on."""
        return 0

    def next_slice(self, replica_id: str, rows_at_most: int | None = None, leg: int | None = None) -> Slice | None:
        """Return rows of the oldest errand that has any; None when none has."""
        with self._lock:
            errand = next((one for one in self._open if one.free.any()), None)
        if errand is None:
            return None
        rows = np.flatnonzero(errand.free)[:rows_at_most]
        errand.free[rows] = False
        orders = errand.orders
        self._under_way[self._next_slice] = _Cut(errand, rows)
        cut = Slice(
            slice_id=self._next_slice,
            replica_id=replica_id,
            puzzle=orders.puzzle[rows],
            index=orders.index[rows],
            seed=orders.seed[rows],
            until=np.minimum(orders.until[rows], errand.depth[rows] + (leg or self._leg)).astype(np.int32),
            halt=orders.halt[rows],
            halts=orders.halts,
            cells={} if errand.known else orders.cells,
            retired=np.zeros(0, np.int64) if errand.known else orders.retired,
        )
        errand.known = True
        self._next_slice += 1
        return cut

    def on_result(self, result: SliceResult) -> list[Verdict]:
        """Note how far the rows have come, and answer their errand when it was the last of them."""
        cut = self._under_way.pop(result.slice_id)
        errand, reported = cut.errand, result.trajectories
        errand.depth[cut.rows] = reported.depth
        errand.answers.update({key: result.answers[key] for key in reported.answer_key.tolist()})
        errand.nfe_computed += result.nfe_computed
        errand.elapsed_s += result.elapsed_s
        over = (reported.status != Status.RUNNING) | (reported.depth >= errand.orders.until[cut.rows])
        for place, row in enumerate(cut.rows.tolist()):
            errand.found[row] = reported.take(slice(place, place + 1))
            self._reached[int(reported.puzzle[place]), int(reported.index[place])] = int(reported.depth[place])
        errand.free[cut.rows] = ~over
        errand.n_left -= int(over.sum())
        if not errand.n_left:
            with self._lock:
                mine = errand in self._open
                if mine:
                    self._open.remove(errand)
            if mine:
                errand.tell(_report(errand))
        return []


def _report(errand: _Errand) -> SliceResult:
    found = [row for row in errand.found if row is not None]
    columns = (np.concatenate([getattr(row, name) for row in found]) for name in Trajectories.__slots__)
    rows = Trajectories(*columns)
    answers = {key: errand.answers[key] for key in rows.answer_key.tolist()}
    orders = errand.orders
    return SliceResult(orders.slice_id, orders.replica_id, rows, answers, errand.nfe_computed, errand.elapsed_s)


@dataclass(slots=True, eq=False, kw_only=True)
class Help(Job):
    """All errands of one request of another replica, from when this engine was lent until it is given back."""

    errands: Errands

    @property
    def n_puzzles(self) -> int:
        """Puzzles of which the engine may hold something."""
        return self.errands.n_puzzles

    def begin(self, rows: int, leg: int) -> None:
        """Take part in slices."""
        self.work = self.errands

    def conclude(self, outcome: Outcome) -> list[Verdict]:
        """Give up what is open, so that it is done elsewhere."""
        self.errands.end()
        return []


def self_contained(orders: Slice, cells: dict[int, U8]) -> Slice:
    """Return the orders with every question that they need."""
    return replace(orders, cells=cells)
