"""A request on its way through the engine: its puzzles, its coordinator, and what it tells whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from eqr_ray.coordinator import Coordinator
from eqr_ray.policy import Policy
from eqr_ray.types import U8, Puzzle, Slice, SliceResult, StopReason, Trajectories, Verdict

HERE = "here"
"""The engine of this process, as coordinators know it."""


class Outcome(StrEnum):
    """How a job ended."""

    DONE = "done"
    DEADLINE = "deadline"
    """Time ran out; puzzles of which anything was known got the best answer so far."""
    CANCELLED = "cancelled"
    FAILED = "failed"
    """The engine broke; the same request may be sent again."""


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What one slice did to trajectories of the job; sent to jobs that want their trace."""

    trajectories: Trajectories
    """`puzzle` is the position in the job's puzzles."""
    answers: dict[int, U8]
    """answer_key -> (S,), for every key among the trajectories."""


@dataclass(frozen=True, slots=True, eq=False)
class Reached:
    """The verdict of one puzzle."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of a job."""

    outcome: Outcome
    engine_s: float = 0.0
    """How long the slices took in which the job had rows, added up."""


Event = Steps | Reached | Ended


class Work(Protocol):
    """Rows that a job wants computed: a coordinator's, or another replica's errands."""

    @property
    def done(self) -> bool:
        """Whether nothing will be ordered any more."""
        ...

    @property
    def backlog_iterations(self) -> int:
        """Iterations ordered and not yet done."""
        ...

    @property
    def rows_free(self) -> int:
        """Rows that wait for whichever engine asks first."""
        ...

    def next_slice(self, replica_id: str, rows_at_most: int | None = None, leg: int | None = None) -> Slice | None:
        """Return the next orders for an engine, None when it has nothing to do now."""
        ...

    def on_result(self, result: SliceResult) -> list[Verdict]:
        """Take in a report and return the verdicts that it brings about."""
        ...


@dataclass(slots=True, eq=False)
class Helper:
    """An engine of another replica that works for a job."""

    in_flight: int = 0
    """Slices that it has."""


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """Work of one model that takes part in the slices of a drive."""

    model: str
    notify: Callable[[Event], None]
    """Called in the engine's thread with each event, `Ended` last; must not block."""
    deadline: float | None = None
    """On the drive's clock; None: no deadline."""
    leg: int | None = None
    """Most iterations between two `Steps`; None: the drive's, and no `Steps` are sent. No verdict depends on it."""
    cancelled: bool = False
    """Set by whoever stops waiting; obeyed between slices."""
    serial: int = 0
    work: Work | None = field(default=None, repr=False)
    """None before the job begins and after it has ended."""
    backlog_iterations: int = 0
    """Ordered by the policy and not yet done."""
    engine_s: float = 0.0
    """How long the slices took in which it had rows, added up."""
    helpers: dict[str, Helper] = field(default_factory=dict)
    """Engines of other replicas that work for it."""

    @property
    def n_puzzles(self) -> int:
        """Puzzles of which an engine may hold something."""
        raise NotImplementedError

    @property
    def first_backlog(self) -> int:
        """A bound on what the first round orders, for a job that has not begun."""
        return 0

    def begin(self, rows: int, leg: int) -> None:
        """Make the work; slices hold so many rows, and rows advance so far in one."""
        raise NotImplementedError

    def cells_for(self, orders: Slice) -> dict[int, U8]:
        """Return the questions of every puzzle in the orders, for an engine that may know none of them."""
        raise NotImplementedError

    def engage(self, helper: str) -> None:
        """Take in a helper."""
        raise NotImplementedError

    def lose(self, helper: str) -> None:
        """Take back what a helper had; it is done here or elsewhere, from the seeds."""
        raise NotImplementedError

    def conclude(self, outcome: Outcome) -> list[Verdict]:
        """Return the last verdicts of a job that ends in this way."""
        return []


@dataclass(slots=True, eq=False, kw_only=True)
class Request(Job):
    """Puzzles of one model that share policy, seed and deadline."""

    puzzles: tuple[Puzzle, ...]
    policy: Policy
    seed: int
    coordinator: Coordinator | None = field(default=None, repr=False)

    @property
    def n_puzzles(self) -> int:
        """The puzzles asked."""
        return len(self.puzzles)

    @property
    def first_backlog(self) -> int:
        """A bound on what the first round orders."""
        return len(self.puzzles) * min(self.policy.budget.nfe, 64)

    def begin(self, rows: int, leg: int) -> None:
        """Ask the policy for the first round."""
        run = Coordinator(self.policy, self.seed, slice_rows=rows, leg=self.leg or leg, open_limit=len(self.puzzles))
        self.work = self.coordinator = run
        run.join(HERE)
        run.submit(self.puzzles)
        run.end_input()

    def cells_for(self, orders: Slice) -> dict[int, U8]:
        """Return the questions in the orders: a coordinator numbers puzzles as they were submitted."""
        return {number: self.puzzles[number].cells for number in set(orders.puzzle.tolist())}

    def engage(self, helper: str) -> None:
        """Take in a helper."""
        assert self.coordinator is not None
        self.coordinator.join(helper)
        self.helpers[helper] = Helper()

    def lose(self, helper: str) -> None:
        """Take back what a helper had."""
        self.helpers.pop(helper, None)
        if self.coordinator is not None:
            self.coordinator.on_lost(helper)

    def conclude(self, outcome: Outcome) -> list[Verdict]:
        """Return the best answers so far when time is over."""
        for helper in self.helpers:
            if self.coordinator is not None:
                self.coordinator.on_lost(helper)
        run, self.coordinator = self.coordinator, None
        return run.conclude(StopReason.DEADLINE) if run is not None and outcome is Outcome.DEADLINE else []
