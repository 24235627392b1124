"""The online drive: one thread that runs the engines of a replica for requests that come and go.

Each request has a coordinator of its own, so that its rounds, deadline, cancellation and trace are its own too; their slices are merged
into one, of which every request gets a fair share of rows. A slice is as small as fills the engine once and a leg is short, so that a
new request waits for little, however hard the others are.

Rows that do not fit may go to engines of other replicas (`lending.py`), whose reports come in between slices.

Invariants, asserted in tests/serving/test_online_drive.py: a verdict is that of a run without company; a job ends exactly
once, with its verdicts before its end; a deadline or a cancellation takes effect after the slice under way; a broken engine
fails every job and takes no new one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from eqr_ray.serving.jobs import HERE, Ended, Job, Outcome, Reached, Steps
from eqr_ray.serving.lending import Aid, Lending
from eqr_ray.serving.merging import Part, merge, numbers, split
from eqr_ray.serving.shares import shares
from eqr_ray.types import Engine, SliceResult

log = logging.getLogger("eqr_ray.serving")
_PACE_WEIGHT = 0.1
"""Share of the newest slice in the mean pace: larger follows load sooner and trembles more."""
_LOOK_S = 0.1
"""How often deadlines are looked at while all work is elsewhere."""


@dataclass(frozen=True, slots=True)
class Motor:
    """An engine and how many rows keep it busy once."""

    engine: Engine
    rows: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a drive stands."""

    open_jobs: int
    queued_iterations: int
    """Ordered by the policies of all jobs and not yet done."""
    iterations_per_s: float
    """What the engine computes while it is busy; 0 before the first slice."""
    slices: int
    busy_s: float
    """How long the slice under way has taken so far; 0 when none is."""
    nfe_computed: int
    """Iterations that the engines did."""


class Broken(RuntimeError):
    """The engine raised and the drive has stopped."""


