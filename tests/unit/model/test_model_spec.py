"""A spec survives JSON, refuses what cannot be built, and counts what an iteration costs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from eqr_ray.model.spec import ModelSpec
from eqr_ray.types import InputError

COMPACT = ModelSpec(
    task="sudoku4", rows=4, cols=4, vocab=5, model_vocab=6, token_map=(1, 2, 3, 4, 5), hidden=16, heads=2
)
PUBLISHED = dataclasses.replace(
    COMPACT, form="hierarchical", mixer="mlp", token_width=8, H_cycles=3, L_cycles=6, prefix_tokens=16
)

UNITS = {"mixer": "units", "token_width": 8, "position": "none", "model_vocab": 5, "token_map": (0, 1, 2, 3, 4)}
"""Changes that make `COMPACT` a network over cells and symbols."""


@pytest.mark.parametrize("spec", [COMPACT, PUBLISHED, dataclasses.replace(COMPACT, **UNITS)])  # type: ignore[arg-type]
def test_a_spec_survives_the_round_trip_through_json(spec: ModelSpec) -> None:
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_layer_evaluations_are_those_of_the_published_networks() -> None:
    assert PUBLISHED.nle_per_iteration == 42
    assert dataclasses.replace(PUBLISHED, layers=1, L_cycles=4).nle_per_iteration == 15
    assert dataclasses.replace(COMPACT, L_cycles=3).nle_per_iteration == 6
    assert (PUBLISHED.latents, PUBLISHED.tokens, PUBLISHED.draws_per_iteration) == (2, 32, 21)
    assert (COMPACT.latents, COMPACT.tokens, COMPACT.draws_per_iteration) == (1, 16, 1)
    assert dataclasses.replace(COMPACT, **UNITS).tokens == 16 * 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden": 15}, "multiple of heads"),
        ({"hidden": 12, "heads": 2}, "rope2d needs hidden / heads to be a multiple of 4, got 6"),
        ({"hidden": 6, "heads": 2, "position": "rope1d"}, "rope1d needs hidden / heads to be even, got 3"),
        ({"mixer": "mlp"}, "needs token_width"),
        ({**UNITS, "token_width": 0}, "needs token_width"),
        ({**UNITS, "position": "rope2d"}, "mixer units has the compact form, position none"),
        ({**UNITS, "form": "hierarchical"}, "mixer units has the compact form"),
        ({**UNITS, "prefix_tokens": 1}, "no prefix tokens"),
        ({**UNITS, "vocab": 5000, "model_vocab": 5000, "token_map": tuple(range(5000))}, "at most 65536, got 79984"),
        ({**UNITS, "model_vocab": 6}, "reads the task's own tokens"),
        ({**UNITS, "token_map": (1, 2, 3, 4, 0)}, "reads the task's own tokens"),
        ({"token_map": (0, 1, 2, 3)}, "token_map must give one"),
        ({"token_map": (0, 1, 2, 3, 6)}, "token_map must give one"),
        ({"token_map": (0, 1, 2, 3, -1)}, "token_map must give one"),
        ({"H_cycles": 2}, "H_cycles = 1, got H_cycles=2"),
        ({"damping": 1.0}, "damping must be in"),
        ({"damping": float("nan")}, "damping must be a number"),
        ({"noise": -0.1}, "noise must be"),
        ({"noise": float("inf")}, "noise must be"),
        ({"random_init": 1}, "random_init must be true or false"),
        ({"init_std": -1.0}, "init_std must be"),
        ({"norm_eps": 0.0}, "norm_eps must be"),
        ({"rope_base": 0.0}, "rope_base must be"),
        ({"prefix_tokens": -1}, "prefix_tokens must be"),
        ({"rows": 0}, "rows must be at least 1, got rows=0"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"position": "spiral"}, "position must be one of"),
        ({"form": "loose"}, "form must be one of"),
        ({"mixer": "stick"}, "mixer must be one of"),
        ({"position": "grid", "box_rows": 3, "box_cols": 2}, "boxes of 3 x 2 do not"),
    ],
)
def test_what_cannot_be_built_is_refused_when_the_spec_is_made(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        dataclasses.replace(COMPACT, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hiden": 3}, "unknown key 'hiden'"),
        ({"rows": None}, "rows must be a whole number"),
        ({"hidden": "128"}, "hidden"),
        ({"hidden": 128.5}, "hidden"),
        ({"damping": "a lot"}, "damping"),
        ({"token_map": 7}, "token_map"),
        ({"token_map": ["a"] * 5}, "token_map"),
    ],
)
def test_json_of_the_wrong_kind_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ModelSpec.from_json({**COMPACT.to_json(), **change})


def test_json_that_lacks_a_key_is_refused() -> None:
    values = COMPACT.to_json()
    del values["vocab"]
    with pytest.raises(InputError, match="vocab"):
        ModelSpec.from_json(values)
