"""A run's wishes to the cluster: how many replicas it should have, told to Ray's autoscaler, and what they have cost so far.

Invariants, asserted in tests/unit/distributed/test_scaler.py and tests/ray_local/test_autoscaling.py: nothing is asked of the autoscaler
but what is missing, and nothing any more once the run has ended; a busy replica is never ended to scale down; the cost is what
the prices say of the time that replicas and their machines were held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from eqr_ray.distributed.shares import Share
from eqr_ray.policy.scaling import Goal, Load, desired_replicas

log = logging.getLogger(__name__)

Ask = Callable[[list[dict[str, float]]], None]
"""Takes the bundles of resources that the cluster should have room for; an empty list withdraws the wish."""
SETTLED_PUZZLES = 20
"""Verdicts from which the mean cost of a puzzle is believed; before, what is ordered for the open ones stands for it."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What is paid for an hour, in any unit."""

    replica: float = 0.0
    node: float = 0.0


@dataclass(frozen=True, slots=True)
class Staff:
    """Who is there now."""

    ready: int
    starting: int
    busy: int
    """Ready ones that have orders, or had some until a short time ago."""
    nodes: int
    """Machines that hold replicas."""


@dataclass(frozen=True, slots=True)
class Work:
    """How the run stands; iterations are computed ones, repeats included."""

    done: int
    """Verdicts of this session."""
    open: int
    ordered: int
    """Iterations ordered for the open puzzles and not reported."""
    computed: int
    left: float
    """Puzzles without a verdict, open ones included; inf where it is not known."""


class Scaler:
    """Decides, every few seconds, how many replicas the run keeps."""

    def __init__(
        self,
        most: int,
        share: Share,
        ask: Ask,
        *,
        prices: Prices = Prices(),
        finish_at: float | None = None,
        max_cost: float | None = None,
        start_s: float = 180.0,
    ) -> None:
        """finish_at: on the clock of `now`, as `observe` takes it. Nothing is asked before the first call."""
        self._most, self._share, self._ask = most, share, ask
        self._prices, self._finish_at, self._max_cost, self._start_s = prices, finish_at, max_cost, start_s
        self._seen_at: float | None = None
        self._ready_s = 0.0
        self._asked = 0
        self.cost = 0.0
        """Of this session so far."""
        self.wanted = 0

    @property
    def over(self) -> bool:
        """Whether the money is spent."""
        return self._max_cost is not None and self.cost >= self._max_cost

    def observe(self, now: float, staff: Staff) -> None:
        """Count the time since the last call as paid and worked by who is there."""
        if self._seen_at is not None:
            passed = now - self._seen_at
            self._ready_s += passed * staff.ready
            self.cost += passed / 3600 * (staff.ready * self._prices.replica + staff.nodes * self._prices.node)
        self._seen_at = now

    def desired(self, now: float, staff: Staff, work: Work) -> int:
        """Return how many replicas to keep, and ask the autoscaler for the room that is missing."""
        there = staff.ready + staff.starting
        load = Load(self._iterations_left(work), self._rate(work), there, work.left)
        self.wanted = desired_replicas(load, self._goal(now, staff))
        missing = self.wanted - staff.ready
        self._tell(self.wanted if missing > 0 else 0)
        # What works goes on working: the same work costs the same on fewer machines.
        return self.wanted if self.wanted >= there else max(self.wanted, min(staff.busy, self._most))

    def end(self) -> None:
        """Withdraw what was asked, so that machines may leave; a cluster that is gone has nothing left to withdraw."""
        try:
            self._tell(0)
        except Exception as error:
            log.warning("the wish for machines could not be withdrawn: %s", error)

    def _tell(self, n: int) -> None:
        if n == self._asked:
            return
        bundle = {"CPU": self._share.num_cpus} | ({"GPU": self._share.num_gpus} if self._share.num_gpus else {})
        log.info("asking the cluster for room for %d replicas (before: %d)", n, self._asked)
        self._ask([bundle] * n)
        self._asked = n

    def _rate(self, work: Work) -> float | None:
        """Return the iterations a second of one replica."""
        return work.computed / self._ready_s if work.computed and self._ready_s > 0 else None

    def _iterations_left(self, work: Work) -> float:
        if work.left == 0:
            return 0.0
        if work.done >= SETTLED_PUZZLES:
            return work.left * work.computed / work.done
        return work.ordered + (work.left - work.open) * work.ordered / max(work.open, 1)

    def _goal(self, now: float, staff: Staff) -> Goal:
        price = self._prices.replica
        if self._prices.node:
            price += self._prices.node * max(staff.nodes, 1) / max(staff.ready, 1)
        return Goal(
            most=self._most,
            seconds_left=None if self._finish_at is None else self._finish_at - now,
            money_left=None if self._max_cost is None else self._max_cost - self.cost,
            price_per_hour=price,
            start_s=self._start_s,
        )


def ask_autoscaler(bundles: list[dict[str, float]]) -> None:
    """Tell Ray's autoscaler which bundles the cluster should have room for; the last wish of any program on the cluster counts."""
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=bundles)
