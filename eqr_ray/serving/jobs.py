"""A request on its way through the engine: its puzzles, its coordinator, and what it tells whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from eqr_ray.coordinator import Coordinator
from eqr_ray.policy import Policy
from eqr_ray.types import U8, Puzzle, Trajectories, Verdict


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


@dataclass(slots=True, eq=False)
class Job:
    """Puzzles of one model that share policy, seed and deadline."""

    model: str
    puzzles: tuple[Puzzle, ...]
    policy: Policy
    seed: int
    notify: Callable[[Event], None]
    """Called in the engine's thread with each event, `Ended` last; must not block."""
    deadline: float | None = None
    """On the drive's clock; None: no deadline."""
    leg: int | None = None
    """Most iterations between two `Steps`; None: the drive's, and no `Steps` are sent. No verdict depends on it."""
    cancelled: bool = False
    """Set by whoever stops waiting; obeyed between slices."""
    serial: int = 0
    coordinator: Coordinator | None = field(default=None, repr=False)
    backlog_iterations: int = 0
    """Ordered by the policy and not yet done."""
    engine_s: float = 0.0
    """How long the slices took in which it had rows, added up."""

    @property
    def first_backlog(self) -> int:
        """A bound on what the first round orders, for a job that has not begun."""
        return len(self.puzzles) * min(self.policy.budget.nfe, 64)
