"""What an endpoint is asked to be: models, policies, limits, safety, scaling.

Invariants, asserted in tests/serving/test_serving_parts.py: an unknown key is refused and the nearest named; tokens never stand in a
configuration, only the name of their file; listening beyond this machine without tokens is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from eqr_ray.config.evaluate import Count, Fraction, PolicyConfig, Seconds, Text, load_policy
from eqr_ray.config.reading import Config, load_into
from eqr_ray.policy import DEFAULT_POLICY


class Limits(Config):
    """The most that one request, one client and one replica may ask for."""

    depth: Count = Field(default=4096, description="the deepest trajectory that a request may ask for")
    breadth: Count = Field(default=256, description="the most trajectories that a request may ask for")
    nfe: Count = Field(default=65_536, description="the most iterations that a request may ask for a puzzle")
    trace_rows: Count = Field(
        default=4096, description="the most rows of a trace: iterations of a puzzle over iterations between reports"
    )
    batch: Count = Field(default=256, description="the most puzzles of one batch")
    body_bytes: Count = Field(default=262_144, description="the largest body of a request")
    deadline_s: Seconds = Field(default=30.0, description="how long a request may think when it does not say")
    max_deadline_s: Seconds = Field(default=300.0, description="the longest deadline that a request may set")
    open_requests: Count = Field(
        default=128, description="requests that a replica works on or holds; one more is answered with 503"
    )
    backlog_s: Seconds = Field(
        default=60.0,
        description="work ahead of a new request, at the replica's pace, above which it is answered with 503",
    )
    rate_per_s: Seconds = Field(
        default=50.0, description="puzzles a second that one client may ask of a replica in the long run"
    )
    burst: Count = Field(default=512, description="puzzles that one client may ask at once; above it, 429")


class Scaling(Config):
    """How many replicas there are."""

    min_replicas: Count = Field(default=1, description="replicas that are always there")
    max_replicas: Count = Field(default=1, description="replicas that load may bring; equal to min_replicas, none more")
    iterations_per_replica: Count = Field(
        default=20_000,
        description="queued iterations that one replica is expected to hold: fewer start replicas sooner and cost more",
    )
    upscale_delay_s: Seconds = Field(
        default=5.0, description="how long a higher load must last before replicas are added"
    )
    downscale_delay_s: Seconds = Field(default=60.0, description="how long a lower load must last before they go")


class ServeConfig(Config):
    """One endpoint. Relative paths start at the working folder."""

    host: Text = Field(
        default="127.0.0.1", description="the interface to listen on; beyond loopback, tokens are required"
    )
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(default=8000, description="the port; 0 takes a free one")
    models: dict[Text, Text] = Field(
        default_factory=dict,
        description="the models by name, each a bundled name, a path or a URI, ` for TASK` behind it for smaller mazes than those "
        "of the training; left out, all bundled checkpoints",
    )
    policies: dict[Text, PolicyConfig] = Field(
        default_factory=dict, description="more policies by name, beside those that the package knows"
    )
    default_policy: Text = Field(default=DEFAULT_POLICY, description="the policy of a request that names none")
    token_file: Text | None = Field(
        default=None,
        description="a file with one bearer token a line; EQR_SERVE_TOKENS, separated by commas, adds to it",
    )
    allowed_hosts: tuple[Text, ...] = Field(
        default=(), description="Host headers to answer besides this machine's own names; with tokens, left out, all"
    )
    limits: Limits = Field(default=Limits(), description="the most that requests and clients may ask for")
    scaling: Scaling = Field(default=Scaling(), description="how many replicas there are")

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="where the networks run")
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="the arithmetic of the networks")
    compile: bool = Field(
        default=False,
        description="true to fuse the networks' layers with torch.compile: faster, but a replica starts later",
    )
    threads: Count | None = Field(default=None, description="CPU threads of a replica; left out, cores / min_replicas")
    gpus_per_replica: Fraction = Field(
        default=1.0, description="the share of a GPU that a replica takes; unused on a CPU"
    )
    slots: Count | None = Field(default=None, description="rows that iterate together; left out, the device's default")
    leg: Count = Field(
        default=4,
        description="iterations between two looks at the queue: fewer answer easy requests and deadlines sooner, more cost "
        "less overhead",
    )
    stall_s: Seconds = Field(
        default=60.0, description="how long a slice may take before the replica is called unhealthy and replaced"
    )
    drain_s: Seconds = Field(
        default=30.0, description="how long a replica that is told to stop may finish its requests"
    )
    log_level: Literal["debug", "info", "warning"] = Field(default="info", description="how much is logged")

    @model_validator(mode="after")
    def _fits_together(self) -> ServeConfig:
        if self.scaling.max_replicas < self.scaling.min_replicas:
            raise ValueError(
                f"scaling.max_replicas must be at least min_replicas = {self.scaling.min_replicas}, got "
                f"{self.scaling.max_replicas}; raise it"
            )
        if self.limits.deadline_s > self.limits.max_deadline_s:
            raise ValueError(
                f"limits.deadline_s must be at most max_deadline_s = {self.limits.max_deadline_s}, got {self.limits.deadline_s}; "
                "lower it"
            )
        return self


def load_serve_config(
    path: str | Path | None, overrides: Sequence[str] = (), options: Mapping[str, object] | None = None
) -> ServeConfig:
    """Return the endpoint that a YAML file, `key.sub=value` overrides and options (dotted key: value) ask for.

    A policy may name a YAML file with a policy's keys. Raises InputError, one sentence.
    """
    config = load_into(ServeConfig, path, overrides, options)
    return config.model_copy(update={"policies": {name: load_policy(given) for name, given in config.policies.items()}})


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
