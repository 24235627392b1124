"""Published checkpoints become checkpoint folders, and what is none is refused in one sentence."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eqr_ray.model.checkpoint import load
from eqr_ray.model.convert import convert_published
from eqr_ray.model.published import PublishedSettings
from eqr_ray.types import InputError

WIDE = 8
"""Inner width of the tiny networks here."""


class Carry:
    """Stands for the latents that the reference implementation leaves in its files."""

    def __init__(self) -> None:
        self.z_H = torch.zeros(2, 3)


class Touch:
    """Creates a file when it is unpickled in the usual way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def state(
    vocab: int = 11,
    tokens: int | None = 81,
    hidden: int = 16,
    layers: int = 2,
    embedding: int | None = None,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """Return random weights under published names; `tokens` None makes the attention form."""
    made = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embed_tokens.embedding_weight": (vocab, hidden), "lm_head.weight": (vocab, hidden),
        "q_head.weight": (2, hidden), "q_head.bias": (2,),
    }  # fmt: skip
    if embedding:
        shapes["puzzle_emb.weights"] = (1, embedding)
    for k in range(layers):
        if tokens is None:
            shapes[f"L_level.layers.{k}.self_attn.qkv_proj.weight"] = (3 * hidden, hidden)
            shapes[f"L_level.layers.{k}.self_attn.o_proj.weight"] = (hidden, hidden)
        else:
            shapes[f"L_level.layers.{k}.mlp_t.gate_up_proj.weight"] = (2 * WIDE, tokens)
            shapes[f"L_level.layers.{k}.mlp_t.down_proj.weight"] = (tokens, WIDE)
        shapes[f"L_level.layers.{k}.mlp.gate_up_proj.weight"] = (2 * WIDE, hidden)
        shapes[f"L_level.layers.{k}.mlp.down_proj.weight"] = (hidden, WIDE)
    return {name: torch.randn(shape, generator=made) for name, shape in shapes.items()}


def published(folder: Path, weights: dict[str, torch.Tensor], **more: object) -> Path:
    """Write a file in the published layout, the averaged weights 1 above the last ones."""
    keyed = {f"_orig_mod.model.inner.{name}": tensor for name, tensor in weights.items()}
    content = {
        "step": 16800, "model": keyed, "ema": {"mu": 0.999, "shadow": {name: t + 1 for name, t in keyed.items()}},
        "carry": Carry(), "numpy": np.random.RandomState(1).get_state(), "python": random.getstate(), "optimizers": [{"state": {}}],
    }  # fmt: skip
    torch.save({**content, **more}, folder / "eqr.pth")
    return folder / "eqr.pth"


def test_torch_refuses_what_is_converted_here(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="weights_only"):
        torch.load(published(tmp_path, state()), weights_only=True)


def test_published_sudoku_network_is_recognised_by_its_shapes(tmp_path: Path) -> None:
    done = convert_published(published(tmp_path, state()), tmp_path / "out")
    spec = load(str(tmp_path / "out")).spec
    assert spec == done.spec
    assert (spec.task, spec.form, spec.mixer, spec.cells, spec.vocab) == ("sudoku9", "hierarchical", "mlp", 81, 10)
    assert (spec.H_cycles, spec.L_cycles, spec.layers, spec.nle_per_iteration) == (3, 6, 2, 42)
    assert (spec.damping, spec.noise, spec.token_map) == (0.05, 0.01, tuple(range(1, 11)))
    assert (spec.token_width, spec.ff_width, spec.hidden) == (WIDE, WIDE, 16)
    for fact in ("sudoku9", "EMA", "16800", "L_cycles 6", "published recipes", str(tmp_path / "out")):
        assert fact in str(done)


def test_published_maze_network_is_recognised_by_its_shapes(tmp_path: Path) -> None:
    spec = convert_published(published(tmp_path, state(6, None, layers=1)), tmp_path / "out").spec
    assert (spec.task, spec.mixer, spec.position, spec.rope_base) == ("maze30x30", "attention", "rope1d", 10000.0)
    assert (spec.H_cycles, spec.L_cycles, spec.heads, spec.nle_per_iteration) == (3, 4, 8, 15)
    # Here: open, wall, start, goal, path. There, from 1: wall, open, start, goal, path.
    assert spec.token_map == (2, 1, 3, 4, 5)


def test_averaged_weights_are_preferred_and_the_last_ones_can_be_had(tmp_path: Path) -> None:
    weights = state()
    source = published(tmp_path, weights)
    convert_published(source, tmp_path / "a")
    convert_published(source, tmp_path / "b", weights="model")
    head = weights["lm_head.weight"]
    assert torch.equal(load(str(tmp_path / "a")).model.lm_head.weight, head + 1)
    assert torch.equal(load(str(tmp_path / "b")).model.lm_head.weight, head)


