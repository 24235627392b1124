from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from endpoints import landscape
from hypothesis import given, settings
from hypothesis import strategies as st

from eqr_ray.coordinator import Coordinator
from eqr_ray.policy import policy_from
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.serving.errands import Errands, self_contained
from eqr_ray.sim import SimEngine
from eqr_ray.types import Slice, SliceResult, Trajectories

PUZZLES = [record.puzzle for record in read_puzzles(str(demo_path("sudoku6")), limit=6)]
CELLS = {number: puzzle.cells for number, puzzle in enumerate(PUZZLES)}


@dataclass
class Told:
    reports: list[SliceResult | None] = field(default_factory=list)

    def __call__(self, report: SliceResult | None) -> None:
        self.reports.append(report)


def sent(n: int, rows: int = 7) -> list[Slice]:
    """Orders of one coordinator, as its drive sends them away."""
    run = Coordinator(policy_from("adaptive", depth=64, breadth=3), 3, slice_rows=rows)
    run.join("helper")
    run.submit(PUZZLES)
    found = []
    for _ in range(n):
        orders = run.next_slice("helper", 3)
        assert orders is not None
        found.append(self_contained(orders, {number: CELLS[number] for number in set(orders.puzzle.tolist())}))
    return found


def same(one: SliceResult | None, other: SliceResult) -> None:
    assert one is not None
    assert (one.slice_id, one.replica_id) == (other.slice_id, other.replica_id)
    order, other_order = (np.lexsort((r.trajectories.index, r.trajectories.puzzle)) for r in (one, other))
    for column in Trajectories.__slots__:
        mine, theirs = getattr(one.trajectories, column), getattr(other.trajectories, column)
        assert np.array_equal(mine[order], theirs[other_order])
    assert set(one.answers) == set(other.answers)


@settings(max_examples=40, deadline=None)
@given(leg=st.integers(1, 70), rows=st.integers(1, 9), backwards=st.booleans())
def test_errands_cut_into_short_slices_report_what_whole_ones_would(leg: int, rows: int, backwards: bool) -> None:
    asked = sent(2)
    work, told = Errands(leg), [Told() for _ in asked]
    for orders, tell in list(zip(asked, told, strict=True))[:: -1 if backwards else 1]:
        work.add(orders, tell)
    engine, depth = SimEngine(landscape(0.3)), dict[tuple[int, int], int]()
    while (cut := work.next_slice("here", rows)) is not None:
        assert len(cut) <= rows
        result = engine.run(cut)
        rows_now = result.trajectories
        for puzzle, index, at in zip(
            *(c.tolist() for c in (rows_now.puzzle, rows_now.index, rows_now.depth)), strict=True
        ):
            assert at - depth.get((puzzle, index), 0) <= leg
            depth[puzzle, index] = at
        work.on_result(result)
    for orders, tell in zip(asked, told, strict=True):
        (report,) = tell.reports
        same(report, SimEngine(landscape(0.3)).run(orders))
    assert work.n_puzzles <= len(PUZZLES)


def test_what_cannot_be_finished_is_given_up_once() -> None:
    work, told = Errands(4), [Told() for _ in range(3)]
    first, second = sent(2)
    work.add(first, told[0])
    cut = work.next_slice("here", 2)
    assert cut is not None
    work.add(second, told[1])
    work.end()
    work.on_result(SimEngine().run(cut))
    work.add(first, told[2])
    assert [tell.reports for tell in told] == [[None]] * 3
    assert work.next_slice("here", 2) is None


def test_a_trajectory_that_is_extended_goes_on_where_it_was() -> None:
    (orders,) = sent(1)
    work, engine = Errands(4), SimEngine(landscape(0.0, hard_depth=1e6))
    for until in (8, 20):
        told = Told()
        further = Slice(
            **{name: getattr(orders, name) for name in Slice.__slots__}
            | {"until": np.full(len(orders), until, np.int32)}
        )
        work.add(further, told)
        computed = 0
        while (cut := work.next_slice("here", 8)) is not None:
            result = engine.run(cut)
            computed += result.nfe_computed
            work.on_result(result)
        assert told.reports[0] is not None
        assert computed == told.reports[0].nfe_computed == pytest.approx(len(orders) * (8 if until == 8 else 12))
