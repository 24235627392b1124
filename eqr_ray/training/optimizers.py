"""Optimizers and the course of the learning rate.

Invariants, asserted in tests/unit/training/test_optimizers.py: AdamATan2 does not depend on the scale of the loss; its state survives
the round trip through `state_dict`; biases, gains and embeddings of positions do not decay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from eqr_ray.training.settings import TrainSettings


class AdamATan2(torch.optim.Optimizer):
    """Adam whose step is lr * atan2(m, sqrt(v)) with decoupled weight decay (Everett et al., arXiv 2407.05872, section 5).

    The arctangent replaces the quotient m / (sqrt(v) + eps): no epsilon, no step longer than lr * pi / 2, and the same step
    whatever the loss is multiplied with.
    """

    def __init__(
        self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.95), weight_decay: float = 0.0
    ) -> None:
        if not lr > 0:
            raise ValueError(f"lr must be above 0, got lr={lr}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be in [0, 1), got betas={betas}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must be 0 or more, got weight_decay={weight_decay}")
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step on every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step(group)
        return loss

    def _step(self, group: dict[str, Any]) -> None:
        parameters: list[Tensor] = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        states = [self.state[p] for p in parameters]
        for parameter, state in zip(parameters, states, strict=True):
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
        first, second = group["betas"]
        means = [state["exp_avg"] for state in states]
        squares = [state["exp_avg_sq"] for state in states]
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        for parameter, state, mean, square in zip(parameters, states, means, squares, strict=True):
            state["step"] += 1
            done = float(state["step"])
            # Both averages start at zero; dividing by what they weigh so far undoes that.
            scale = math.sqrt(1 - second**done) / (1 - first**done)
            parameter.sub_(torch.atan2(mean * scale, square.sqrt()), alpha=group["lr"])


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return two groups: matrices decay; biases, gains and embeddings of positions do not."""
    decayed = [
        p for name, p in model.named_parameters() if p.ndim >= 2 and "positions" not in name and "unit_gain" not in name
    ]
    chosen = {id(p) for p in decayed}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimizer that the settings name."""
    groups = parameter_groups(model, settings.weight_decay)
    if settings.optimizer == "adam_atan2":
        return AdamATan2(groups, lr=settings.lr, betas=settings.betas)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=True)


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Return the rate of a step (from 0): linear warm-up, then constant, or along a cosine to `lr_end` at the last step."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return settings.lr
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.lr_end + (settings.lr - settings.lr_end) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
