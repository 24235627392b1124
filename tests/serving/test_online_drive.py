from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from endpoints import ROWS, BreakingEngine, GatedEngine, landscape

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.policy import policy_from
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.serving.drive import Broken, Drive, Motor
from eqr_ray.serving.jobs import Ended, Event, Outcome, Reached, Request
from eqr_ray.serving.merging import RANGE
from eqr_ray.sim import SimEngine
from eqr_ray.types import Engine, Puzzle, StopReason, Verdict

HARD = landscape(easy=0.0, hard_depth=1e6)
"""Nothing ever settles."""


@dataclass(eq=False)
class Heard:
    """What a job said."""

    events: list[Event] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Ended):
            self.over.set()

    @property
    def verdicts(self) -> list[Verdict]:
        return [event.verdict for event in self.events if isinstance(event, Reached)]

    @property
    def outcome(self) -> Outcome:
        assert self.over.wait(60.0), "the job never ended"
        (last,) = [event for event in self.events if isinstance(event, Ended)]
        assert self.events[-1] is last
        return last.outcome


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def puzzles(n: int, first: int = 0) -> tuple[Puzzle, ...]:
    return tuple(record.puzzle for record in read_puzzles(str(demo_path("sudoku6")), limit=first + n))[first:]


def job(heard: Heard, n: int = 1, policy: str = "adaptive", seed: int = 0, first: int = 0, **more: object) -> Request:
    budget = {key: more.pop(key) for key in ("depth", "breadth", "nfe") if key in more}
    rules = policy_from(policy, **budget)  # type: ignore[arg-type]
    return Request(model="six", puzzles=puzzles(n, first), policy=rules, seed=seed, notify=heard, **more)  # type: ignore[arg-type]


@pytest.fixture
def drive_of():
    drives = []

    def make(engine: Engine, rows: int = ROWS, clock: Clock | None = None) -> Drive:
        drives.append(Drive({"six": Motor(engine, rows)}, 8, **({} if clock is None else {"clock": clock})))
        return drives[-1]

    yield make
    for drive in drives:
        drive.stop()


def facts(verdict: Verdict) -> tuple[object, ...]:
    return verdict.puzzle_id, verdict.answer.tobytes(), verdict.nfe, verdict.breadth, verdict.confidence, verdict.stop


