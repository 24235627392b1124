"""What a simulation is asked to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from eqr_ray.config.evaluate import Count, PolicyConfig, Text, load_policy
from eqr_ray.config.reading import Config, load_into
from eqr_ray.config.trace import NotNegative, Positive


class ClusterConfig(Config):
    """The machines; see `eqr_ray.sim.cluster.Cluster`."""

    replicas: Count = Field(default=4, description="replicas of the cluster")
    iterations_per_s: Positive = Field(default=1000.0, description="iterations a second of one replica")
    slice_overhead_s: NotNegative = Field(default=0.005, description="seconds between two slices of a replica")
    start_s: NotNegative = Field(default=90.0, description="seconds from the request of a replica to its first slice")
    start_spread: NotNegative = Field(default=0.3, description="spread of the logarithm of the start time")
    preemptions_per_hour: NotNegative = Field(
        default=0.0, description="how often a replica is taken away; 0.05 is a calm spot market"
    )
    straggler_share: NotNegative = Field(default=0.0, description="share of the replicas that are slow")
    straggler_slowdown: Positive = Field(default=3.0, description="how much slower they are")
    speed_spread: NotNegative = Field(default=0.05, description="spread of the logarithm of the speed of a slice")
    price_per_hour: NotNegative = Field(default=0.0, description="price of one replica an hour, from its request")
    in_flight: Count = Field(default=2, description="slices ordered ahead of each replica")
    first_rows: Count = Field(default=4, description="rows of a replica's first slice")
    seed: int = Field(default=0, ge=0, description="of the cluster's mishaps")


class SimulateConfig(Config):
    """One simulation."""

    trace: Text | None = Field(default=None, description="the trace to play; left out, a made landscape")
    checkpoint: Text | None = Field(
        default=None, description="whose calibration policies read; left out, the one that the trace names"
    )
    puzzles: Count | None = Field(
        default=None, description="how many puzzles like those; left out, as many as the trace has"
    )
    policy: PolicyConfig = Field(default=PolicyConfig(), description="the policy and its budget")
    cluster: ClusterConfig = Field(default=ClusterConfig(), description="the machines")
    most_rows: Count = Field(default=256, description="rows of the largest slice: 256 on CPUs, 8192 on GPUs")
    made_puzzles: Count = Field(default=500, description="puzzles of the made landscape")
    made_depth: Count = Field(default=64, description="its depth")
    made_breadth: Count = Field(default=16, description="its breadth")


def load_simulate_config(
    path: str | Path | None, overrides: Sequence[str] = (), options: Mapping[str, object] | None = None
) -> SimulateConfig:
    """Return the simulation that a YAML file, `key=value` overrides and options ask for; InputError, one sentence."""
    config = load_into(SimulateConfig, path, overrides, options)
    return config.model_copy(update={"policy": load_policy(config.policy)})
