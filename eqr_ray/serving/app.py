"""The Ray Serve application: ingress and engine in one deployment, so that a request makes a single hop.

`serve run eqr_ray.serving.app:app config=configs/serve/local.yaml`, a Serve configuration with the same import path and `args`, and
`eqr-ray serve` all come here.

Where there may be several replicas, a second deployment holds the exchange through which they lend each other their engines; requests do
not pass through it.

Invariants, asserted in tests/serving/test_ray_serve.py: a replica takes requests only after its engines have run; a killed replica costs
no accepted request of a client that retries; the verdict is that of an evaluation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import config as serve_settings
from ray.serve import metrics as serve_metrics

from eqr_ray.serving.exchange import Exchange
from eqr_ray.serving.guard import Guard, read_tokens
from eqr_ray.serving.http import build_app
from eqr_ray.serving.logs import log_to_stderr
from eqr_ray.serving.metrics import MEASURES
from eqr_ray.serving.scaling import METRIC
from eqr_ray.serving.service import Service
from eqr_ray.serving.settings import ServeConfig, load_serve_config
from eqr_ray.serving.shelf import threads_of

NAME, EXCHANGE = "eqr", "Exchange"
MOST_CALLS = 100_000
"""Calls that the exchange has open: each replica always asks it for work, and each errand under way is one."""
HEALTH_PERIOD_S, HEALTH_TIMEOUT_S = 5.0, 10.0
BEYOND = 64
"""Requests that Ray hands to a replica beyond those that it works on, so that the replica itself says no, with the right Retry-After."""


class RemoteExchange:
    """The exchange as replicas reach it; implements `neighbours.Market`."""

    def __init__(self) -> None:
        self._handle = serve.get_deployment_handle(EXCHANGE)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return lambda *args: getattr(self._handle, name).remote(*args)


class Exporter:
    """Gives a replica's measures to Ray's exporter, which labels them with the replica."""

    def __init__(self) -> None:
        self._gauges = {m.name: serve_metrics.Gauge(m.name, m.meaning) for m in MEASURES if m.kind == "gauge"}
        self._counters = {m.name: serve_metrics.Counter(m.name, m.meaning) for m in MEASURES if m.kind == "counter"}
        self._told: dict[str, float] = {}

    def update(self, service: Service) -> None:
        """Tell the present values."""
        for measure in MEASURES:
            value = float(measure.read(service))
            if measure.kind == "gauge":
                self._gauges[measure.name].set(value)
            elif more := value - self._told.get(measure.name, 0.0):
                self._counters[measure.name].inc(more)
                self._told[measure.name] = value


class Replica:
    """What Ray Serve asks of a replica besides answering requests; the app is built where the replica runs."""

    app: FastAPI

    def __init__(self, exchange: object = None) -> None:
        """`exchange` is named so that it is part of the application; it is found by its name."""
        self.exporter = Exporter()

    async def check_health(self) -> None:
        """Raise when the engine broke or is stuck, so that Ray Serve replaces the replica."""
        service = self.app.state.service
        self.exporter.update(service)
        service.check()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what the number of replicas follows."""
        return {METRIC: float(self.app.state.service.standing().queued_iterations)}


def app(args: dict[str, Any]) -> serve.Application:
    """Return the application that a configuration asks for; `config` names its YAML file, other keys win over it.

    Raises InputError for what cannot be used. Tokens are read here and travel to the replicas as digests.
    """
    options = {key: value for key, value in args.items() if key != "config"}
    return application(load_serve_config(args.get("config"), (), options))


def application(config: ServeConfig) -> serve.Application:
    """Return the application of a checked configuration."""
    digests = read_tokens(config)
    on_gpu = config.device == "cuda" or (config.device == "auto" and _cluster_has_gpus())
    config = config.model_copy(update={"device": "cuda" if on_gpu else config.device})

    several = config.scaling.max_replicas > 1

    def build() -> FastAPI:
        log_to_stderr(config.log_level)
        service = Service(config, market=RemoteExchange if several else None)
        return build_app(service, Guard(digests, config.allowed_hosts), echo_id=False)

    threads = 1 if on_gpu else threads_of(config)
    options: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": threads, "num_gpus": config.gpus_per_replica if on_gpu else 0},
        "max_ongoing_requests": config.limits.open_requests + BEYOND,
        "max_queued_requests": 2 * config.limits.open_requests,
        "health_check_period_s": HEALTH_PERIOD_S,
        "health_check_timeout_s": HEALTH_TIMEOUT_S,
        "graceful_shutdown_timeout_s": config.drain_s + 10.0,
        "graceful_shutdown_wait_loop_s": 0.5,
    }
    if hasattr(serve_settings, "BackpressureConfig"):
        options["backpressure_config"] = serve_settings.BackpressureConfig(status_code=503, retry_after_s=2)
    scaling = config.scaling
    if scaling.max_replicas > scaling.min_replicas:
        options["autoscaling_config"] = serve_settings.AutoscalingConfig(
            min_replicas=scaling.min_replicas,
            max_replicas=scaling.max_replicas,
            upscale_delay_s=scaling.upscale_delay_s,
            downscale_delay_s=scaling.downscale_delay_s,
            policy=serve_settings.AutoscalingPolicy(
                policy_function="eqr_ray.serving.scaling:QueuedIterations",
                policy_kwargs={"iterations_per_replica": scaling.iterations_per_replica},
            ),
        )
    else:
        options["num_replicas"] = scaling.min_replicas
    replica = serve.deployment(serve.ingress(build)(Replica), name="Replica").options(**options)
    if not several:
        return replica.bind()
    exchange = serve.deployment(Exchange, name=EXCHANGE).options(
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=MOST_CALLS,
        logging_config={"enable_access_log": False},
    )
    return replica.bind(exchange.bind())


def _cluster_has_gpus() -> bool:
    return bool(ray.is_initialized() and ray.cluster_resources().get("GPU", 0) > 0)
