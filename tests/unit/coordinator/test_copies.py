"""Slices of slow replicas are ordered a second time; the first report counts, both are paid for."""

from __future__ import annotations

import pytest
from verdict_builders import facts, puzzles

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.policy import policy_from
from eqr_ray.sim import SimEngine
from eqr_ray.types import Slice, Verdict

POLICY = policy_from("adaptive", depth=64, breadth=6)


class Pair:
    """Two replicas, of which `a` was given the first slice and `b` its copy."""

    def __init__(self) -> None:
        self.run = Coordinator(POLICY, seed=1, slice_rows=16, leg=8)
        self.engines = {"a": SimEngine(), "b": SimEngine()}
        for name in self.engines:
            self.run.join(name)
        self.run.submit(puzzles(16))
        self.slow = self.given(self.run.next_slice("a", 8))
        self.copy = self.given(self.run.copy_slice("b", self.slow.slice_id))
        self.found: list[Verdict] = []

    @staticmethod
    def given(orders: Slice | None) -> Slice:
        assert orders is not None
        return orders

    def report(self, orders: Slice) -> None:
        self.found += self.run.on_result(self.engines[orders.replica_id].run(orders))

    def finish(self) -> None:
        """Let `b` do the rest and compare all verdicts with those of an undisturbed run."""
        while not self.run.done:
            self.report(self.given(self.run.next_slice("b")))
        alone = Coordinator(POLICY, seed=1)
        assert sorted(map(facts, self.found)) == sorted(map(facts, drive_local(alone, SimEngine(), puzzles(16))))


def test_the_copy_asks_for_the_same_and_carries_the_cells() -> None:
    pair = Pair()
    for name in ("puzzle", "index", "seed", "until"):
        assert getattr(pair.copy, name).tolist() == getattr(pair.slow, name).tolist()
    assert pair.copy.cells.keys() == pair.slow.cells.keys()
    assert pair.run.copy_slice("b", pair.slow.slice_id) is None
    assert pair.run.copy_slice("a", pair.copy.slice_id) is None


@pytest.mark.parametrize("first", ["slow", "copy"])
def test_whoever_is_first_counts_and_both_are_paid_for(first: str) -> None:
    pair = Pair()
    winner, loser = (pair.slow, pair.copy) if first == "slow" else (pair.copy, pair.slow)
    pair.report(winner)
    computed = pair.run.counters().nfe_computed
    pair.report(loser)
    counters = pair.run.counters()
    assert counters.nfe_computed == 2 * computed
    assert (counters.copied_slices, counters.ignored_results, counters.lost_slices) == (1, 1, 0)
    if first == "slow":
        pair.run.leave("a")
    pair.finish()


@pytest.mark.parametrize("lost", ["a", "b"])
def test_when_one_of_the_two_is_lost_the_other_answers_and_nothing_is_given_out_again(lost: str) -> None:
    pair = Pair()
    pair.run.on_lost(lost)
    other = pair.copy if lost == "a" else pair.slow
    fresh = pair.run.next_slice("b" if lost == "a" else "a", 16)
    assert fresh is not None
    asked = set(zip(pair.slow.puzzle.tolist(), pair.slow.index.tolist(), strict=True))
    assert not asked & set(zip(fresh.puzzle.tolist(), fresh.index.tolist(), strict=True))
    pair.report(other)
    pair.report(fresh)
    if lost == "b":
        pair.run.leave("a")
        pair.run.join("b")
        pair.engines["b"] = SimEngine()
    pair.finish()


def test_when_both_are_lost_the_rows_are_given_out_once() -> None:
    pair = Pair()
    pair.run.on_lost("a")
    pair.run.on_lost("b")
    pair.run.join("b")
    pair.engines["b"] = SimEngine()
    pair.finish()


def test_a_copy_that_comes_back_clears_what_the_death_of_the_slow_replica_made_suspect() -> None:
    pair = Pair()
    pair.run.on_lost("a", pair.slow.slice_id)
    assert pair.run.trials
    pair.report(pair.copy)
    pair.finish()
    assert not pair.run.trials