def test_requests_of_different_policies_and_seeds_share_slices_and_keep_their_verdicts(drive_of) -> None:
    engine = GatedEngine(SimEngine(landscape(easy=0.3)))
    engine.gate.clear()
    drive = drive_of(engine)
    asked = [
        ("adaptive", 0, {"depth": 64, "breadth": 6}), ("fixed", 0, {"depth": 12, "breadth": 4}),
        ("adaptive", 5, {"depth": 64, "breadth": 6, "nfe": 100}), ("fixed", 9, {"depth": 30, "breadth": 1}),
    ]  # fmt: skip
    heard = [Heard() for _ in asked]
    for hears, (policy, seed, budget) in zip(heard, asked, strict=True):
        drive.submit(job(hears, 6, policy, seed, **budget))
    engine.gate.set()
    for hears, (policy, seed, budget) in zip(heard, asked, strict=True):
        assert hears.outcome is Outcome.DONE
        run = Coordinator(policy_from(policy, **budget), seed)
        alone = drive_local(run, SimEngine(landscape(easy=0.3)), puzzles(6))
        assert sorted(map(facts, hears.verdicts)) == sorted(map(facts, alone))
    assert max(len(set((orders.puzzle // RANGE).tolist())) for orders in engine.slices) == len(asked)
    assert max(map(len, engine.slices)) <= ROWS


def test_an_easy_request_gets_rows_of_the_next_slice_however_hard_the_others_are(drive_of) -> None:
    engine = GatedEngine(SimEngine(HARD))
    engine.gate.clear()
    drive = drive_of(engine)
    hard = [Heard() for _ in range(5)]
    for hears in hard:
        drive.submit(job(hears, 4, depth=64, breadth=4))
    assert engine.entered.wait(60.0)
    before = len(engine.slices)
    late = Heard()
    drive.submit(job(late, 1, "fixed", first=20, depth=8, breadth=1))
    engine.gate.set()
    assert late.outcome is Outcome.DONE
    served = [n for n, orders in enumerate(engine.slices) if 6 in (orders.puzzle // RANGE).tolist()]
    assert served == [before], "a job of one leg takes one slice, the first after it came"


def test_with_more_requests_than_rows_everybody_has_a_turn(drive_of) -> None:
    engine = GatedEngine(SimEngine(HARD))
    engine.gate.clear()
    drive = drive_of(engine, rows=4)
    heard = [Heard() for _ in range(11)]
    for first, hears in enumerate(heard):
        drive.submit(job(hears, 1, "fixed", first=first, depth=24, breadth=1))
    engine.gate.set()
    assert [hears.outcome for hears in heard] == [Outcome.DONE] * 11
    turns = [set((orders.puzzle // RANGE).tolist()) for orders in engine.slices]
    full = [turn for turn in turns if len(turn) == 4]
    for first, second in pairwise(full):
        assert len(first | second) > 4, "nobody is served twice while others wait"


def test_a_deadline_gives_the_best_answer_so_far(drive_of) -> None:
    clock, engine = Clock(), GatedEngine(SimEngine(HARD))
    engine.gate.clear()
    drive = drive_of(engine, clock=clock)
    heard = Heard()
    drive.submit(job(heard, 2, depth=256, breadth=4, deadline=10.0))
    assert engine.entered.wait(60.0)
    clock.now = 10.0
    engine.gate.set()
    assert heard.outcome is Outcome.DEADLINE
    assert [(v.stop, v.nfe) for v in heard.verdicts] == [(StopReason.DEADLINE, 8)] * 2


def test_a_request_whose_time_is_over_before_it_begins_costs_nothing(drive_of) -> None:
    clock, engine = Clock(), GatedEngine(SimEngine())
    clock.now = 5.0
    drive = drive_of(engine, clock=clock)
    heard = Heard()
    drive.submit(job(heard, deadline=4.0))
    assert heard.outcome is Outcome.DEADLINE
    assert (heard.verdicts, engine.slices) == ([], [])


def test_a_cancelled_request_stops_after_the_slice_under_way(drive_of) -> None:
    engine = GatedEngine(SimEngine(HARD))
    engine.gate.clear()
    drive = drive_of(engine)
    heard = Heard()
    asked = job(heard, 1, depth=256, breadth=4)
    drive.submit(asked)
    assert engine.entered.wait(60.0)
    drive.cancel(asked)
    engine.gate.set()
    assert heard.outcome is Outcome.CANCELLED
    assert len(engine.slices) == 1
    assert drive.drain(60.0)
    assert drive.standing().open_jobs == 0


def test_finished_requests_leave_nothing_in_the_engine(drive_of) -> None:
    engine = SimEngine()
    drive = drive_of(engine)
    for first in range(5):
        heard = Heard()
        drive.submit(job(heard, 3, first=3 * first))
        assert heard.outcome is Outcome.DONE
    assert engine.n_puzzles <= 3, "only the last job's puzzles wait to be retired with the next slice"


def test_a_broken_engine_fails_every_request_and_takes_no_new_one(drive_of) -> None:
    drive = drive_of(BreakingEngine(SimEngine(HARD), 2))
    heard = [Heard() for _ in range(3)]
    for hears in heard:
        try:
            drive.submit(job(hears, 2, depth=256, breadth=4))
        except Broken:
            hears(Ended(Outcome.FAILED))
    assert [hears.outcome for hears in heard] == [Outcome.FAILED] * 3
    assert drive.failure is not None
    assert "secret" not in drive.failure
    with pytest.raises(Broken):
        drive.submit(job(Heard()))
    assert drive.drain(60.0)


def test_stopping_answers_what_is_open_with_what_there_is(drive_of) -> None:
    engine = GatedEngine(SimEngine(HARD))
    engine.gate.clear()
    drive = drive_of(engine)
    heard = Heard()
    drive.submit(job(heard, 1, depth=256, breadth=4))
    assert engine.entered.wait(60.0)
    stopping = threading.Thread(target=drive.stop)
    stopping.start()
    while not drive._stopping:
        pass
    engine.gate.set()
    stopping.join()
    assert heard.outcome is Outcome.DEADLINE
    assert [v.stop for v in heard.verdicts] == [StopReason.DEADLINE]
    with pytest.raises(Broken):
        drive.submit(job(Heard()))


def test_queued_iterations_are_counted_and_fall_to_zero(drive_of) -> None:
    engine = GatedEngine(SimEngine())
    engine.gate.clear()
    drive = drive_of(engine)
    heard = Heard()
    drive.submit(job(heard, 3, "fixed", depth=40, breadth=2))
    assert engine.entered.wait(60.0)
    assert drive.standing().queued_iterations == 3 * 40 * 2
    assert drive.standing().busy_s >= 0.0
    engine.gate.set()
    assert heard.outcome is Outcome.DONE
    assert drive.drain(60.0)
    assert drive.standing().queued_iterations == 0
    assert drive.standing().iterations_per_s > 0
