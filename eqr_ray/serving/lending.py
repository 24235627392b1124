"""Which requests of a replica get engines of other replicas, and what is sent there. Lives in the drive's thread.

A request gets help when its own replica's engine is full and rows of it still wait: its breadth goes to replicas that are idle. To its
coordinator a helper is one more replica, so nothing here can change a verdict.

Invariants, asserted in tests/serving/test_lending.py: a verdict is that of a run without help, whoever dies; a request that ends gives
back every engine; rows of a lost helper are done again, from their seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from eqr_ray.serving.errands import self_contained
from eqr_ray.serving.jobs import Helper, Job
from eqr_ray.types import Slice, SliceResult

IN_FLIGHT = 2
"""Slices that a helper has at a time: with two it works while a report travels."""
LEGS = 8
"""Legs of one errand: more send fewer messages, fewer let the policy see settled rows sooner."""
WORTH_SLICES = 4
"""Help is asked for when a request has work left for so many slices: less is done before the help arrives."""
PAUSE_S = 0.5
"""How long nobody is asked after there was nobody."""


class Aid(Protocol):
    """Engines of other replicas. Methods return at once; what they tell may come from any thread."""

    def borrow(self, model: str, serial: int, tell: Callable[[str | None], None]) -> None:
        """Ask for an idle replica for the request of that serial; tells its name, or None."""
        ...

    def run(
        self, helper: str, serial: int, model: str, orders: Slice, tell: Callable[[SliceResult | None], None]
    ) -> None:
        """Send orders to a borrowed replica; tells its report, or None when there will be none."""
        ...

    def give_back(self, helper: str, serial: int) -> None:
        """Say that a replica is needed no more."""
        ...


class Lending:
    """Asks for help and uses it."""

    def __init__(
        self,
        aid: Aid,
        post: Callable[[Callable[[], None]], None],
        deliver: Callable[[Job, SliceResult], None],
        clock: Callable[[], float],
    ) -> None:
        """`post` runs something in the drive's thread, `deliver` gives a job a report of its rows."""
        self._aid, self._post, self._deliver, self._clock = aid, post, deliver, clock
        self._asking: set[str] = set()
        """Models for which an answer is due."""
        self._not_before = 0.0

    def employ(self, job: Job, rows: int, leg: int) -> None:
        """Give helpers something to do, and look for another one while rows are left over; `rows` fill an engine."""
        for name in list(job.helpers):
            self._send(job, name, rows, leg)
        work = job.work
        if work is None or not work.rows_free or job.model in self._asking or self._clock() < self._not_before:
            return
        if work.backlog_iterations >= WORTH_SLICES * rows * (job.leg or leg):
            self._asking.add(job.model)
            tell = partial(self._answered, job, rows, leg)
            self._aid.borrow(job.model, job.serial, lambda name: self._post(partial(tell, name)))

    def dismiss(self, job: Job) -> None:
        """Give back what a job had that has ended."""
        for name in job.helpers:
            self._aid.give_back(name, job.serial)
        job.helpers.clear()

    def _answered(self, job: Job, rows: int, leg: int, name: str | None) -> None:
        self._asking.discard(job.model)
        if name is None:
            self._not_before = self._clock() + PAUSE_S
        elif job.work is None or not job.work.rows_free or name in job.helpers:
            self._aid.give_back(name, job.serial)
        else:
            job.engage(name)
            self._send(job, name, rows, leg)

    def _send(self, job: Job, name: str, rows: int, leg: int) -> None:
        helper = job.helpers[name]
        while helper.in_flight < IN_FLIGHT and job.work is not None:
            # A job whose trace is wanted reports every leg.
            orders = job.work.next_slice(name, rows, None if job.leg is not None else LEGS * leg)
            if orders is None:
                return
            helper.in_flight += 1
            whole = self_contained(orders, job.cells_for(orders))
            self._aid.run(name, job.serial, job.model, whole, partial(self._told, job, name, helper))

    def _told(self, job: Job, name: str, helper: Helper, result: SliceResult | None) -> None:
        self._post(partial(self._reported, job, name, helper, result))

    def _reported(self, job: Job, name: str, helper: Helper, result: SliceResult | None) -> None:
        if job.work is None or job.helpers.get(name) is not helper:
            return
        helper.in_flight -= 1
        if result is None:
            job.lose(name)
        else:
            self._deliver(job, result)
