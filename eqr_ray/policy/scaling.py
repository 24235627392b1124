"""How many replicas a run should have: from what is left, how fast it goes, when it is to end and what it may cost.

Invariants, asserted in tests/unit/policy/test_scaling.py: never more than allowed, and none when nothing is left or the money is spent;
more work or less time never asks for fewer replicas; without a measured rate one replica is asked for, to measure it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WORTH_S = 120.0
"""Work that a further replica should find when no end is asked for: with less, its machine would start for almost nothing."""
MARGIN = 0.9
"""Share of the time left that is planned with: rates fall towards the end, when few rows are left."""
STARTING_SHARE = 0.1
"""Share of the money left that may go into starting machines rather than into work."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is left and how it goes."""

    iterations_left: float
    """Iterations to be computed until the end; inf where the number of puzzles is not known."""
    iterations_per_s: float | None
    """Of one replica; None before anything was measured."""
    replicas: int
    """Replicas that there are."""
    puzzles_left: float
    """No more replicas than puzzles can work; inf where it is not known."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the user asks for, as it stands now."""

    most: int
    """Replicas at most."""
    seconds_left: float | None = None
    """Until the run is to end; None without such a wish, negative when it is too late."""
    money_left: float | None = None
    """None without a cap."""
    price_per_hour: float = 0.0
    """Of one replica, in the unit of `money_left`."""
    start_s: float = 180.0
    """From the wish for a replica to its first iteration, where a machine must be started."""

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most must be at least 1, got most={self.most}")
        if self.start_s <= 0:
            raise ValueError(f"start_s must be more than 0, got start_s={self.start_s}")


def desired_replicas(load: Load, goal: Goal) -> int:
    """Return how many replicas the run should have now."""
    if load.puzzles_left <= 0 or (goal.money_left is not None and goal.money_left <= 0):
        return 0
    if load.iterations_per_s is None or load.iterations_per_s <= 0:
        return max(1, int(min(load.replicas, goal.most, load.puzzles_left)))
    work_s = load.iterations_left / load.iterations_per_s
    wanted = min(_wanted(work_s, load, goal), goal.most, load.puzzles_left)
    if goal.money_left is not None and goal.price_per_hour > 0:
        paid_s = 3600 * goal.money_left / goal.price_per_hour
        more = STARTING_SHARE * paid_s / goal.start_s
        wanted = wanted if math.isinf(more) else min(wanted, load.replicas + math.floor(more))
    return max(1, int(wanted))


def _wanted(work_s: float, load: Load, goal: Goal) -> float:
    """Return how many replicas do `work_s` of one replica's work in time; inf when no number does."""
    if math.isinf(work_s):
        return math.inf
    if goal.seconds_left is None:
        return _ceil(work_s / WORTH_S)
    here = _ceil(work_s / (MARGIN * goal.seconds_left)) if goal.seconds_left > 0 else math.inf
    if here <= load.replicas:
        return here
    # Those that are still to come work less long: r * t + (n - r) * (t - start) = work.
    late_s = MARGIN * goal.seconds_left - goal.start_s
    if late_s <= 0:
        return math.inf
    return load.replicas + _ceil((work_s - load.replicas * MARGIN * goal.seconds_left) / late_s)


def _ceil(number: float) -> float:
    """Round up; a quotient beyond the range of floats stays inf."""
    return number if math.isinf(number) else math.ceil(number)
