from __future__ import annotations

import pytest
from verdict_builders import facts, puzzles

from eqr_ray.coordinator import Coordinator
from eqr_ray.policy import policy_from
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.types import StopReason

LANDSCAPE = Landscape(easy=0.0, hard_depth=200.0)


def run_of(n_puzzles: int, leg: int = 4, rows: int = 256) -> tuple[Coordinator, SimEngine]:
    run = Coordinator(policy_from("adaptive", depth=64, breadth=6), seed=1, leg=leg, slice_rows=rows)
    run.join("a")
    run.submit(puzzles(n_puzzles))
    return run, SimEngine(LANDSCAPE)


def step(run: Coordinator, engine: SimEngine) -> None:
    orders = run.next_slice("a")
    assert orders is not None
    run.on_result(engine.run(orders))


def test_concluding_answers_with_what_was_reported() -> None:
    run, engine = run_of(3)
    step(run, engine)
    found = run.conclude(StopReason.DEADLINE)
    assert [(v.stop, v.nfe, v.breadth, v.depth) for v in found] == [(StopReason.DEADLINE, 4, 1, 4)] * 3
    assert run.done
    assert run.next_slice("a") is None


def test_a_puzzle_that_nobody_stepped_is_dropped_without_a_verdict() -> None:
    run, engine = run_of(5, rows=2)
    step(run, engine)
    found = run.conclude(StopReason.DEADLINE)
    assert len(found) == 2
    assert run.done


def test_trajectories_that_nobody_stepped_neither_vote_nor_count() -> None:
    run = Coordinator(policy_from("fixed", depth=8, breadth=4), seed=1, leg=8, slice_rows=3)
    run.join("a")
    run.submit(puzzles(1))
    step(run, SimEngine(LANDSCAPE))
    (found,) = run.conclude(StopReason.DEADLINE)
    assert (found.breadth, found.nfe) == (3, 24)
    assert sum(vote.count for vote in found.ballot) <= 3


def test_nothing_is_concluded_while_a_slice_is_in_flight() -> None:
    run, engine = run_of(2)
    orders = run.next_slice("a")
    assert orders is not None
    with pytest.raises(ValueError, match="in flight"):
        run.conclude(StopReason.DEADLINE)
    run.on_result(engine.run(orders))
    assert len(run.conclude(StopReason.DEADLINE)) == 2


def test_new_puzzles_after_a_conclusion_reach_their_usual_verdicts() -> None:
    run, engine = run_of(3)
    step(run, engine)
    run.conclude(StopReason.DEADLINE)
    asked = puzzles(6)
    run.submit(asked)
    found = []
    while not run.done:
        orders = run.next_slice("a")
        assert orders is not None
        found += run.on_result(engine.run(orders))
    alone, engine = run_of(6)
    expected = []
    while not alone.done:
        orders = alone.next_slice("a")
        assert orders is not None
        expected += alone.on_result(engine.run(orders))
    assert sorted(map(facts, found)) == sorted(map(facts, expected))
