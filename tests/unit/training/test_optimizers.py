"""AdamATan2 and the course of the learning rate."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from eqr_ray.training.optimizers import AdamATan2, learning_rate, make_optimizer
from eqr_ray.training.settings import TrainSettings


def plan(**changes: object) -> TrainSettings:
    return TrainSettings.model_validate({"task": "sudoku4", "sources": [{"path": "unread"}], **changes})


def test_the_first_steps_are_their_definition() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = AdamATan2([weight], lr=0.1, betas=(0.9, 0.95), weight_decay=0.5)
    value, m, v = [1.0, -2.0], [0.0, 0.0], [0.0, 0.0]
    for step, gradient in enumerate([[3.0, -1.0], [0.0, 2.0], [-1.0, 5.0]], start=1):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        for i, g in enumerate(gradient):
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.95 * v[i] + 0.05 * g * g
            move = math.atan2(m[i] / (1 - 0.9**step), math.sqrt(v[i] / (1 - 0.95**step)))
            value[i] = value[i] * (1 - 0.1 * 0.5) - 0.1 * move
        assert weight.tolist() == pytest.approx(value)


def test_the_scale_of_the_loss_changes_nothing() -> None:
    ends = []
    for scale in (1.0, 2.0**-40):
        weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        optimizer = AdamATan2([weight], lr=0.01)
        for step in range(5):
            weight.grad = scale * torch.tensor([0.5, -0.1 * step, 0.0])
            optimizer.step()
        ends.append(weight.tolist())
    assert ends[0] == pytest.approx(ends[1])


def test_it_solves_least_squares_and_its_state_survives_a_round_trip() -> None:
    torch.manual_seed(0)
    inputs, target = torch.randn(64, 4), torch.randn(4)

    def run(weight: nn.Parameter, optimizer: torch.optim.Optimizer, steps: int) -> float:
        for _ in range(steps):
            loss = (inputs @ weight - inputs @ target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    weight = nn.Parameter(torch.zeros(4))
    optimizer = AdamATan2([weight], lr=0.02)
    assert run(weight, optimizer, 300) < 1e-3
    copied = nn.Parameter(weight.detach().clone())
    again = AdamATan2([copied], lr=0.02)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(weight, optimizer, 3)
    run(copied, again, 3)
    assert torch.equal(weight, copied)


def test_settings_choose_the_optimizer_and_only_matrices_decay() -> None:
    model = nn.Linear(3, 2)
    for name, kind in (("adamw", torch.optim.AdamW), ("adam_atan2", AdamATan2)):
        optimizer = make_optimizer(model, plan(optimizer=name, weight_decay=0.3))
        assert type(optimizer) is kind
        decays = {p.ndim: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        assert decays == {2: 0.3, 1: 0.0}


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"betas": (1.0, 0.9)}, {"weight_decay": -1.0}])
def test_impossible_numbers_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AdamATan2([nn.Parameter(torch.zeros(1))], **wrong)


def test_learning_rate_warms_up_then_falls_along_a_cosine_or_stays() -> None:
    cosine = plan(steps=105, warmup=5, lr=1.0, lr_end=0.1)
    assert [learning_rate(cosine, step) for step in (0, 4)] == [0.2, 1.0]
    assert learning_rate(cosine, 55) == pytest.approx(0.55)
    assert learning_rate(cosine, 105) == pytest.approx(0.1)
    constant = plan(steps=105, warmup=5, lr=1.0, schedule="constant")
    assert [learning_rate(constant, step) for step in (0, 5, 55, 105)] == [0.2, 1.0, 1.0, 1.0]