def test_what_the_average_lacks_comes_from_the_last_weights(tmp_path: Path) -> None:
    weights = state()
    source = published(tmp_path, weights, ema={"shadow": {"_orig_mod.model.inner.q_head.bias": torch.ones(2)}})
    convert_published(source, tmp_path / "a")
    model = load(str(tmp_path / "a")).model
    assert torch.equal(model.q_head.bias, torch.ones(2))
    assert torch.equal(model.lm_head.weight, weights["lm_head.weight"])


def test_a_bare_state_dict_converts(tmp_path: Path) -> None:
    weights = state()
    torch.save({f"model.inner.{name}": tensor for name, tensor in weights.items()}, tmp_path / "bare.pth")
    done = convert_published(tmp_path / "bare.pth", tmp_path / "a")
    assert done.weights == "last weights (it holds no EMA)"
    assert torch.equal(load(str(tmp_path / "a")).model.lm_head.weight, weights["lm_head.weight"])


def test_a_puzzle_embedding_becomes_prefix_tokens(tmp_path: Path) -> None:
    weights = state(tokens=97, embedding=20)
    convert_published(published(tmp_path, weights), tmp_path / "a", weights="model")
    found = load(str(tmp_path / "a"))
    assert (found.spec.task, found.spec.prefix_tokens, found.spec.tokens) == ("sudoku9", 16, 97)
    assert torch.equal(found.model.prefix.flatten()[:20], weights["puzzle_emb.weights"][0])
    assert not found.model.prefix.flatten()[20:].any()


def test_settings_in_the_file_go_before_the_recipes_and_overrides_before_both(tmp_path: Path) -> None:
    arch = {"name": "eqr@EqRModel", "H_cycles": 2, "L_cycles": 5, "num_heads": 4, "lambda_": 0.9, "noise_scale": 0.5,
            "pos_encodings": "rope2d", "rope_theta": 10, "H_init_std": 0.5, "L_init_std": 0.5}  # fmt: skip
    source = published(tmp_path, state(6, None, layers=1), config={"arch": arch})
    spec = convert_published(source, tmp_path / "a", overrides=PublishedSettings(heads=2, noise=0.0)).spec
    assert (spec.H_cycles, spec.L_cycles, spec.heads, spec.damping, spec.noise) == (2, 5, 2, 0.1, 0.0)
    assert (spec.position, spec.rope_base, spec.init_std) == ("rope2d", 10.0, 0.5)


def test_settings_beside_the_file_are_used(tmp_path: Path) -> None:
    (tmp_path / "all_config.yaml").write_text("arch: {L_cycles: 7, lambda_: 0.8}\n")
    done = convert_published(published(tmp_path, state()), tmp_path / "a")
    assert (done.spec.L_cycles, done.spec.damping) == (7, 0.2)
    assert "all_config.yaml" in str(done)


def test_a_hostile_file_leaves_no_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    source = published(tmp_path, state(), carry=Touch(trace), step=Touch(trace))
    done = convert_published(source, tmp_path / "a")
    assert "step unknown" in str(done)
    assert not trace.exists()


BAD = {
    "holds no weights": {"model": {"x": 3}, "ema": {}},
    "which no published EqR network has": {
        "model": {**state(), "H_level.layers.0.mlp.down_proj.weight": torch.ones(2, 2)}
    },
    "lacks a tensor for embedding": {"model": {"lm_head.weight": torch.ones(11, 4)}},
    "fit no known task": {"model": state(tokens=80)},
    "not finite": {"model": {**state(), "q_head.bias": torch.tensor([0.0, torch.nan])}},
    "lacks a tensor for q_head.bias": {"model": {n: t for n, t in state().items() if n != "q_head.bias"}},
    "has shape": {"model": {**state(), "q_head.weight": torch.ones(3, 16)}},
    "arch.L_cycles must be a whole number": {"config": {"arch": {"L_cycles": "six"}}},
    "arch.pos_encodings must be one of": {"config": {"arch": {"pos_encodings": "spiral"}}},
    "settings are those of": {"config": {"arch": {"name": "trm@TRMModel"}}},
}


@pytest.mark.parametrize("words", BAD)
def test_what_is_no_such_checkpoint_is_refused_in_one_sentence(words: str, tmp_path: Path) -> None:
    source = published(tmp_path, state(), **{"ema": None, **BAD[words]})
    with pytest.raises(InputError, match=words) as caught:
        convert_published(source, tmp_path / "out")
    assert "eqr.pth" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_task_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sudoku16 has 256 cells and needs 18 network tokens"):
        convert_published(published(tmp_path, state()), tmp_path / "out", task="sudoku16")


def test_settings_beside_the_file_that_are_no_yaml_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("arch: {L_cycles: [\n")
    with pytest.raises(InputError, match=r"config\.yaml.*not YAML") as caught:
        convert_published(published(tmp_path, state()), tmp_path / "a")
    assert "\n" not in str(caught.value)
