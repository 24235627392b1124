from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from verdict_builders import facts, puzzles

from eqr_ray.coordinator import Coordinator
from eqr_ray.policy import Choices, Policy, policy_from
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.types import Allocations, Slice, SliceResult, Tallies, Verdict

LANDSCAPE = Landscape(easy=0.2, hard_depth=20.0)


def coordinator(policy: Policy | None = None, **limits: int) -> Coordinator:
    return Coordinator(policy or policy_from("adaptive", depth=64, breadth=6), seed=1, **limits)


def engine() -> SimEngine:
    return SimEngine(LANDSCAPE)


def ordered(run: Coordinator, replica_id: str = "a", rows_at_most: int | None = None) -> Slice:
    orders = run.next_slice(replica_id, rows_at_most)
    assert orders is not None
    return orders


def finish(run: Coordinator, engines: dict[str, SimEngine]) -> list[Verdict]:
    """Let the replicas take turns until nothing is open."""
    found: list[Verdict] = []
    while not run.done:
        worked = False
        for replica_id, machine in engines.items():
            orders = run.next_slice(replica_id)
            if orders is not None:
                found += run.on_result(machine.run(orders))
                worked = True
        assert worked, "puzzles are open and nobody has work"
    return found


def alone(n: int) -> list[tuple[object, ...]]:
    """Return the verdicts of a run that nothing disturbs."""
    run = coordinator()
    run.join("a")
    run.submit(puzzles(n))
    return sorted(map(facts, finish(run, {"a": engine()})))


def test_a_fixed_run_is_charged_exactly_depth_times_breadth() -> None:
    run = coordinator(policy_from("fixed", depth=30, breadth=3), leg=8, slice_rows=7)
    run.join("a")
    run.submit(puzzles(10))
    found = finish(run, {"a": SimEngine(replace(LANDSCAPE, diverging=0.0))})
    assert [(v.nfe, v.breadth, v.depth) for v in found] == [(90, 3, 30)] * 10
    counters = run.counters()
    assert (counters.nfe, counters.nfe_computed, counters.puzzles_done) == (900, 900, 10)


def test_legs_bound_each_order_and_change_no_verdict() -> None:
    run = coordinator(leg=5)
    run.join("a")
    run.submit(puzzles(30))
    machine, depth, found = engine(), {}, []
    while not run.done:
        orders = ordered(run)
        for row, until in zip(
            zip(orders.puzzle.tolist(), orders.index.tolist(), strict=True), orders.until, strict=True
        ):
            assert depth.get(row, 0) < until <= depth.get(row, 0) + 5
            depth[row] = int(until)
        found += run.on_result(machine.run(orders))
    assert sorted(map(facts, found)) == alone(30)


def test_a_slice_may_have_a_leg_of_its_own_and_rows_that_wait_are_counted() -> None:
    run = Coordinator(policy_from("fixed", depth=40, breadth=3), 0, leg=4, slice_rows=8)
    run.join("a")
    run.submit(puzzles(4))
    assert (run.rows_free, run.backlog_iterations) == (12, 480)
    short, long = run.next_slice("a"), run.next_slice("a", leg=32)
    assert short is not None
    assert long is not None
    assert (set(short.until.tolist()), set(long.until.tolist())) == ({4}, {32})
    assert run.rows_free == 12 - len(short) - len(long)
    engine = SimEngine(Landscape(easy=0.0, hard_depth=1e6))
    run.on_result(engine.run(short))
    assert run.backlog_iterations == 480 - 4 * len(short)


def test_a_slice_has_at_most_the_rows_allowed() -> None:
    run = coordinator(slice_rows=8)
    run.join("a")
    run.submit(puzzles(20))
    assert len(ordered(run, rows_at_most=3)) == 3
    assert len(ordered(run)) == 8


def test_the_last_rows_are_shared_among_the_replicas() -> None:
    run = coordinator(slice_rows=64)
    for replica_id in "abcd":
        run.join(replica_id)
    run.submit(puzzles(40))
    assert [len(ordered(run, replica_id)) for replica_id in "abcd"] == [10, 8, 8, 8]


def test_extensions_go_home_and_cells_are_sent_once() -> None:
    run = coordinator(slice_rows=16, leg=4)
    engines = {"a": engine(), "b": engine()}
    for replica_id in engines:
        run.join(replica_id)
    run.submit(puzzles(40))
    home: dict[tuple[int, int], str] = {}
    sent: dict[str, set[int]] = {"a": set(), "b": set()}
    while not run.done:
        for replica_id, machine in engines.items():
            orders = run.next_slice(replica_id)
            if orders is None:
                continue
            for row in zip(orders.puzzle.tolist(), orders.index.tolist(), strict=True):
                assert home.setdefault(row, replica_id) == replica_id
            assert not sent[replica_id] & orders.cells.keys()
            sent[replica_id] |= orders.cells.keys()
            assert set(orders.puzzle.tolist()) <= sent[replica_id]
            run.on_result(machine.run(orders))