class Drive:
    """Owns the engines of a process; its thread starts at once."""

    def __init__(self, motors: Mapping[str, Motor], leg: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._motors, self._leg, self.clock = dict(motors), leg, clock
        self._jobs: dict[str, deque[Job]] = {name: deque() for name in motors}
        """Jobs under way by model, in the order of their turns."""
        self._served: dict[str, list[Job]] = {name: [] for name in motors}
        """Those that had rows in the last slice: behind everybody who came meanwhile."""
        self._turns = deque(motors)
        self._retired: dict[str, list[int]] = {name: [] for name in motors}
        self._inbox: deque[Job] = deque()
        self._mail: deque[Callable[[], None]] = deque()
        """What other threads want done in this one."""
        self._elsewhere = False
        """Whether no open job had a row for the engine here when it was last looked."""
        self._lending: Lending | None = None
        self._news = threading.Condition()
        self._n_open = self._next_serial = self._next_slice = self._nfe_computed = 0
        self._stopping = False
        self._failure: str | None = None
        self._pace = 0.0
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._work, name="eqr-drive", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Take a job in; raises Broken when there is no engine to run it."""
        with self._news:
            if self._failure is not None or self._stopping:
                raise Broken(self._failure or "the drive has stopped")
            self._n_open += 1
            job.backlog_iterations = job.first_backlog
            self._inbox.append(job)
            self._news.notify()

    def lend_from(self, aid: Aid) -> None:
        """Let requests use engines of other replicas from now on."""
        self._lending = Lending(aid, self.post, self._take, self.clock)

    def post(self, act: Callable[[], None]) -> None:
        """Do something in the engine's thread, between slices."""
        with self._news:
            self._mail.append(act)
            self._news.notify()

    def cancel(self, job: Job) -> None:
        """Stop working on a job after the slice under way."""
        job.cancelled = True
        with self._news:
            self._news.notify()

    def standing(self) -> Standing:
        """Return how the drive stands; any thread may ask."""
        with self._news:
            waiting = sum(job.backlog_iterations for job in self._inbox)
            under_way = sum(job.backlog_iterations for jobs in self._jobs.values() for job in list(jobs))
            busy = self._busy_since
            return Standing(
                self._n_open,
                waiting + under_way,
                self._pace,
                self._next_slice,
                0.0 if busy is None else self.clock() - busy,
                self._nfe_computed,
            )

    @property
    def failure(self) -> str | None:
        """What broke the drive; None while it works."""
        return self._failure

    def drain(self, within_s: float) -> bool:
        """Wait until no job is open; False if some still are when the time is over."""
        ends = self.clock() + within_s
        with self._news:
            while self._n_open and (left := ends - self.clock()) > 0:
                self._news.wait(min(left, 0.5))
            return self._n_open == 0

    def stop(self) -> None:
        """Stop after the slice under way; jobs that are open get the best answer so far."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        self._thread.join(timeout=60.0)

    def _work(self) -> None:
        try:
            while self._wait():
                self._read_mail()
                self._admit()
                self._sweep()
                self._turn()
            self._end_all(Outcome.DEADLINE)
        except Exception as error:
            log.exception("the engine broke; every open request is refused")
            with self._news:
                self._failure = f"{type(error).__name__} in the engine"
                self._busy_since = None
            self._end_all(Outcome.FAILED)

    def _wait(self) -> bool:
        """Sleep until there is something to do; False: stop."""
        with self._news:
            while not (self._stopping or self._inbox or self._mail):
                if any(self._jobs.values()):
                    if self._elsewhere:
                        self._news.wait(_LOOK_S)
                    break
                self._news.wait()
            return not self._stopping

    def _read_mail(self) -> None:
        while True:
            with self._news:
                if not self._mail:
                    return
                act = self._mail.popleft()
            act()

    def _admit(self) -> None:
        while True:
            with self._news:
                if not self._inbox:
                    return
                job = self._inbox.popleft()
                self._jobs[job.model].append(job)
            self._next_serial += 1
            job.serial = self._next_serial
            with self._alone(job):
                job.begin(self._motors[job.model].rows, self._leg)
                self._note_backlog(job)

    def _sweep(self) -> None:
        """End the jobs that nobody waits for, and those whose time is over."""
        now = self.clock()
        for jobs in self._jobs.values():
            for job in list(jobs):
                if job.cancelled:
                    self._end(job, Outcome.CANCELLED)
                elif job.deadline is not None and now >= job.deadline:
                    self._end(job, Outcome.DEADLINE)

    def _turn(self) -> None:
        """Run one slice of the next model that has rows for it."""
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            name = self._turns[-1]
            chosen = self._choose(name)
            self._employ(name)
            if chosen:
                break
        else:
            self._elsewhere = True
            return
        self._elsewhere = False
        parts = [part for _, part in chosen]
        retired, self._retired[name] = self._retired[name], []
        merged = merge(self._next_slice, HERE, parts, retired)
        self._next_slice += 1
        self._busy_since = self.clock()
        result = self._motors[name].engine.run(merged)
        self._busy_since = None
        self._nfe_computed += result.nfe_computed
        self._note_pace(result)
        for (job, _), own in zip(chosen, split(merged, parts, result), strict=True):
            self._take(job, own)
        for job in {job.serial: job for job, _ in chosen}.values():
            job.engine_s += result.elapsed_s
            self._end_if_done(job)

    def _choose(self, name: str) -> list[tuple[Job, Part]]:
        """Take rows for one slice, a fair share of each job; those served last come after all that waited."""
        jobs = self._jobs[name]
        for job in self._served[name]:
            if job in jobs:
                jobs.remove(job)
                jobs.append(job)
        room = self._motors[name].rows
        hungry = list(jobs)
        chosen: list[tuple[Job, Part]] = []
        while room and hungry:
            filled = []
            for job, quota in zip(hungry, shares(len(hungry), room), strict=True):
                if not quota:
                    break
                orders = None if job.work is None else job.work.next_slice(HERE, quota)
                if orders is None:
                    continue
                chosen.append((job, Part(job.serial, orders)))
                room -= len(orders)
                if len(orders) == quota:
                    filled.append(job)
            hungry = filled
        self._served[name] = list({job.serial: job for job, _ in chosen}.values())
        return chosen

    def _employ(self, name: str) -> None:
        if self._lending is None:
            return
        for job in list(self._jobs[name]):
            with self._alone(job):
                self._lending.employ(job, self._motors[name].rows, self._leg)

    @contextmanager
    def _alone(self, job: Job) -> Iterator[None]:
        """Let what goes wrong with one request's decisions end that request and no other."""
        try:
            yield
        except Exception:
            log.exception("a request failed; the others go on")
            self._end(job, Outcome.FAILED)

    def _take(self, job: Job, own: SliceResult) -> None:
        """Give a job the report of its rows, from here or from elsewhere."""
        with self._alone(job):
            if job.work is None:
                return
            if job.leg is not None:
                job.notify(Steps(own.trajectories, own.answers))
            for verdict in job.work.on_result(own):
                job.notify(Reached(verdict))
            self._note_backlog(job)
            if own.replica_id != HERE:
                self._end_if_done(job)

    def _note_backlog(self, job: Job) -> None:
        job.backlog_iterations = 0 if job.work is None else job.work.backlog_iterations

    def _end_if_done(self, job: Job) -> None:
        if job.work is not None and job.work.done:
            self._end(job, Outcome.DONE)

    def _end(self, job: Job, outcome: Outcome) -> None:
        for verdict in job.conclude(outcome):
            job.notify(Reached(verdict))
        job.work = None
        if self._lending is not None:
            self._lending.dismiss(job)
        self._jobs[job.model].remove(job)
        self._retired[job.model].extend(numbers(job.serial, job.n_puzzles).tolist())
        self._leave(job, outcome)

    def _leave(self, job: Job, outcome: Outcome) -> None:
        job.backlog_iterations = 0
        job.notify(Ended(outcome, job.engine_s))
        with self._news:
            self._n_open -= 1
            self._news.notify_all()

    def _end_all(self, outcome: Outcome) -> None:
        for jobs in self._jobs.values():
            for job in list(jobs):
                self._end(job, outcome)
        with self._news:
            waiting, self._inbox = list(self._inbox), deque()
        for job in waiting:
            job.conclude(outcome)
            self._leave(job, outcome)

    def _note_pace(self, result: SliceResult) -> None:
        pace = result.nfe_computed / max(result.elapsed_s, 1e-6)
        self._pace = pace if not self._pace else (1 - _PACE_WEIGHT) * self._pace + _PACE_WEIGHT * pace
