"""From a checked request to a verdict: admission, the wait for the engine, and the state of the replica.

Knows nothing of HTTP or Ray. Invariants, asserted in tests/serving: a request is refused before it costs anything, with the time after
which it may come again; whoever stops waiting stops the work; a replica is ready after its engines have run once, and unhealthy when a
slice takes too long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eqr_ray import __version__
from eqr_ray.policy import Policy, calibrated, policy_from
from eqr_ray.puzzles.record import Record, Registrar, Row
from eqr_ray.puzzles.task import Task
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.serving.drive import Broken, Drive, Standing
from eqr_ray.serving.guard import Rates
from eqr_ray.serving.jobs import Ended, Event, Request
from eqr_ray.serving.neighbours import Market, Neighbours
from eqr_ray.serving.settings import ServeConfig
from eqr_ray.serving.shelf import Model, Shelf, Stock, torch_stock
from eqr_ray.types import InputError, Puzzle

WARM_UP_S = 300.0
"""How long the first slice of a model may take: kernels are chosen and memory is taken then."""


class Unavailable(Exception):
    """The request cannot be taken now."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s = status, code, retry_after_s


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Puzzles that are known to be answerable here."""

    model: Model
    task: Task
    records: tuple[Record, ...]
    policy: Policy
    seed: int
    deadline_s: float
    leg: int | None = None
    """Iterations between two reports, for a request that wants its trace."""

    @property
    def puzzles(self) -> tuple[Puzzle, ...]:
        """The puzzles alone."""
        return tuple(record.puzzle for record in self.records)


class Service:
    """The engines of one process and who may use them."""

    def __init__(
        self,
        config: ServeConfig,
        stock: Sequence[Stock] | None = None,
        market: Callable[[], Market] | None = None,
    ) -> None:
        """Build every engine; `stock` puts other models in the place of the configuration's. Raises InputError.

        `market` finds the exchange through which replicas help each other; None: this is the only one.
        """
        self.config = config
        stock = torch_stock(config) if stock is None else stock
        self.shelf = Shelf({item.model.name: item.model for item in stock}, config)
        self.drive = Drive({item.model.name: item.make() for item in stock}, config.leg)
        self.rates = Rates(config.limits.rate_per_s, config.limits.burst)
        self._warm = self._draining = False
        self._market = market
        self.neighbours: Neighbours | None = None

    def _join(self, market: Market) -> None:
        """Lend engines to other replicas of the endpoint, and borrow theirs."""
        config = self.config
        labels = {
            name: f"{name}@{model.sha256}/{config.device}/{config.dtype}/{config.compile}/{__version__}"
            for name, model in self.shelf.models.items()
        }
        self.neighbours = Neighbours(market, self.drive, labels, config.leg)
        self.neighbours.start()

    async def warm_up(self) -> None:
        """Run one slice of every model, then meet the other replicas; raises RuntimeError when a slice does not end."""
        for model in self.shelf.models.values():
            task = find_task(model.task)
            puzzle = Puzzle("warm-up", model.task, np.zeros(task.n_cells, np.uint8))
            policy = policy_from("fixed", depth=self.config.leg, breadth=4)
            job, events = self._job(model, (puzzle,), policy, 0, None, None)
            self.drive.submit(job)
            try:
                await asyncio.wait_for(_last(events), WARM_UP_S)
            except TimeoutError:
                raise RuntimeError(f"model {model.name} did not finish its first slice in {WARM_UP_S:.0f} s") from None
            self.check()
        if self._market is not None:
            self._join(self._market())
        self._warm = True

    def question(
        self,
        texts: Sequence[str],
        *,
        task: str | None,
        model: str | None,
        policy: str | None,
        depth: int | None,
        breadth: int | None,
        nfe: int | None,
        seed: int,
        deadline_s: float | None,
        leg: int | None = None,
    ) -> Question:
        """Check what is asked; InputError says what is wrong with it."""
        limits = self.config.limits
        if len(texts) > limits.batch:
            raise InputError(f"a batch has at most {limits.batch} puzzles here, got {len(texts)}; send several batches")
        found, rules = self.shelf.find(model, task, texts[0])
        chosen = calibrated(self.shelf.policy(policy, depth, breadth, nfe), found.calibration)
        if leg is not None and chosen.budget.nfe > limits.trace_rows * leg:
            raise InputError(
                f"a trace has at most {limits.trace_rows} rows here, and nfe={chosen.budget.nfe} with a row every {leg} iterations "
                f"may give more; lower nfe, or watch the stream with every={-(-chosen.budget.nfe // limits.trace_rows)} or more"
            )
        if deadline_s is not None and deadline_s > limits.max_deadline_s:
            raise InputError(
                f"deadline_s must be at most {limits.max_deadline_s:g} at this endpoint, got deadline_s={deadline_s:g}; lower it"
            )
        registrar = Registrar(rules)
        records = tuple(
            registrar.record(Row(text, "", "", "", number, "puzzles")) for number, text in enumerate(texts, start=1)
        )
        return Question(found, rules, records, chosen, seed, deadline_s or limits.deadline_s, leg)

    def admit(self, client: str, n_puzzles: int) -> None:
        """Raise Unavailable when the client asks too fast, or the replica has too much to do or is about to stop."""
        if self._draining:
            raise Unavailable(503, "draining", "this replica is about to stop; send the request again", 1.0)
        if self.drive.failure is not None:
            raise Unavailable(503, "broken", "this replica is being replaced; send the request again", 2.0)
        limits, standing = self.config.limits, self.drive.standing()
        wait = standing.queued_iterations / standing.iterations_per_s if standing.iterations_per_s else 0.0
        if standing.open_jobs >= limits.open_requests or wait > limits.backlog_s:
            pause = max(1.0, min(wait, 60.0))
            raise Unavailable(
                503, "overloaded", "this replica has all the work it can hold; send the request later", pause
            )
        too_fast = self.rates.take(client, n_puzzles, time.monotonic())
        if too_fast is not None:
            raise Unavailable(
                429,
                "too_fast",
                f"a client may ask {limits.rate_per_s:g} puzzles a second in the long run; wait",
                too_fast,
            )

    async def answer(self, asked: Question) -> AsyncIterator[Event]:
        """Yield the events of a request, `Ended` last; whoever leaves early stops the work."""
        deadline = self.drive.clock() + asked.deadline_s
        job, events = self._job(asked.model, asked.puzzles, asked.policy, asked.seed, deadline, asked.leg)
        try:
            self.drive.submit(job)
        except Broken:
            raise Unavailable(503, "broken", "this replica is being replaced; send the request again", 2.0) from None
        ended = False
        try:
            while not ended:
                event = await events.get()
                ended = isinstance(event, Ended)
                yield event
        finally:
            if not ended:
                self.drive.cancel(job)

    def check(self) -> None:
        """Raise RuntimeError when the engine broke or a slice takes longer than it may."""
        if self.drive.failure is not None:
            raise RuntimeError(f"the engine broke: {self.drive.failure}")
        busy = self.drive.standing().busy_s
        if busy > self.config.stall_s:
            raise RuntimeError(f"a slice has taken {busy:.0f} s, and {self.config.stall_s:.0f} s is the most")

    @property
    def ready(self) -> bool:
        """Whether new requests are welcome."""
        return self._warm and not self._draining and self.drive.failure is None

    def standing(self) -> Standing:
        """Return how much there is to do."""
        return self.drive.standing()

    async def close(self) -> None:
        """Take nothing new, let the open requests end for a while, then stop the engines."""
        self._draining = True
        if self.neighbours is not None:
            await self.neighbours.close()
        await asyncio.to_thread(self.drive.drain, self.config.drain_s)
        await asyncio.to_thread(self.drive.stop)

    def _job(
        self,
        model: Model,
        puzzles: tuple[Puzzle, ...],
        policy: Policy,
        seed: int,
        deadline: float | None,
        leg: int | None,
    ) -> tuple[Request, asyncio.Queue[Event]]:
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

        def notify(event: Event) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(events.put_nowait, event)

        job = Request(
            model=model.name, puzzles=puzzles, policy=policy, seed=seed, notify=notify, deadline=deadline, leg=leg
        )
        return job, events


async def _last(events: asyncio.Queue[Event]) -> None:
    while not isinstance(await events.get(), Ended):
        pass
