"""A puzzle that kills its replicas is found and set aside; nobody else is."""

from __future__ import annotations

import numpy as np
import pytest
from verdict_builders import facts, puzzles

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.coordinator.dispatch import CONTROL
from eqr_ray.coordinator.trials import DEATH, LOST_MACHINE, Trials
from eqr_ray.policy import Policy, policy_from
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.types import Slice, StopReason, Verdict

LANDSCAPE = Landscape(easy=0.2, hard_depth=20.0)


def coordinator(policy: Policy | None = None, **limits: int) -> Coordinator:
    limits = {"slice_rows": 64, "leg": 8, **limits}
    return Coordinator(policy or policy_from("adaptive", depth=64, breadth=6), seed=1, **limits)


class Mortals:
    """Replicas of which each holds two slices and dies of the older one if it holds a lethal puzzle deep enough."""

    def __init__(
        self, run: Coordinator, n: int, lethal: set[int], from_depth: int = 1, machine_lost: bool = False
    ) -> None:
        self.run, self.n, self.lethal, self.from_depth = run, n, lethal, from_depth
        self.machine_lost = machine_lost
        self.deaths: list[int] = []
        """Rows of the slice that each death came with."""
        self.machines: dict[str, SimEngine] = {}
        self.sent: dict[str, list[Slice]] = {}
        self.n_named = 0

    def kills(self, orders: Slice) -> bool:
        lethal = np.isin(orders.puzzle, np.array(sorted(self.lethal), np.int64))
        return bool((lethal & (orders.until >= self.from_depth)).any())

    def verdicts(self, most_deaths: int = 100) -> list[Verdict]:
        found: list[Verdict] = []
        while not self.run.done:
            while len(self.machines) < self.n:
                name = f"r{self.n_named}"
                self.n_named += 1
                self.machines[name], self.sent[name] = SimEngine(LANDSCAPE), []
                self.run.join(name)
            for name in list(self.machines):
                while len(self.sent[name]) < 2 and (orders := self.run.next_slice(name)) is not None:
                    self.sent[name].append(orders)
            assert any(self.sent.values()), "puzzles are open and nobody has work"
            for name in [name for name, sent in self.sent.items() if sent]:
                orders = self.sent[name].pop(0)
                if not self.kills(orders):
                    found += self.run.on_result(self.machines[name].run(orders))
                    continue
                self.deaths.append(len(orders))
                assert len(self.deaths) < most_deaths
                self.run.on_lost(name, orders.slice_id, self.machine_lost)
                found += self.run.take_aside()
                del self.machines[name], self.sent[name]
        return found


def expected(policy: Policy, n: int, lethal: set[int]) -> dict[str, tuple[object, ...]]:
    run = coordinator(policy)
    found = {v.puzzle_id: facts(v) for v in drive_local(run, SimEngine(LANDSCAPE), puzzles(n))}
    return {
        puzzle_id: found[puzzle_id] for k, puzzle_id in enumerate(p.puzzle_id for p in puzzles(n)) if k not in lethal
    }


@pytest.mark.parametrize("from_depth", [1, 9])
@pytest.mark.parametrize(("replicas", "lethal"), [(1, {5}), (3, {5}), (3, {0, 1, 50}), (2, set(range(8)))])
def test_only_lethal_puzzles_are_set_aside(replicas: int, lethal: set[int], from_depth: int) -> None:
    policy = policy_from("adaptive", depth=64, breadth=6)
    run = coordinator(policy)
    run.submit(puzzles(60))
    players = Mortals(run, replicas, lethal, from_depth)
    found = players.verdicts()
    crashed = [v for v in found if v.stop is StopReason.CRASHED]
    asked = puzzles(60)
    assert len(found) == len({v.puzzle_id for v in found}) == 60
    assert {v.puzzle_id: facts(v) for v in found if v not in crashed} == expected(
        policy, 60, {k for k in range(60) if asked[k].puzzle_id in {v.puzzle_id for v in crashed}}
    )
    # A lethal puzzle that settles before the deadly depth does no harm.
    assert {v.puzzle_id for v in crashed} <= {asked[k].puzzle_id for k in lethal}
    assert len(crashed) == len(lethal) or from_depth > 1
    assert all(v.nfe == v.breadth == v.votes == 0 for v in crashed)
    assert len(players.deaths) <= 8 * len(lethal)
    assert run.counters().puzzles_done == 60


