"""Where replicas of an endpoint find idle ones, and through which slices go to them: a matching of who needs with who has, and mailboxes.

No request waits for the exchange: without it, or without idle replicas, a replica does all work itself. It knows no Ray; one instance
runs in a deployment of its own (`app.py`), in one thread.

Invariants, asserted in tests/serving/test_exchange.py: an engine is lent to one request at a time, and only while its replica has
nothing of its own; an errand is answered once, with None when its helper is gone or silent; what is not used is free again
after a while.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from eqr_ray.types import Slice, SliceResult

POLL_S = 2.0
"""How long a replica's question for work stays open: longer costs fewer calls, and notices its own requests and its death later."""
ANSWER_S = 10.0
"""How long an errand may take: longer forgives a slow machine, shorter loses less time with a replica that died."""
UNUSED_S = 15.0
"""A lent engine that was sent nothing for so long is free again: whoever borrowed it is gone or has no use for it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Which request an engine is lent to."""

    home: str
    serial: int


@dataclass(frozen=True, slots=True, eq=False)
class Errand:
    """A slice for a helper; without orders: the lease is over."""

    key: int
    lease: Lease
    model: str
    orders: Slice | None


@dataclass(slots=True, eq=False)
class _Helper:
    models: frozenset[str]
    free: bool = False
    """Whether it has nothing of its own to do."""
    waiting: int = 0
    """Questions for work that are open."""
    seen: float = 0.0
    lease: Lease | None = None
    used: float = 0.0
    """When it was lent or last sent something."""
    errands: deque[Errand] = field(default_factory=deque)
    keys: set[int] = field(default_factory=set)
    """Errands that are not answered yet."""
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Exchange:
    """One for an endpoint."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, poll_s: float = POLL_S, answer_s: float = ANSWER_S
    ) -> None:
        self._clock, self._poll_s, self._answer_s = clock, poll_s, answer_s
        self._helpers: dict[str, _Helper] = {}
        self._answers: dict[int, asyncio.Future[SliceResult | None]] = {}
        self._keys = itertools.count()

    async def take(self, name: str, models: tuple[str, ...], free: bool) -> Errand | None:
        """Wait a while for an errand of the replica `name`, which has engines for these models."""
        helper = self._helpers.setdefault(name, _Helper(frozenset(models)))
        helper.free, helper.seen = free, self._clock()
        self._sweep()
        helper.waiting += 1
        try:
            if not helper.errands:
                helper.news.clear()
                await asyncio.wait_for(helper.news.wait(), self._poll_s)
        except TimeoutError:
            pass
        finally:
            helper.waiting -= 1
            helper.seen = self._clock()
        return helper.errands.popleft() if helper.errands else None

    async def report(self, key: int, result: SliceResult | None) -> None:
        """Answer an errand."""
        answer = self._answers.get(key)
        if answer is not None and not answer.done():
            answer.set_result(result)

    async def borrow(self, home: str, serial: int, model: str) -> str | None:
        """Return the name of an idle replica that now works for this request of `home`; None when there is none."""
        self._sweep()
        for name, helper in self._helpers.items():
            if name != home and helper.free and helper.waiting and helper.lease is None and model in helper.models:
                helper.lease, helper.used = Lease(home, serial), self._clock()
                return name
        return None

    async def run(self, name: str, lease: Lease, model: str, orders: Slice) -> SliceResult | None:
        """Return what the helper reports of the orders; None when it does not, and the orders are to be done elsewhere."""
        helper = self._helpers.get(name)
        if helper is None or helper.lease != lease:
            return None
        key = next(self._keys)
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        helper.used = self._clock()
        helper.keys.add(key)
        self._send(helper, Errand(key, lease, model, orders))
        try:
            return await asyncio.wait_for(answer, self._answer_s)
        except TimeoutError:
            self._forget(name)
            return None
        finally:
            helper.keys.discard(key)
            del self._answers[key]
            helper.used = self._clock()

    async def give_back(self, name: str, lease: Lease) -> None:
        """End a lease: the engine is free for others."""
        helper = self._helpers.get(name)
        if helper is not None and helper.lease == lease:
            self._end_lease(helper)

    async def leave(self, name: str) -> None:
        """Forget a replica that stops helping; what it was sent is to be done elsewhere."""
        self._forget(name)

    def _end_lease(self, helper: _Helper) -> None:
        assert helper.lease is not None
        lease, helper.lease = helper.lease, None
        helper.errands.clear()
        self._answer_none(helper)
        self._send(helper, Errand(next(self._keys), lease, "", None))

    def _send(self, helper: _Helper, errand: Errand) -> None:
        helper.errands.append(errand)
        helper.news.set()

    def _sweep(self) -> None:
        """Forget replicas that have gone silent, and end leases that nobody uses."""
        now = self._clock()
        for name, helper in list(self._helpers.items()):
            if not helper.waiting and not helper.keys and now - helper.seen > self._answer_s:
                self._forget(name)
            elif helper.lease is not None and not helper.keys and now - helper.used > UNUSED_S:
                self._end_lease(helper)

    def _forget(self, name: str) -> None:
        helper = self._helpers.pop(name, None)
        if helper is not None:
            self._answer_none(helper)

    def _answer_none(self, helper: _Helper) -> None:
        for key in list(helper.keys):
            answer = self._answers.get(key)
            if answer is not None and not answer.done():
                answer.set_result(None)
