"""Two replicas of an endpoint in one process, with the exchange between them: wide requests use both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from endpoints import ROWS, BreakingEngine, GatedEngine, landscape, stock_of

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.serving.exchange import Exchange
from eqr_ray.serving.jobs import Ended, Event, Outcome, Reached
from eqr_ray.serving.service import Question, Service
from eqr_ray.serving.settings import load_serve_config
from eqr_ray.sim import SimEngine
from eqr_ray.types import Engine, Slice, SliceResult, Verdict

WORLD = landscape(easy=0.3)
NEVER = landscape(easy=0.0, hard_depth=1e6)
QUESTIONS = [record.question for record in read_puzzles(str(demo_path("sudoku6")), limit=12)]
WIDE: dict[str, Any] = {"policy": "fixed", "depth": 32, "breadth": 8, "seed": 5}


class SlowEngine:
    """The simulator at the pace of a device, so that help has time to come."""

    def __init__(self, engine: Engine, s_per_slice: float = 0.01) -> None:
        self._engine, self._s_per_slice = engine, s_per_slice
        self.n_slices = 0

    def run(self, orders: Slice) -> SliceResult:
        self.n_slices += 1
        time.sleep(self._s_per_slice)
        return self._engine.run(orders)


class BrokenExchange:
    """Nobody there."""

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def fail(*_: object) -> None:
            raise ConnectionError(name)

        return fail


@asynccontextmanager
async def replicas(*engines: Engine, exchange: Any = None) -> AsyncIterator[list[Service]]:
    there = Exchange(poll_s=0.2, answer_s=5.0) if exchange is None else exchange
    config = load_serve_config(None, (), {"threads": 1, "leg": 4, "drain_s": 20})
    services = [Service(config, [stock_of(engine)], market=lambda: there) for engine in engines]
    for service in services:
        await service.warm_up()
    await asyncio.sleep(0.05)
    try:
        yield services
    finally:
        for service in services:
            await service.close()


def question(there: Service, texts: list[str] = QUESTIONS, deadline_s: float = 60.0, **asked: Any) -> Question:
    full = {
        "task": None,
        "model": None,
        "policy": None,
        "depth": None,
        "breadth": None,
        "nfe": None,
        "seed": 0,
        **asked,
    }
    return there.question(texts, deadline_s=deadline_s, **full)


async def ask(there: Service, asked: Question) -> tuple[Outcome, list[Verdict]]:
    events: list[Event] = [event async for event in there.answer(asked)]
    assert isinstance(events[-1], Ended)
    return events[-1].outcome, [event.verdict for event in events if isinstance(event, Reached)]


def facts(verdicts: list[Verdict]) -> list[tuple[object, ...]]:
    return sorted((v.puzzle_id, v.answer.tobytes(), v.nfe, v.breadth, v.depth, v.confidence, v.stop) for v in verdicts)


def alone(asked: Question, world: Any = WORLD) -> list[tuple[object, ...]]:
    run = Coordinator(asked.policy, asked.seed)
    return facts(drive_local(run, SimEngine(world), asked.puzzles))


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def timed() -> None:
        await asyncio.wait_for(scene(), 120)

    asyncio.run(timed())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "asked",
    [
        WIDE,
        {"policy": "adaptive", "depth": 96, "breadth": 12, "seed": 1},
        {"policy": "max", "depth": 64, "breadth": 24, "seed": 2},
    ],
    ids=str,
)
def test_a_wide_request_uses_both_replicas_and_has_the_verdict_of_one(asked: dict[str, Any]) -> None:
    async def scene() -> None:
        engines = SlowEngine(SimEngine(WORLD)), SlowEngine(SimEngine(WORLD))
        async with replicas(*engines) as (home, other):
            wide = question(home, **asked)
            outcome, verdicts = await ask(home, wide)
            assert outcome is Outcome.DONE
            assert facts(verdicts) == alone(wide)
            assert home.neighbours is not None
            assert other.neighbours is not None
            assert home.neighbours.errands_sent >= other.neighbours.errands_done >= 2
            await until(lambda: other.standing().open_jobs == 0)

    play(scene)


def test_a_small_request_stays_where_it_is() -> None:
    async def scene() -> None:
        async with replicas(SlowEngine(SimEngine(WORLD)), SlowEngine(SimEngine(WORLD))) as (home, _):
            for text in QUESTIONS[:3]:
                await ask(home, question(home, [text], policy="fixed", depth=16, breadth=ROWS))
            assert home.neighbours is not None
            assert home.neighbours.errands_sent == 0

    play(scene)


def test_a_replica_that_helps_answers_its_own_requests_meanwhile() -> None:
    async def scene() -> None:
        async with replicas(SlowEngine(SimEngine(NEVER)), SlowEngine(SimEngine(NEVER))) as (home, other):
            wide = asyncio.create_task(ask(home, question(home, policy="fixed", depth=2048, breadth=16)))
            await until(lambda: other.neighbours is not None and other.neighbours.errands_done > 0)
            easy = question(other, QUESTIONS[:1], policy="fixed", depth=4, breadth=1)
            before = other.standing().slices
            outcome, _ = await ask(other, easy)
            assert outcome is Outcome.DONE
            assert other.standing().slices - before <= 4, "it shared one of the next slices"
            assert not wide.done()
            wide.cancel()

    play(scene)


@pytest.mark.parametrize("how", ["stops", "breaks", "hangs"])
def test_a_helper_that_is_lost_costs_time_and_nothing_else(how: str) -> None:
    async def scene() -> None:
        helper: Any = {
            "stops": lambda: SlowEngine(SimEngine(WORLD)),
            "breaks": lambda: SlowEngine(BreakingEngine(SimEngine(WORLD), 4)),
            "hangs": lambda: GatedEngine(SimEngine(WORLD)),
        }[how]()
        exchange = Exchange(poll_s=0.2, answer_s=0.5 if how == "hangs" else 20.0)
        async with replicas(SlowEngine(SimEngine(WORLD)), helper, exchange=exchange) as (home, other):
            assert home.neighbours is not None
            wide = question(home, **WIDE)
            if how == "hangs":
                helper.gate.clear()
            asking = asyncio.create_task(ask(home, wide))
            await until(lambda: home.neighbours.errands_sent > 0)  # type: ignore[union-attr]
            if how == "stops":
                await other.close()
            outcome, verdicts = await asking
            if how == "hangs":
                helper.gate.set()
            assert outcome is Outcome.DONE
            assert facts(verdicts) == alone(wide)

    play(scene)


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
def test_a_request_that_ends_early_gives_back_what_it_borrowed(how: str) -> None:
    async def scene() -> None:
        async with replicas(SlowEngine(SimEngine(NEVER)), SlowEngine(SimEngine(NEVER))) as (home, other):
            wide = question(home, policy="fixed", depth=2048, breadth=16, deadline_s=1.5 if how == "deadline" else 60.0)
            asking = asyncio.create_task(ask(home, wide))
            await until(lambda: other.neighbours is not None and other.neighbours.errands_done > 0)
            if how == "deadline":
                outcome, verdicts = await asking
                assert outcome is Outcome.DEADLINE
                assert {verdict.stop.value for verdict in verdicts} == {"deadline"}
            else:
                asking.cancel()
            await until(lambda: home.standing().open_jobs == other.standing().open_jobs == 0)
            assert home.standing().queued_iterations == other.standing().queued_iterations == 0

    play(scene)


def test_without_an_exchange_a_wide_request_is_answered_here() -> None:
    async def scene() -> None:
        async with replicas(SlowEngine(SimEngine(WORLD)), exchange=BrokenExchange()) as (home,):
            wide = question(home, **WIDE)
            assert facts((await ask(home, wide))[1]) == alone(wide)

    play(scene)
