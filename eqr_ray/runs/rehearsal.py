"""A run that was simulated, made in earnest: real replicas and messages, on engines that replay a trace and take their time over it.

What is compared is the clock: the same coordinator, policy and trajectories on Ray and on the virtual cluster.
Invariant, asserted in tests/ray_local/test_rehearsal.py: the real run is charged what the simulated one is, in about the time foretold.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from eqr_ray.coordinator import Coordinator
from eqr_ray.policy import Policy
from eqr_ray.runs.simulate import forecast
from eqr_ray.sim.cluster import Cluster
from eqr_ray.sim.replay import ReplayEngine, check_fits
from eqr_ray.sim.trace import Trace
from eqr_ray.types import Slice, SliceResult

CPU_SHARE = 0.05
"""Of a core, for a replica that sleeps: more replicas than cores can then be tried on one machine."""
OPEN_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the real run took and what was foretold."""

    puzzles: int
    nfe_mean: float
    real_s: float
    """From the first replica that was ready to the last verdict."""
    forecast_s: float
    starts_s: tuple[float, ...]
    """When each replica was ready, after the first."""
    same_cost: bool
    """Whether both charged the same iterations."""

    @property
    def ratio(self) -> float:
        """Forecast wall time over the real one."""
        return self.forecast_s / self.real_s


@dataclass(frozen=True, slots=True)
class Sleeper:
    """Builds, in a replica, an engine that replays and sleeps for every iteration."""

    trace: Trace
    iterations_per_s: float

    def __call__(self) -> SleepingEngine:
        """Build it."""
        return SleepingEngine(self)


class SleepingEngine:
    """Implements `types.Engine`: the rows of a trace, at the pace of a device."""

    device = "rehearsal"

    def __init__(self, plan: Sleeper) -> None:
        self._rate, self._engine = plan.iterations_per_s, ReplayEngine(plan.trace)

    def run(self, orders: Slice) -> SliceResult:
        """Report the rows after as long as their iterations would have taken."""
        began = time.monotonic()
        result = self._engine.run(orders)
        left = result.nfe_computed / self._rate - (time.monotonic() - began)
        if left > 0:
            time.sleep(left)
        return replace(result, elapsed_s=time.monotonic() - began)


def rehearse(trace: Trace, policy: Policy, cluster: Cluster, address: str = "local", most_rows: int = 256) -> Rehearsal:
    """Run the puzzles of a trace on `cluster.replicas` real replicas and on the virtual ones, which start when those did.

    Raises InputError where the policy does not fit the trace.
    """
    from eqr_ray.distributed.cluster import connect
    from eqr_ray.distributed.driver import Driver, Staffing
    from eqr_ray.distributed.shares import Share

    check_fits(trace, policy)
    n = cluster.replicas
    with connect(address) as found:
        staffing = Staffing(
            factory=Sleeper(trace, cluster.iterations_per_s),
            share=Share(CPU_SHARE, 0.0, 1),
            desired=lambda: n,
            draining=found.draining,
            least_rows=cluster.first_rows,
            most_rows=most_rows,
        )
        coordinator = Coordinator(policy, trace.facts.seed, slice_rows=most_rows, open_limit=OPEN_LIMIT)
        driver = Driver(coordinator, staffing)
        began, ready, nfe, done = time.monotonic(), list[float](), 0, 0
        for verdicts in driver.drive(iter(trace.puzzles)):
            now = time.monotonic() - began
            ready += [now] * (driver.effort.most_ready - len(ready))
            nfe += sum(verdict.nfe for verdict in verdicts)
            done += len(verdicts)
        ended = time.monotonic() - began
    starts = tuple(at - ready[0] for at in ready)
    foretold = forecast(trace, policy, replace(cluster, starts_s=starts), most_rows=most_rows, open_limit=OPEN_LIMIT)
    same = round(foretold.nfe_mean * foretold.puzzles) == nfe and foretold.puzzles == done
    return Rehearsal(done, nfe / max(done, 1), ended - ready[0], foretold.wall_s, starts, same)
