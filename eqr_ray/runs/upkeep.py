"""What goes on beside the verdicts: how many replicas are kept, what that costs, and what the metrics say.

Invariants, asserted in tests/ray_local/test_autoscaling.py and test_run_metrics.py: a run without a limit on replicas takes what the
cluster holds; a run ends with nothing asked of the autoscaler; the cap on the cost ends a run in order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from eqr_ray.config.scaling import ScalingConfig, seconds_until
from eqr_ray.coordinator import Coordinator

if TYPE_CHECKING:
    from eqr_ray.distributed.driver import Driver
    from eqr_ray.distributed.shares import Share


@dataclass(frozen=True, slots=True)
class Outlook:
    """What only the run itself knows."""

    left: int | None
    """Puzzles without a verdict; None where it is not known."""
    accuracy: float | None


class Upkeep:
    """Keeps one session staffed and metered; `attach` before the driver drives."""

    def __init__(
        self, run: str, config: ScalingConfig, share: Share, held: Callable[[], int], outlook: Callable[[], Outlook]
    ) -> None:
        """held: how many replicas the cluster holds now, or a fixed number. outlook: asked every few seconds."""
        from eqr_ray.distributed.metrics import Meter
        from eqr_ray.distributed.scaler import Prices, Scaler, ask_autoscaler

        self._config, self._held, self._outlook = config, held, outlook
        until = None if config.finish_by is None else seconds_until(config.finish_by, datetime.now())
        self._scaler = Scaler(
            config.max_replicas or 2**31,
            share,
            ask_autoscaler,
            prices=Prices(config.price_per_replica_hour, config.price_per_node_hour),
            finish_at=None if until is None else time.monotonic() + until,
            max_cost=config.max_cost,
            start_s=config.start_s,
        )
        self._meter = Meter(run)
        self._coordinator: Coordinator | None = None
        self._driver: Driver | None = None

    @property
    def cost(self) -> float:
        """Cost of the session so far."""
        return self._scaler.cost

    def attach(self, coordinator: Coordinator, driver: Driver) -> None:
        """Name those that are watched."""
        self._coordinator, self._driver = coordinator, driver

    def desired(self) -> int:
        """Return how many replicas to keep; raises GaveUp when the money is spent."""
        from eqr_ray.distributed.driver import GaveUp
        from eqr_ray.distributed.scaler import Work

        coordinator, driver = self._watched()
        staff, now, left = driver.staff(self._config.idle_s), time.monotonic(), self._outlook().left
        self._scaler.observe(now, staff)
        if self._scaler.over:
            raise GaveUp(
                f"the session has cost {self._scaler.cost:.2f} and max_cost is {self._config.max_cost:g}; "
                "raise scaling.max_cost to go on"
            )
        if self._config.max_replicas is None:
            held = self._held()
            return held if left is None else min(held, left)
        counters = coordinator.counters()
        work = Work(
            done=counters.puzzles_done,
            open=counters.puzzles_open,
            ordered=counters.backlog_iterations,
            computed=counters.nfe_computed,
            left=math.inf if left is None else float(left),
        )
        return self._scaler.desired(now, staff, work)

    def tick(self) -> None:
        """Bring the metrics up to date, if it is time."""
        now = time.monotonic()
        if self._meter.due(now):
            self._report(now)

    def end(self) -> None:
        """Withdraw what was asked of the autoscaler, and report for the last time."""
        self._scaler.end()
        self._report(time.monotonic(), last=True)

    def _report(self, now: float, last: bool = False) -> None:
        from eqr_ray.distributed.metrics import Reading

        coordinator, driver = self._watched()
        outlook, effort = self._outlook(), driver.effort
        reading = Reading(
            counters=coordinator.counters(),
            accuracy=outlook.accuracy,
            puzzles_left=outlook.left,
            replicas=effort.ready,
            wanted=effort.wanted,
            lost_replicas=effort.lost_replicas,
            crashed=effort.crashed,
            cost=self._scaler.cost,
        )
        (self._meter.end if last else self._meter.tell)(now, reading)

    def _watched(self) -> tuple[Coordinator, Driver]:
        if self._coordinator is None or self._driver is None:
            raise RuntimeError("attach a coordinator and a driver first")
        return self._coordinator, self._driver