def test_a_puzzle_that_takes_its_machine_with_it_is_found_later_but_found() -> None:
    run = coordinator()
    run.submit(puzzles(40))
    players = Mortals(run, 2, {7}, machine_lost=True)
    crashed = [v for v in players.verdicts() if v.stop is StopReason.CRASHED]
    assert [v.puzzle_id for v in crashed] == [puzzles(40)[7].puzzle_id]
    assert 6 < len(players.deaths) <= 14


def test_a_pool_goes_on_without_the_puzzle_that_was_set_aside() -> None:
    run = coordinator(policy_from("pool", depth=32, breadth=4, cohort=16), open_limit=64)
    run.submit(puzzles(40))
    run.end_input()
    found = Mortals(run, 2, {3, 39}).verdicts()
    assert len(found) == 40
    assert sorted(v.puzzle_id for v in found if v.stop is StopReason.CRASHED) == sorted(
        puzzles(40)[k].puzzle_id for k in (3, 39)
    )


def test_an_engine_that_does_not_work_at_all_fails_the_control_and_no_puzzle_is_blamed() -> None:
    run = coordinator()
    run.submit(puzzles(40))
    for death in range(6):
        run.join(f"r{death}")
        orders = run.next_slice(f"r{death}")
        assert orders is not None
        assert (orders.puzzle.tolist() == [CONTROL]) == (death > 0)
        run.on_lost(f"r{death}", orders.slice_id)
    assert run.trials.controls_failed == 5
    assert run.take_aside() == []


def test_suspects_are_tried_apart_from_other_work() -> None:
    run = coordinator()
    run.submit(puzzles(40))
    for name in ("a", "b"):
        run.join(name)
    first = run.next_slice("a", 16)
    second = run.next_slice("b", 16)
    assert first is not None
    assert second is not None
    run.on_result(SimEngine(LANDSCAPE).run(second))
    run.on_lost("a", first.slice_id)
    suspects = set(first.puzzle.tolist())
    trial = run.next_slice("b", 16)
    assert trial is not None
    assert set(trial.puzzle.tolist()) < suspects
    assert run.next_slice("b", 16) is None, "a trial is alone on its replica"


def test_the_loss_of_a_machine_counts_half() -> None:
    for weight, losses in ((DEATH, 3), (LOST_MACHINE, 6)):
        trials = Trials(tries=3, breadth=1)
        slot = trials.suspect([4], weight)
        n = 1
        while slot is None:
            trials.divert(np.array([4], np.int64))
            found = trials.take(10)
            assert found is not None
            slot, n = trials.failed(found[0], weight), n + 1
        assert (slot, n) == (4, losses)


def test_a_trial_holds_puzzles_whole_and_what_does_not_fit_stays_suspected() -> None:
    trials = Trials(tries=3, breadth=4)
    trials.suspect([1, 2], LOST_MACHINE)
    assert trials.divert(np.array([4, 5, 6, 8, 12], np.int64)).tolist() == [12]
    found = trials.take(2)
    assert found is not None
    group, rows = found
    assert rows.tolist() == [4, 5, 6]
    assert trials.passed(group).tolist() == []
    assert trials.divert(np.array([7, 9], np.int64)).tolist() == [7], "only the other one is still suspected"
    found = trials.take(2)
    assert found is not None
    assert found[1].tolist() == [8, 9]
    trials.passed(found[0])
    assert not trials
