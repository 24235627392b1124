"""What a training step costs on a device, by arithmetic, with and without compiling.

Invariant, asserted in tests/unit/training/test_speed.py: what is timed is `Trainer.step` itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from eqr_ray.model.checkpoint import CheckpointFiles
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.training.loop import Materials, Trainer
from eqr_ray.training.settings import NetworkSettings, SourceSettings, TrainSettings
from eqr_ray.types import InputError

WARM_UP = 3
"""Steps before the clock runs: the first ones compile and fill caches."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to take a step."""

    dtype: Literal["float32", "bfloat16"]
    compiled: bool


@dataclass(frozen=True, slots=True)
class StepCost:
    """One measurement."""

    way: Way
    seconds: float
    """Median over the rounds of the mean step."""
    ratio: float
    """Median over the rounds of the first way's seconds by this one's."""


def trainer_for(files: CheckpointFiles, batch: int, device: str, way: Way) -> Trainer:
    """Return a trainer that goes on with a checkpoint's weights, on the bundled puzzles of its task.

    Raises InputError for a task without bundled puzzles, and for a network that no recipe describes.
    """
    spec = files.spec
    network = NetworkSettings.model_validate({name: getattr(spec, name) for name in NetworkSettings.model_fields})
    if network.spec(spec.task) != spec:
        raise InputError(
            f"checkpoint {files.name} has a network that a training recipe cannot describe (prefix tokens or a vocabulary of its own); "
            "time one that `eqr-ray train` made"
        )
    settings = TrainSettings(
        task=spec.task,
        sources=(SourceSettings(path=str(demo_path(spec.task))),),
        network=network,
        batch=batch,
        dtype=way.dtype,
    )
    materials = Materials(Materials.read(settings).sets, files)
    return Trainer(settings, device, materials, compiled=way.compiled)


def step_costs(trainers: Sequence[tuple[Way, Trainer]], steps: int, rounds: int) -> list[StepCost]:
    """Time `rounds` times `steps` steps of each trainer in turn, so that other work on the machine slows all of them alike."""
    for _, trainer in trainers:
        _timed(trainer, WARM_UP)
    seconds = [[_timed(trainer, steps) for _, trainer in trainers] for _ in range(rounds)]
    return [
        StepCost(
            way,
            statistics.median(row[i] for row in seconds),
            statistics.median(row[0] / row[i] for row in seconds),
        )
        for i, (way, _) in enumerate(trainers)
    ]


def _timed(trainer: Trainer, steps: int) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return (time.perf_counter() - began) / steps
