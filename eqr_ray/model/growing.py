"""A larger network that computes what a smaller one does: training starts small and goes on with more weights.

Pre-norm layers add to a residual stream, so a new layer that starts out adding nothing, and new inner features that start out
unread, change no output (zero initialisation as in arXiv 2003.04887; function-preserving growth as in arXiv 1511.05641). Invariant,
asserted in tests/unit/model/test_growing.py: logits and halting logits of the grown network are those of the small one.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec


def can_grow(small: ModelSpec, spec: ModelSpec) -> bool:
    """Tell whether a network of `spec` can begin as the small one: equal, or compact with more layers or a wider SwiGLU."""
    return small == spec or (
        small.form == "compact"
        and spec.layers >= small.layers
        and spec.ff_width >= small.ff_width
        and replace(small, layers=spec.layers, ff_width=spec.ff_width) == spec
    )


WRITERS = ("mixer.out.", "mixer.swiglu.down.", "mixer.write.", "mlp.down.")
"""The matrices of a layer that write to the residual stream, by the start of their names."""


@torch.no_grad()
def grow_(network: EquilibriumReasoner, small: EquilibriumReasoner) -> None:
    """Make a freshly drawn network compute what the small one does; ValueError if it cannot (see `can_grow`).

    New layers are spread evenly between the old ones; what is new keeps its random draw, but for what writes to the residual stream.
    """
    spec, old = network.spec, small.spec
    if not can_grow(old, spec):
        raise ValueError(
            "a network begins as an equal one, or, in the compact form, as one with fewer layers or a smaller ff_width"
        )
    places = {k * spec.layers // old.layers: k for k in range(old.layers)}
    known = small.state_dict()
    for name, weights in network.state_dict().items():
        if not name.startswith("layers."):
            weights.copy_(known[name])
            continue
        _, layer, rest = name.split(".", 2)
        if int(layer) in places:
            _widen(weights, known[f"layers.{places[int(layer)]}.{rest}"], rest)
        elif rest.startswith(WRITERS):
            weights.zero_()


def _widen(weights: Tensor, old: Tensor, name: str) -> None:
    """Copy a layer's weights; inner features that the old layer lacks are computed and not read."""
    if weights.shape == old.shape:
        weights.copy_(old)
    elif name == "mlp.gate_up.weight":
        for half, old_half in zip(weights.chunk(2), old.chunk(2), strict=True):
            half[: len(old_half)] = old_half
    else:
        weights.zero_()
        weights[:, : old.shape[1]] = old
