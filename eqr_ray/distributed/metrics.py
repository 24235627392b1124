"""A run's numbers as Prometheus metrics, through Ray's own exporter; the driver alone reports them.

Invariants, asserted in tests/ray_local/test_run_metrics.py: what is declared here is what is exported; a replica that left reads zero,
not its last value; counters never fall. `cluster/grafana-dashboard.json` asks for nothing but these, as tests/clusters/test_dashboard.py
checks.
"""

from __future__ import annotations

from dataclasses import dataclass

from eqr_ray.coordinator import Counters

COUNTERS = {
    "eqr_puzzles": "Verdicts of this session.",
    "eqr_nfe": "Iterations charged to them.",
    "eqr_nfe_computed": "Iterations that devices did, repeats and empty slots included.",
    "eqr_slices": "Slices that came back.",
    "eqr_lost_slices": "Slices given out again because their replica was lost.",
    "eqr_copied_slices": "Slices of slow replicas that were ordered a second time.",
    "eqr_lost_replicas": "Replicas that died or were taken away.",
    "eqr_crashed_puzzles": "Puzzles set aside because replicas die of them.",
}
GAUGES = {
    "eqr_exact_accuracy": "Share of right answers so far, of all puzzles that have a label.",
    "eqr_puzzles_left": "Puzzles without a verdict; absent where their number is not known.",
    "eqr_puzzles_open": "Puzzles in work.",
    "eqr_backlog_iterations": "Iterations ordered and not yet reported.",
    "eqr_rows_in_flight": "Trajectories that replicas were told to advance.",
    "eqr_replicas": "Replicas at work.",
    "eqr_replicas_wanted": "Replicas that should be at work.",
    "eqr_cost": "Cost of this session so far, in the unit of the configured prices.",
}
PER_REPLICA = {
    "eqr_replica_iterations_per_s": "Iterations a second of a replica.",
    "eqr_replica_utilisation": "Share of the time in which a replica was at work on slices.",
    "eqr_replica_slices_in_flight": "Slices that a replica holds.",
}
EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """How a run stands, as far as its metrics say."""

    counters: Counters
    accuracy: float | None
    puzzles_left: int | None
    replicas: int
    wanted: int
    lost_replicas: int
    crashed: int
    cost: float


class Meter:
    """Reports readings of one run to the connected Ray."""

    def __init__(self, run: str) -> None:
        from ray.util.metrics import Counter, Gauge

        self._tags = {"run": run}
        self._counters = {name: Counter(name, text, ("run",)) for name, text in COUNTERS.items()}
        self._gauges = {name: Gauge(name, text, ("run",)) for name, text in GAUGES.items()}
        self._own = {name: Gauge(name, text, ("run", "replica")) for name, text in PER_REPLICA.items()}
        self._told: dict[str, float] = {}
        self._before: dict[str, tuple[int, float]] = {}
        """replica -> (iterations, seconds at work) at the last reading."""
        self._at: float | None = None

    def due(self, now: float) -> bool:
        """Return whether it is time for a reading."""
        return self._at is None or now - self._at >= EVERY_S

    def tell(self, now: float, reading: Reading) -> None:
        """Report a reading; `now` in seconds on any steady clock."""
        counters = reading.counters
        self._count("eqr_puzzles", counters.puzzles_done)
        self._count("eqr_nfe", counters.nfe)
        self._count("eqr_nfe_computed", counters.nfe_computed)
        self._count("eqr_slices", counters.slices_done)
        self._count("eqr_lost_slices", counters.lost_slices)
        self._count("eqr_copied_slices", counters.copied_slices)
        self._count("eqr_lost_replicas", reading.lost_replicas)
        self._count("eqr_crashed_puzzles", reading.crashed)
        values = {
            "eqr_exact_accuracy": reading.accuracy,
            "eqr_puzzles_left": reading.puzzles_left,
            "eqr_puzzles_open": counters.puzzles_open,
            "eqr_backlog_iterations": counters.backlog_iterations,
            "eqr_rows_in_flight": counters.rows_in_flight,
            "eqr_replicas": reading.replicas,
            "eqr_replicas_wanted": reading.wanted,
            "eqr_cost": reading.cost,
        }
        for name, value in values.items():
            if value is not None:
                self._gauges[name].set(float(value), self._tags)
        self._tell_replicas(now, counters)
        self._at = now

    def end(self, now: float, reading: Reading) -> None:
        """Report the last reading, with nobody at work."""
        self.tell(now, reading)
        for replica_id in self._before:
            self._set(replica_id, 0.0, 0.0, 0)
        for name in ("eqr_replicas", "eqr_replicas_wanted", "eqr_rows_in_flight"):
            self._gauges[name].set(0.0, self._tags)

    def _tell_replicas(self, now: float, counters: Counters) -> None:
        passed = 0.0 if self._at is None else now - self._at
        seen: dict[str, tuple[int, float]] = {}
        for own in counters.replicas:
            iterations, worked = self._before.get(own.replica_id, (0, 0.0))
            seen[own.replica_id] = (own.nfe_computed, own.elapsed_s)
            if passed > 0:
                rate = (own.nfe_computed - iterations) / passed
                self._set(own.replica_id, rate, min(1.0, (own.elapsed_s - worked) / passed), own.slices_in_flight)
        for replica_id in self._before.keys() - seen.keys():
            self._set(replica_id, 0.0, 0.0, 0)
        self._before = seen

    def _set(self, replica_id: str, rate: float, utilisation: float, in_flight: int) -> None:
        tags = {**self._tags, "replica": replica_id}
        for name, value in zip(PER_REPLICA, (rate, utilisation, in_flight), strict=True):
            self._own[name].set(float(value), tags)

    def _count(self, name: str, total: float) -> None:
        more = total - self._told.get(name, 0.0)
        if more > 0:
            self._counters[name].inc(more, self._tags)
            self._told[name] = total
