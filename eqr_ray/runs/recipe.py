"""Which engine a run uses, known before any machine is: weights are read and checked here, and built where they run.

Invariants, asserted in tests/unit/runs/test_recipe.py: weights for another task are refused, and so is a device that this machine
lacks when no other machine is to help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eqr_ray.config import EvaluateConfig
from eqr_ray.evaluation.summary import CheckpointFacts
from eqr_ray.policy import Calibration, Policy, policy_from
from eqr_ray.types import Engine

if TYPE_CHECKING:
    from eqr_ray.distributed.shares import Node


@dataclass(frozen=True, slots=True)
class Recipe:
    """An engine to be built on some device."""

    build: Callable[[str, int], Callable[[], Engine]]
    """(device, CPU threads) -> what builds the engine in a replica; picklable, weights included."""
    checkpoint: CheckpointFacts | None = None
    nle_per_nfe: int | None = None
    """Layers that one iteration evaluates."""
    calibration: Calibration | None = None
    """What policies know of the checkpoint; None where nothing was fitted."""


def torch_recipe(config: EvaluateConfig, task: str, policy: Policy | None = None) -> Recipe:
    """Read and check the weights that the configuration names, or the bundled ones of the task; InputError if they cannot be used.

    policy: who reads the calibration of the weights; the configuration's if left out.
    """
    from eqr_ray.engine.factory import EngineSpec, pick_device
    from eqr_ray.model.calibration import calibration_for
    from eqr_ray.model.checkpoint import build
    from eqr_ray.model.matching import checkpoint_for

    if policy is None:
        given = config.policy
        policy = policy_from(given.name, given.depth, given.breadth, given.nfe, **given.params)
    if config.address == "local":
        pick_device(config.device)
    files = checkpoint_for(task, config.checkpoint, config.puzzles)
    parameters = sum(weights.numel() for weights in build(files).model.parameters())

    def engine(device: str, threads: int) -> EngineSpec:
        return EngineSpec(files, device, config.dtype, threads, config.slots, compiled=config.compile)

    facts = CheckpointFacts(files.name, files.sha256, parameters)
    return Recipe(engine, facts, files.spec.nle_per_iteration, calibration_for(policy, files))


def device_of(config: EvaluateConfig, nodes: Sequence[Node]) -> str:
    """Return the device of the replicas: the one asked for; else CUDA where a node has a GPU, else what this machine offers."""
    if config.device != "auto":
        return config.device
    if any(node.n_gpus > 0 for node in nodes):
        return "cuda"
    if config.address != "local":
        return "cpu"
    from eqr_ray.engine.factory import pick_device

    # A CUDA device that Ray does not count cannot be shared out among replicas.
    return "mps" if pick_device("auto") == "mps" else "cpu"
