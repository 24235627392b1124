"""This replica's dealings with the others of its endpoint: it lends its engine while idle, and borrows theirs for wide requests.

Everything goes through the exchange, whose absence costs help and nothing else: each failure of a call counts as "nobody there".

Invariants, asserted in tests/serving/test_lending.py: a replica that stops takes no more errands and gives up those that it has; what goes
wrong here reaches no request.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

from eqr_ray.serving.drive import Broken, Drive
from eqr_ray.serving.errands import Errands, Help
from eqr_ray.serving.exchange import Errand, Lease
from eqr_ray.types import Slice, SliceResult

log = logging.getLogger("eqr_ray.serving")
AGAIN_S = 2.0
"""How long to wait after a call that failed: the exchange may be starting again."""
Tell = Callable[[SliceResult | None], None]


class Market(Protocol):
    """The exchange, near or far; see `Exchange`."""

    def take(self, name: str, models: tuple[str, ...], free: bool) -> Awaitable[Errand | None]:
        """Wait a while for an errand."""
        ...

    def report(self, key: int, result: SliceResult | None) -> Awaitable[None]:
        """Answer an errand."""
        ...

    def borrow(self, home: str, serial: int, model: str) -> Awaitable[str | None]:
        """Return the name of an idle replica."""
        ...

    def run(self, name: str, lease: Lease, model: str, orders: Slice) -> Awaitable[SliceResult | None]:
        """Return what a borrowed replica reports."""
        ...

    def give_back(self, name: str, lease: Lease) -> Awaitable[None]:
        """End a lease."""
        ...

    def leave(self, name: str) -> Awaitable[None]:
        """Say that a replica stops helping."""
        ...


class Neighbours:
    """Implements `lending.Aid` for the drive of this replica, and does errands for others."""

    def __init__(self, market: Market, drive: Drive, labels: Mapping[str, str], leg: int) -> None:
        """`labels`: model -> what names its weights and how they run, so that only equal engines help each other."""
        self.name = uuid.uuid4().hex
        self._market, self._drive, self._leg = market, drive, leg
        self._labels, self._models = dict(labels), {label: model for model, label in labels.items()}
        self._help: Help | None = None
        self._lease: Lease | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._helping: asyncio.Task[None] | None = None
        self._closing = False
        self.errands_done = self.errands_sent = 0

    def start(self) -> None:
        """Begin to lend and to borrow; called in the event loop of the replica."""
        self._loop = asyncio.get_running_loop()
        self._helping = self._loop.create_task(self._be_helpful())
        self._drive.lend_from(self)

    async def close(self) -> None:
        """Do no more errands; requests of this replica may still borrow."""
        # A flag as well, for before Python 3.12 a wait that ends in the moment of its cancellation forgets the latter.
        self._closing = True
        if self._helping is not None:
            self._helping.cancel()
            await asyncio.gather(self._helping, return_exceptions=True)
        self._end_help()
        try:
            await asyncio.wait_for(self._market.leave(self.name), AGAIN_S)
        except Exception:
            log.debug("the exchange could not be told that this replica stops", exc_info=True)

    # -- borrowing, from the drive's thread ----------------------------------------------------------------------------

    def borrow(self, model: str, serial: int, tell: Callable[[str | None], None]) -> None:
        """Ask for an idle replica."""
        self._spawn(self._answer(lambda: self._market.borrow(self.name, serial, self._labels[model]), tell))

    def run(self, helper: str, serial: int, model: str, orders: Slice, tell: Tell) -> None:
        """Send orders to a borrowed replica."""
        self.errands_sent += 1
        lease, label = Lease(self.name, serial), self._labels[model]
        self._spawn(self._answer(lambda: self._market.run(helper, lease, label, orders), tell))

    def give_back(self, helper: str, serial: int) -> None:
        """Say that a replica is needed no more."""
        lease = Lease(self.name, serial)
        self._spawn(self._answer(lambda: self._market.give_back(helper, lease), lambda _: None))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None

        def begin() -> None:
            task = asyncio.ensure_future(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        try:
            self._loop.call_soon_threadsafe(begin)
        except RuntimeError:
            # The loop is closed: the process ends, and the request with it.
            work.close()

    @staticmethod
    async def _answer(call: Callable[[], Awaitable[Any]], tell: Callable[[Any], None]) -> None:
        try:
            found = await call()
        except Exception:
            log.debug("a call to the exchange failed", exc_info=True)
            found = None
        tell(found)

    # -- lending ---------------------------------------------------------------------------------------------------------

    async def _be_helpful(self) -> None:
        models = tuple(self._models)
        while not self._closing:
            try:
                errand = await self._market.take(self.name, models, self._free())
            except Exception:
                log.debug("the exchange does not answer", exc_info=True)
                self._end_help()
                await asyncio.sleep(AGAIN_S)
                continue
            if errand is not None and not self._closing:
                self._do(errand)

    def _free(self) -> bool:
        own = self._drive.standing().open_jobs - (self._help is not None)
        return own <= 0 and self._drive.failure is None

    def _do(self, errand: Errand) -> None:
        if errand.orders is None or errand.lease != self._lease:
            self._end_help()
        if errand.orders is None:
            return
        loop = asyncio.get_running_loop()

        def tell(result: SliceResult | None) -> None:
            self.errands_done += result is not None
            if not loop.is_closed():
                self._spawn(self._answer(lambda: self._market.report(errand.key, result), lambda _: None))

        if self._help is None and not self._begin_help(errand):
            tell(None)
            return
        assert self._help is not None
        self._help.errands.add(errand.orders, tell)
        self._drive.post(lambda: None)

    def _begin_help(self, errand: Errand) -> bool:
        model = self._models.get(errand.model)
        if model is None:
            return False
        self._help = Help(model=model, notify=lambda _: None, errands=Errands(self._leg))
        self._lease = errand.lease
        try:
            self._drive.submit(self._help)
        except Broken:
            self._help = self._lease = None
            return False
        return True

    def _end_help(self) -> None:
        if self._help is not None:
            self._drive.cancel(self._help)
        self._help = self._lease = None
