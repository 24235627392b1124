"""Exact accuracy by depth of one random trajectory a puzzle: the curve by which a training run is judged."""

from __future__ import annotations

import torch

from eqr_ray.model.layers import truncated_normal_
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.training.data import Pairs


@torch.inference_mode()
def accuracy_by_depth(
    model: EquilibriumReasoner,
    pairs: Pairs,
    depths: tuple[int, ...],
    *,
    seed: int = 0,
    dtype: str = "float32",
    rows: int = 64,
) -> dict[int, float]:
    """Return depth -> share of the puzzles answered exactly, all at the evaluation noise of the spec; denominator: all of `pairs`."""
    device, spec = model.embedding.device, model.spec
    generator = torch.Generator(device).manual_seed(seed)
    right = dict.fromkeys(depths, 0)
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
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
                z = model.iterate(z, x, noise).float()
                if depth in right:
                    right[depth] += int((model.logits(z).argmax(-1) == answer).all(1).sum())
    return {depth: count / len(pairs) for depth, count in right.items()}
