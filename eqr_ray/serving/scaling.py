"""How many replicas the queued iterations ask for.

Requests say little about work: one may take five iterations and the next fifty thousand. So replicas report the iterations that their
policies have ordered and that are not yet done, and Ray Serve is told how many replicas those need. Ray Serve itself adds the delays.

Invariant, asserted in tests/serving/test_serving_parts.py: more work never asks for fewer replicas; the bounds hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

METRIC = "queued_iterations"


class Context(Protocol):
    """What Ray Serve tells an autoscaling policy, as far as this one listens."""

    aggregated_metrics: Mapping[str, Mapping[Any, float]] | None
    capacity_adjusted_min_replicas: int
    capacity_adjusted_max_replicas: int


def replicas_wanted(queued_iterations: float, per_replica: int, lowest: int, highest: int) -> int:
    """Return the replicas that hold so much work with `per_replica` iterations each, within the bounds."""
    return min(max(math.ceil(queued_iterations / per_replica), lowest), highest)


class QueuedIterations:
    """An autoscaling policy of Ray Serve."""

    def __init__(self, iterations_per_replica: int) -> None:
        self.iterations_per_replica = iterations_per_replica

    def __call__(self, ctx: Context) -> tuple[int, dict[str, Any]]:
        """Return the number of replicas wanted, and no state."""
        reported = (ctx.aggregated_metrics or {}).get(METRIC, {})
        lowest, highest = ctx.capacity_adjusted_min_replicas, ctx.capacity_adjusted_max_replicas
        return replicas_wanted(sum(reported.values()), self.iterations_per_replica, lowest, highest), {}
