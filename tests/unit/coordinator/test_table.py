from __future__ import annotations

import gc
import weakref

import numpy as np

from eqr_ray.coordinator.table import Table
from eqr_ray.types import Puzzle, Status, Trajectories


def puzzles(*numbers: int) -> list[Puzzle]:
    return [Puzzle(f"p{n}", "sudoku4", np.full(16, n % 5, np.uint8)) for n in numbers]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_memory_follows_the_open_puzzles() -> None:
    table = Table(breadth=4)
    for n in range(500):
        table.close(table.open(puzzles(*range(10 * n, 10 * n + 10))))
    assert (table.n_seen, table.n_open) == (5000, 0)
    assert table.capacity <= 64
    assert len(table.depth) == 4 * table.capacity


def test_growth_keeps_what_was_known() -> None:
    table = Table(breadth=3)
    first = table.open(puzzles(0, 1))
    rows = table.start(first, ints(2, 1), ints(8, 8))
    table.depth[rows] = [5, 6, 7]
    table.open(puzzles(*range(2, 300)))
    tallies, again = table.tallies(first)
    assert np.array_equal(again, rows)
    assert tallies.trajectories.depth.tolist() == [5, 6, 7]


def test_numbers_ascend_and_slots_are_used_again() -> None:
    table = Table(breadth=1)
    first = table.open(puzzles(1))
    table.close(first)
    second = table.open(puzzles(2))
    assert first.tolist() == second.tolist()
    assert table.number[second].tolist() == [1]


def test_a_tally_holds_the_rows_of_its_puzzles_in_order() -> None:
    table = Table(breadth=4)
    slots = table.open(puzzles(0, 1, 2))
    table.start(slots, ints(1, 0, 2), ints(8, 8, 8))
    table.start(slots[:1], ints(1), ints(16))
    tallies, _ = table.tallies(slots)
    assert tallies.start.tolist() == [0, 2, 2, 4]
    assert tallies.trajectories.puzzle.tolist() == [0, 0, 2, 2]
    assert tallies.trajectories.index.tolist() == [0, 1, 0, 1]
    assert (tallies.trajectories.status == Status.RUNNING).all()


def test_a_slot_used_again_shows_nothing_of_its_predecessor() -> None:
    table = Table(breadth=2)
    slots = table.open(puzzles(0))
    rows = table.start(slots, ints(1), ints(8))
    table.depth[rows], table.residual[rows], table.status[rows] = 8, 0.01, Status.CONVERGED
    table.home[rows] = 3
    table.rounds[slots] = 4
    table.close(slots)
    slots = table.open(puzzles(1))
    rows = table.start(slots, ints(1), ints(8))
    tallies, _ = table.tallies(slots)
    t = tallies.trajectories
    assert (t.depth.tolist(), t.status.tolist(), tallies.rounds.tolist()) == ([0], [Status.RUNNING], [0])
    assert np.isinf(t.residual).all()
    assert table.home[rows].tolist() == [0]


def test_a_closed_slot_keeps_no_answer_alive() -> None:
    class Answer(np.ndarray):
        """An array that can be referred to weakly."""

    table = Table(breadth=1)
    slots = table.open(puzzles(0))
    rows = table.start(slots, ints(1), ints(8))
    answers = np.empty(1, object)
    answers[0] = np.zeros(16, np.uint8).view(Answer)
    watched = weakref.ref(answers[0])
    signal, depth = np.ones(1, np.float32), np.ones(1, np.int32)
    key, status = np.ones(1, np.uint64), np.ones(1, np.uint8)
    table.report(rows, Trajectories(ints(0), depth, depth, signal, signal, signal, key, status), answers)
    del answers
    gc.collect()
    assert watched() is not None
    table.close(slots)
    gc.collect()
    assert watched() is None
