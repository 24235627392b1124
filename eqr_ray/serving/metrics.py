"""What a replica can be watched by, in the text format of Prometheus, at `/metrics`.

The proxy of several replicas hands a scrape to any of them, so with Ray the same measures are also given to Ray's own exporter,
which every node has (`app.py`).

Invariants, asserted in tests/serving/test_metrics.py: labels come from fixed sets, so nobody can fill the memory with them; counters
never fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from eqr_ray.serving.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATHS = ("/", "/v1/solve", "/v1/solve/batch", "/v1/solve/stream", "/v1/models", "/healthz", "/readyz", "/metrics")
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that a service can be asked for."""

    name: str
    kind: Literal["gauge", "counter"]
    meaning: str
    read: Callable[[Service], float]


MEASURES = (
    Measure("eqr_open_requests", "gauge", "Requests taken and not answered.", lambda s: s.standing().open_jobs),
    Measure("eqr_queued_iterations", "gauge", "Ordered by policies and not done.", lambda s: s.standing().queued_iterations),
    Measure("eqr_iterations_per_second", "gauge", "Pace of a busy engine.", lambda s: s.standing().iterations_per_s),
    Measure("eqr_slice_seconds", "gauge", "How long the slice under way takes already.", lambda s: s.standing().busy_s),
    Measure("eqr_ready", "gauge", "1 while requests are welcome.", lambda s: float(s.ready)),
    Measure("eqr_slices_total", "counter", "Slices that the engines began.", lambda s: s.standing().slices),
    Measure("eqr_iterations_total", "counter", "Iterations computed, padding included.", lambda s: s.standing().nfe_computed),
    Measure("eqr_errands_sent_total", "counter", "Slices sent to other replicas.",
            lambda s: s.neighbours.errands_sent if s.neighbours else 0),
    Measure("eqr_errands_done_total", "counter", "Slices computed for other replicas.",
            lambda s: s.neighbours.errands_done if s.neighbours else 0),
)  # fmt: skip


class Meters:
    """The measures of one service, and how its HTTP requests went."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._requests = Histogram(
            "eqr_request_seconds", "HTTP requests from their arrival to the end of the answer.", ("path", "status"),
            buckets=BUCKETS_S, registry=self._registry,
        )  # fmt: skip

    def observe(self, path: str, status: int | None, seconds: float) -> None:
        """Note an answered request; status None: nobody was there to hear the answer."""
        self._requests.labels(path if path in PATHS else "other", str(status or 499)).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield the measures as they are now."""
        for measure in MEASURES:
            kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
            yield kind(measure.name.removesuffix("_total"), measure.meaning, value=float(measure.read(self._service)))

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)
