"""Builds a torch engine where it will run: a picklable recipe that an actor calls once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from eqr_ray.engine.torch_engine import TorchEngine
from eqr_ray.model.checkpoint import CheckpointFiles, build
from eqr_ray.types import InputError


def pick_device(wanted: str = "auto") -> str:
    """Return `cuda`, `mps` or `cpu`: the wanted one, or the best there is; InputError when the wanted one is not there."""
    have = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, there in have.items() if there)
    if wanted.split(":")[0] not in have:
        raise InputError(f"device must be one of auto, cuda, mps, cpu, got device={wanted}")
    if not have[wanted.split(":")[0]]:
        raise InputError(f"device {wanted} is not available on this machine; use --device auto or cpu")
    return wanted


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Recipe of a torch engine; calling it builds the engine in the calling process."""

    checkpoint: CheckpointFiles
    device: str = "auto"
    dtype: str = "float32"
    threads: int = 1
    """CPU lanes, one thread each."""
    tile: int | None = None
    beta: float | None = None
    """Path noise; None: the checkpoint's own."""
    compiled: bool = False
    """Layers fused by torch.compile."""

    def __call__(self) -> TorchEngine:
        """Build the engine."""
        device = pick_device(self.device)
        model = build(self.checkpoint).model
        return TorchEngine(
            model, device=device, dtype=self.dtype, tile=self.tile, threads=self.threads, beta=self.beta,
            compiled=self.compiled,
        )  # fmt: skip
