"""Independent pieces of work on Ray actors: recordings and trials of a study, which need no coordinator.

Invariants, asserted in tests/ray_local/test_crew.py: every piece comes back once, with its value or with the reason why it failed; an
actor that dies costs the piece it held one try and is replaced; pieces are drawn only when somebody is free to work on them; no actor
outlives the loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from eqr_ray.distributed.shares import Share

log = logging.getLogger(__name__)
T = TypeVar("T")
V = TypeVar("V")

TICK_S = 0.5
"""Longest wait for a piece before the clock is looked at again."""
REPORT_S = 30.0
"""How often a wait that brings nothing is logged."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T, V]):
    """One piece of work and what came of it."""

    task: T
    value: V | None
    error: str | None = None
    """Why there is no value; None where there is one."""


@dataclass(frozen=True, slots=True)
class Crew(Generic[T, V]):
    """Who works: `factory` builds, in each actor once, the function that does a piece."""

    factory: Callable[[], Callable[[T], V]]
    share: Share
    size: int
    tries: int = 3
    """How often a piece is given out; 1 reports the first failure at once."""
    timeout_s: float = 1800.0
    """How long a piece may take before its actor is taken for lost."""

    def work(self, tasks: Iterator[T]) -> Generator[Done[T, V], None, None]:
        """Yield pieces as they are done, in any order; Ray is connected. Closing the generator ends every actor."""
        import ray

        shift = _Shift(self, ray.put(self.factory))
        try:
            yield from shift.work(tasks)
        finally:
            shift.end()


class _Shift(Generic[T, V]):
    def __init__(self, crew: Crew[T, V], factory: Any) -> None:
        self._crew, self._factory = crew, factory
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, T, int, float]] = {}
        """reference -> (actor, task, which try, when given out)"""
        self._again: deque[tuple[T, int]] = deque()
        self._n_actors = 0

    def work(self, tasks: Iterator[T]) -> Iterator[Done[T, V]]:
        more, quiet_since = True, time.monotonic()
        while True:
            while len(self._busy) < self._crew.size and (more or self._again):
                if self._again:
                    task, tried = self._again.popleft()
                else:
                    try:
                        task, tried = next(tasks), 0
                    except StopIteration:
                        more = False
                        break
                self._give(task, tried + 1)
            if not self._busy:
                return
            done = self._collect()
            now = time.monotonic()
            if done:
                quiet_since = now
            elif now - quiet_since > REPORT_S:
                log.info("waiting for %d pieces of work", len(self._busy))
                quiet_since = now
            yield from done

    def end(self) -> None:
        import ray

        for actor in [*self._idle, *(entry[0] for entry in self._busy.values())]:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)

    def _give(self, task: T, tried: int) -> None:
        actor = self._idle.pop() if self._idle else self._hire()
        self._busy[actor.do.remote(task)] = (actor, task, tried, time.monotonic())

    def _hire(self) -> Any:
        import ray

        share = self._crew.share
        self._n_actors += 1
        return (
            ray.remote(num_cpus=share.num_cpus, num_gpus=share.num_gpus, max_restarts=0, max_task_retries=0)(Worker)
            .remote(self._factory)
        )  # fmt: skip

    def _collect(self) -> list[Done[T, V]]:
        import ray

        ready, _ = ray.wait(list(self._busy), num_returns=1, timeout=TICK_S)
        late = [ref for ref, entry in self._busy.items() if time.monotonic() - entry[3] > self._crew.timeout_s]
        found: list[Done[T, V]] = []
        for reference in {*ready, *late}:
            actor, task, tried, _ = self._busy.pop(reference)
            try:
                value = ray.get(reference, timeout=30 if reference in ready else 0)
                self._idle.append(actor)
                found.append(Done(task, value))
            except ray.exceptions.RayTaskError as error:
                # The function itself failed; the actor is whole, and another try would fail the same way.
                self._idle.append(actor)
                found.append(Done(task, None, _reason(error)))
            except ray.exceptions.RayError as error:
                log.warning("a worker was lost (%s); try %d of %d", _reason(error), tried, self._crew.tries)
                with contextlib.suppress(ray.exceptions.RayError):
                    ray.kill(actor)
                if tried < self._crew.tries:
                    self._again.append((task, tried))
                else:
                    found.append(Done(task, None, _reason(error)))
        return found


class Worker:
    """The actor: builds its function once, then does one piece after the other."""

    def __init__(self, factory: Callable[[], Callable[[Any], Any]]) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._function = factory()

    def do(self, task: Any) -> Any:
        """Return the value of one piece."""
        return self._function(task)


def work_here(factory: Callable[[], Callable[[T], V]], tasks: Iterator[T]) -> Generator[Done[T, V], None, None]:
    """Do the same in this process, one piece after the other, without Ray; an exception of a piece is its failure."""
    function = factory()
    for task in tasks:
        try:
            yield Done(task, function(task))
        except Exception as error:
            yield Done(task, None, f"{type(error).__name__}: {error}"[:300])


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return f"{type(cause).__name__}: {cause}"[:300]
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