def test_closed_puzzles_are_retired_where_they_were_seen() -> None:
    run = coordinator(open_limit=10, slice_rows=10)
    run.join("a")
    machine = engine()
    for first in range(0, 200, 10):
        run.submit(puzzles(10, first))
        finish(run, {"a": machine})
    assert machine.n_puzzles <= 20
    run.submit(puzzles(1, 900))
    machine.run(ordered(run))
    assert machine.n_puzzles == 1


def test_a_lost_slice_is_requeued_once_and_its_late_result_ignored() -> None:
    run = coordinator(slice_rows=64)
    run.join("a")
    run.submit(puzzles(20))
    lost = ordered(run)
    late = engine().run(lost)
    assert run.on_lost("a") == 1
    assert run.on_lost("a") == 0
    run.join("b")
    assert run.on_result(late) == []
    found = finish(run, {"b": engine()})
    assert run.on_result(late) == []
    assert sorted(map(facts, found)) == alone(20)
    counters = run.counters()
    assert (counters.lost_slices, counters.ignored_results) == (1, 2)
    assert counters.nfe_computed == counters.nfe + late.nfe_computed


def test_an_extension_of_a_lost_trajectory_restarts_elsewhere() -> None:
    run = coordinator(policy_from("fixed", depth=20, breadth=1), leg=8)
    run.join("a")
    run.submit(puzzles(5))
    run.on_result(engine().run(ordered(run)))
    run.on_lost("a")
    run.join("b")
    orders = ordered(run, "b")
    assert orders.until.tolist() == [16] * 5
    assert len(orders.cells) == 5
    assert engine().run(orders).nfe_computed == 80


def test_a_repeated_result_changes_nothing() -> None:
    run = coordinator(slice_rows=64)
    run.join("a")
    run.submit(puzzles(20))
    result = engine().run(ordered(run))
    first = run.on_result(result)
    before = run.counters()
    assert run.on_result(result) == []
    after = run.counters()
    assert replace(after, ignored_results=0) == before
    assert (after.ignored_results, after.puzzles_done) == (1, len(first))


def test_a_failed_slice_is_given_out_again_with_its_cells_and_retirements() -> None:
    run = coordinator(slice_rows=64, open_limit=40)
    run.join("a")
    machine = engine()
    run.submit(puzzles(10))
    found = finish(run, {"a": machine})
    run.submit(puzzles(10, 10))
    failed = ordered(run)
    assert len(failed.retired) > 0
    assert run.on_failed("a", failed.slice_id)
    assert not run.on_failed("a", failed.slice_id)
    again = ordered(run)
    assert set(again.cells) == set(failed.cells)
    assert set(failed.retired.tolist()) <= set(again.retired.tolist())
    assert not set(again.retired.tolist()) & set(again.cells)
    found += run.on_result(machine.run(again))
    found += finish(run, {"a": machine})
    assert len({v.puzzle_id for v in found}) == len(found) == 20


def test_a_leaving_replica_gets_nothing_more_and_its_last_report_counts() -> None:
    run = coordinator(slice_rows=10, leg=4)
    engines = {"a": engine(), "b": engine()}
    for replica_id in engines:
        run.join(replica_id)
    run.submit(puzzles(20))
    last = ordered(run, "a")
    run.leave("a")
    assert run.next_slice("a") is None
    assert run.replica_ids == ("a", "b")
    found = run.on_result(engines["a"].run(last))
    assert run.replica_ids == ("b",)
    found += finish(run, {"b": engines["b"]})
    assert sorted(map(facts, found)) == alone(20)
    assert run.counters().lost_slices == 0


def test_a_replica_that_comes_back_is_told_everything_again() -> None:
    run = coordinator(slice_rows=64, leg=4)
    run.join("a")
    run.submit(puzzles(10))
    run.on_result(engine().run(ordered(run)))
    run.on_lost("a")
    run.join("a")
    assert sorted(map(facts, finish(run, {"a": engine()}))) == alone(10)


def test_an_equal_question_gets_an_equal_answer() -> None:
    one = puzzles(1)[0]
    run = coordinator()
    run.join("a")
    run.submit([one, replace(one, puzzle_id="again")])
    first, second = finish(run, {"a": engine()})
    assert facts(first)[1:] == facts(second)[1:]


