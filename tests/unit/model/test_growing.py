from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from eqr_ray.model.growing import can_grow, grow_
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.training.settings import NetworkSettings

SMALL = NetworkSettings(hidden=16, layers=2, heads=2, ff_width=24, L_cycles=2, position="grid").spec("sudoku4")


def drawn(**changes: object) -> EquilibriumReasoner:
    network = EquilibriumReasoner(replace(SMALL, **changes))  # type: ignore[arg-type]
    with torch.no_grad():
        for weights in network.parameters():  # the halting head starts out at zero
            weights.add_(0.05 * torch.randn_like(weights))
    return network


@pytest.mark.parametrize("changes", [{"layers": 3}, {"layers": 5, "ff_width": 40}, {"ff_width": 25}, {}])
@pytest.mark.parametrize(
    "kept", [{}, *({"mixer": mixer, "token_width": 20, "position": "none"} for mixer in ("mlp", "units"))]
)
def test_a_grown_network_computes_what_the_small_one_does(changes: dict[str, int], kept: dict[str, object]) -> None:
    torch.manual_seed(3)
    small, network = drawn(**kept), drawn(**kept, **changes)
    grow_(network, small)
    question = torch.randint(0, 5, (4, 16), dtype=torch.uint8)
    z = torch.randn(4, 1, small.spec.tokens, 16)
    with torch.no_grad():
        old, new = small.iterate(z, small.embed(question)), network.iterate(z, network.embed(question))
        torch.testing.assert_close(network.logits(new), small.logits(old))
        torch.testing.assert_close(network.q_halt(new), small.q_halt(old))


def test_what_is_new_learns() -> None:
    torch.manual_seed(4)
    network = drawn(layers=4, ff_width=32)
    grow_(network, drawn())
    x = network.embed(torch.randint(0, 5, (4, 16), dtype=torch.uint8))
    network.logits(network.iterate(torch.randn(4, 1, 16, 16), x)).square().mean().backward()  # type: ignore[no-untyped-call]
    for name in ("layers.1.mixer.out.weight", "layers.1.mlp.down.weight", "layers.0.mlp.down.weight"):
        weights = network.get_parameter(name)
        assert not weights.detach()[:, -8 if name.startswith("layers.0") else 0 :].any()
        assert weights.grad is not None
        assert weights.grad.abs().sum(0).all()


@pytest.mark.parametrize("changes", [{"layers": 1}, {"ff_width": 8}, {"hidden": 32}, {"L_cycles": 3}])
def test_a_network_that_is_not_larger_alone_is_refused(changes: dict[str, int]) -> None:
    assert not can_grow(SMALL, replace(SMALL, **changes))
    with pytest.raises(ValueError, match="a network begins as an equal one"):
        grow_(drawn(**changes), drawn())


def test_the_post_norm_form_does_not_grow() -> None:
    spec = replace(SMALL, form="hierarchical")
    assert can_grow(spec, spec)
    assert not can_grow(spec, replace(spec, layers=3))
