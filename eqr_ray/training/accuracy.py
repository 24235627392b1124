"""Exact accuracy by depth and source of one random trajectory a puzzle: the curve by which a training run is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from eqr_ray.model.layers import truncated_normal_
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.training.data import Pairs
from eqr_ray.types import Bool


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """Which puzzles were answered exactly at which depth; the denominator is all puzzles."""

    pairs: Pairs
    depths: tuple[int, ...]
    right: Bool
    """(depths, N)"""

    def by_depth(self, kept: Bool | slice = slice(None)) -> dict[str, float]:
        """Return depth -> share of the kept puzzles; depths as text, as JSON has them."""
        shares = self.right[:, kept].mean(1)
        return {str(depth): round(float(share), 4) for depth, share in zip(self.depths, shares, strict=True)}

    def by_source(self) -> dict[str, dict[str, Any]]:
        """Return source -> {puzzles, exact_accuracy by depth}."""
        found: dict[str, dict[str, Any]] = {}
        for number, name in enumerate(self.pairs.names):
            kept = self.pairs.source == number
            if kept.any():
                found[name] = {"puzzles": int(kept.sum()), "exact_accuracy": self.by_depth(kept)}
        return found


def merged(parts: Sequence[Accuracy]) -> Accuracy:
    """Return what workers measured on their shares as one."""
    pairs = [part.pairs for part in parts]
    whole = Pairs(
        np.concatenate([p.question for p in pairs]), np.concatenate([p.answer for p in pairs]),
        np.concatenate([p.rating for p in pairs]), np.concatenate([p.source for p in pairs]), pairs[0].names,
    )  # fmt: skip
    return Accuracy(whole, parts[0].depths, np.concatenate([part.right for part in parts], axis=1))


@torch.inference_mode()
def measure(
    model: EquilibriumReasoner,
    pairs: Pairs,
    depths: tuple[int, ...],
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    rows: int = 64,
    stopped: Callable[[], bool] = lambda: False,
) -> Accuracy | None:
    """Run one trajectory a puzzle at the evaluation noise of the spec; None if `stopped` turns true on the way."""
    device, spec = model.embedding.device, model.spec
    generator = torch.Generator(device).manual_seed(seed)
    right = torch.zeros(len(depths), len(pairs), dtype=torch.bool, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        for first in range(0, len(pairs), rows):
            question = torch.from_numpy(pairs.question[first : first + rows]).to(device)
            answer = torch.from_numpy(pairs.answer[first : first + rows]).to(device)
            n = len(question)
            x = model.embed(question)
            z = model.start(
                n, lambda shape: truncated_normal_(torch.empty(shape, device=device), 1.0, generator)
            ).float()

            def noise(_: int, n: int = n) -> torch.Tensor:
                return torch.randn(n, spec.tokens, spec.hidden, device=device, generator=generator)

            for depth in range(1, max(depths) + 1):
                if stopped():
                    return None
                z = model.iterate(z, x, noise).float()
                if depth in depths:
                    right[depths.index(depth), first : first + n] = (model.logits(z).argmax(-1) == answer).all(1)
    return Accuracy(pairs, depths, np.asarray(right.cpu().numpy()))
