from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np

from eqr_ray.serving.exchange import UNUSED_S, Errand, Exchange, Lease
from eqr_ray.types import HaltRule, Slice, SliceResult

MINE = Lease("home", 1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def orders(number: int = 0) -> Slice:
    one = np.zeros(1, np.int64)
    return Slice(
        number, "helper", one, one.astype(np.int32), one.astype(np.uint64), np.full(1, 4, np.int32),
        one.astype(np.int32), (HaltRule(),), {0: np.zeros(36, np.uint8)}, np.zeros(0, np.int64),
    )  # fmt: skip


def report(number: int = 0) -> SliceResult:
    return SliceResult(number, "helper", None, {}, 4, 0.0)  # type: ignore[arg-type]


def play(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 60))


async def waiting(there: Exchange, name: str = "helper", free: bool = True) -> asyncio.Task[Errand | None]:
    task = asyncio.create_task(there.take(name, ("six",), free))
    await asyncio.sleep(0)
    return task


def test_an_errand_goes_to_the_idle_replica_and_its_report_comes_back() -> None:
    async def scene() -> None:
        there = Exchange(poll_s=30)
        asking = await waiting(there)
        assert await there.borrow("home", 1, "six") == "helper"
        running = asyncio.create_task(there.run("helper", MINE, "six", orders(7)))
        errand = await asking
        assert errand is not None
        assert errand.orders is not None
        assert (errand.lease, errand.model, errand.orders.slice_id) == (MINE, "six", 7)
        await there.report(errand.key, report(7))
        assert (await running).slice_id == 7  # type: ignore[union-attr]

    play(scene())


def test_only_an_idle_replica_with_the_model_is_lent_and_to_one_request() -> None:
    async def scene() -> None:
        there = Exchange(poll_s=30)
        assert await there.borrow("home", 1, "six") is None
        busy = await waiting(there, "busy", free=False)
        assert await there.borrow("home", 1, "six") is None
        idle = await waiting(there, "idle")
        assert await there.borrow("idle", 1, "six") is None, "nobody borrows from itself"
        assert await there.borrow("home", 1, "nine") is None
        assert await there.borrow("home", 1, "six") == "idle"
        assert await there.borrow("home", 2, "six") is None
        await there.give_back("idle", Lease("home", 2))
        assert await there.borrow("home", 2, "six") is None, "only who borrowed it gives it back"
        await there.give_back("idle", MINE)
        over = await idle
        assert over is not None
        assert over.orders is None
        idle = await waiting(there, "idle")
        assert await there.borrow("home", 2, "six") == "idle"
        for task in (busy, idle):
            task.cancel()

    play(scene())


def test_a_silent_helper_is_forgotten_and_its_errands_are_answered_with_none() -> None:
    async def scene() -> None:
        there = Exchange(poll_s=30, answer_s=0.05)
        asking = await waiting(there)
        assert await there.borrow("home", 1, "six") == "helper"
        assert await asyncio.gather(*(there.run("helper", MINE, "six", orders(n)) for n in range(3))) == [None] * 3
        assert await there.run("helper", MINE, "six", orders()) is None
        assert await there.borrow("home", 1, "six") is None
        asking.cancel()

    play(scene())


def test_a_helper_that_leaves_answers_what_it_was_sent_with_none() -> None:
    async def scene() -> None:
        there = Exchange(poll_s=30, answer_s=30)
        asking = await waiting(there)
        await there.borrow("home", 1, "six")
        running = asyncio.create_task(there.run("helper", MINE, "six", orders()))
        assert await asking is not None
        await there.leave("helper")
        assert await running is None

    play(scene())


def test_what_nobody_uses_is_free_again() -> None:
    async def scene() -> None:
        clock = Clock()
        there = Exchange(clock, poll_s=30)
        asking = await waiting(there)
        assert await there.borrow("dead", 1, "six") == "helper"
        assert await there.borrow("home", 1, "six") is None
        clock.now = UNUSED_S + 1
        assert await there.borrow("home", 1, "six") == "helper"
        running = asyncio.create_task(there.run("helper", MINE, "six", orders()))
        await asyncio.sleep(0)
        over = await asking
        assert over is not None
        assert (over.lease.home, over.orders) == ("dead", None), "the helper hears first that the old lease is over"
        errand = await there.take("helper", ("six",), False)
        assert errand is not None
        assert errand.lease == MINE
        assert await there.run("helper", Lease("dead", 1), "six", orders()) is None
        running.cancel()

    play(scene())


def test_nobody_to_work_for_is_none_after_a_while() -> None:
    async def scene() -> None:
        assert await Exchange(poll_s=0.01).take("helper", ("six",), True) is None

    play(scene())
