"""What a recording is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from eqr_ray.config.evaluate import Count, Text, _no_bool
from eqr_ray.config.reading import Config, load_into

Positive = Annotated[float, BeforeValidator(_no_bool), Field(gt=0)]
NotNegative = Annotated[float, BeforeValidator(_no_bool), Field(ge=0)]


class TraceConfig(Config):
    """One trace: B trajectories of every puzzle to full depth D. Relative paths start at the working folder."""

    puzzles: Text = Field(description="a puzzle file or a folder of them (CSV, text, Parquet), local or s3://")
    out: Text = Field(description="the folder that the trace goes to")
    checkpoint: Text | None = Field(
        default=None, description="a bundled name, a path or a URI; left out, it follows from the task"
    )
    task: Text | None = Field(default=None, description="a task such as sudoku9; left out, it follows from the puzzles")
    depth: Count = Field(default=64, description="D, iterations of every trajectory")
    breadth: Count = Field(default=16, description="B, trajectories of every puzzle")
    seed: Annotated[int, BeforeValidator(_no_bool)] = Field(
        default=0, ge=0, lt=2**63, description="the run's seed; a live run with the same seed runs these trajectories"
    )
    limit: Count | None = Field(
        default=None, description="how many puzzles to take from the front; left out, all of them"
    )
    resume: bool = Field(default=False, description="true to go on with an interrupted trace in the same folder")
    beta: NotNegative | None = Field(default=None, description="path noise; left out, the checkpoint's own")
    init_std: Positive | None = Field(
        default=None, description="spread of the random initial latents; left out, the checkpoint's own"
    )
    damping: NotNegative | None = Field(
        default=None, description="λ, what a block keeps of its old state; left out, the checkpoint's own"
    )
    address: Text = Field(
        default="local",
        description="local for a Ray of its own, auto or host:port to join a cluster, none for this process alone",
    )
    replicas: Count | None = Field(default=None, description="recorders; left out, one a core, or one a GPU share")
    threads: Count | None = Field(default=None, description="CPU threads of a recorder; left out, cores / replicas")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="where the network runs")
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="the arithmetic of the network")
    compile: bool = Field(default=False, description="true to fuse the network's layers with torch.compile")
    gpus_per_replica: Annotated[float, BeforeValidator(_no_bool), Field(gt=0, le=1)] = Field(
        default=1.0, description="the share of a GPU that a recorder takes, in (0, 1]; unused on a CPU"
    )
    slots: Count | None = Field(default=None, description="rows of a recorder's batch; left out, the device's default")
    piece: Count = Field(
        default=4,
        description="puzzles recorded between two messages: more keep a GPU busy, fewer lose less when a recorder dies",
    )


def load_trace_config(
    path: str | Path | None, overrides: Sequence[str] = (), options: Mapping[str, object] | None = None
) -> TraceConfig:
    """Return the recording that a YAML file, `key=value` overrides and options ask for; InputError, one sentence."""
    return load_into(TraceConfig, path, overrides, options)