def test_a_verdict_adds_up() -> None:
    run = coordinator()
    run.join("a")
    run.submit(puzzles(50))
    found = finish(run, {"a": engine()})
    for verdict in found:
        assert np.array_equal(verdict.answer, verdict.ballot[0].answer)
        assert (verdict.votes, verdict.confidence) == (verdict.ballot[0].count, verdict.ballot[0].weight)
        assert verdict.distinct_answers == len(verdict.ballot)
        assert verdict.depth <= verdict.nfe <= verdict.depth * verdict.breadth
    assert sum(v.nfe for v in found) == run.counters().nfe


def test_only_as_many_puzzles_as_there_is_room_for_are_open() -> None:
    run = coordinator(open_limit=5)
    assert run.can_admit(5)
    assert not run.can_admit(6)
    with pytest.raises(ValueError, match="at most 5 more puzzles may be submitted now, got 6"):
        run.submit(puzzles(6))
    run.submit(puzzles(5))
    assert (run.room, run.can_admit(), run.done) == (0, False, False)


def test_counters_follow_the_work() -> None:
    run = coordinator(policy_from("fixed", depth=20, breadth=2), leg=8, slice_rows=4)
    run.join("a")
    run.submit(puzzles(3))
    assert run.counters().backlog_iterations == 120
    orders = ordered(run)
    counters = run.counters()
    assert (counters.rows_in_flight, counters.replicas[0].slices_in_flight) == (4, 1)
    run.on_result(SimEngine(replace(LANDSCAPE, diverging=0.0)).run(orders))
    counters = run.counters()
    assert (counters.backlog_iterations, counters.rows_in_flight, counters.rows_done) == (120 - 4 * 8, 0, 4)
    assert (counters.puzzles_submitted, counters.puzzles_open, counters.puzzles_done) == (3, 3, 0)
    assert counters.replicas[0].rows_waiting == 4


class Watching:
    """The default policy, looking at what it is shown."""

    def __init__(self) -> None:
        self._policy = policy_from("adaptive", depth=64, breadth=6)
        self.name, self.budget, self.selection = self._policy.name, self._policy.budget, self._policy.selection
        self.asked: list[Tallies] = []

    def allocate(self, tallies: Tallies) -> Allocations:
        self.asked.append(tallies)
        return self._policy.allocate(tallies)

    def select(self, tallies: Tallies) -> Choices:
        self.asked.append(tallies)
        return self._policy.select(tallies)


def test_a_policy_is_shown_puzzles_in_ascending_order_and_each_round_once() -> None:
    policy = Watching()
    run = coordinator(policy, open_limit=7, slice_rows=3)
    run.join("a")
    machine, rounds, found = engine(), dict[int, int](), []
    for first in range(0, 70, 7):
        run.submit(puzzles(run.room, first))
        for _ in range(3):
            orders = run.next_slice("a")
            found += [] if orders is None else run.on_result(machine.run(orders))
    for tallies in policy.asked:
        assert (np.diff(tallies.puzzle) > 0).all()
        order = np.lexsort((tallies.trajectories.index, tallies.trajectories.puzzle))
        assert np.array_equal(order, np.arange(len(order)))
        for number, n_rounds in zip(tallies.puzzle.tolist(), tallies.rounds.tolist(), strict=True):
            assert n_rounds in (rounds.get(number, -1) + 1, rounds.get(number, -1))
            rounds[number] = n_rounds
    assert len(found) > 10


def test_strangers_and_wrong_limits_are_refused() -> None:
    run = coordinator()
    with pytest.raises(ValueError, match="replica a has not joined; known are none"):
        run.next_slice("a")
    run.join("a")
    with pytest.raises(ValueError, match="replica a has joined already"):
        run.join("a")
    with pytest.raises(ValueError, match="leg must be at least 1, got leg=0"):
        coordinator(leg=0)
    assert run.next_slice("a") is None
    assert not run.on_failed("b", 0)


def test_a_wrong_report_changes_nothing() -> None:
    run = coordinator(slice_rows=64)
    run.join("a")
    run.submit(puzzles(10))
    orders = ordered(run)
    good = engine().run(orders)
    bad: SliceResult = replace(good, answers={})
    with pytest.raises(ValueError, match="replica a reported slice 0 wrongly"):
        run.on_result(bad)
    found = run.on_result(good)
    found += finish(run, {"a": engine_after(orders)})
    assert sorted(map(facts, found)) == alone(10)


def engine_after(orders: Slice) -> SimEngine:
    machine = engine()
    machine.run(orders)
    return machine
