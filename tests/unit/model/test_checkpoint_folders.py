"""Checkpoint folders: what is saved is loaded, and every kind of damage is one sentence that names the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from eqr_ray.model.checkpoint import bundled, fetch, load, save
from eqr_ray.model.matching import checkpoint_for
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec
from eqr_ray.types import InputError

SPEC = ModelSpec(
    task="sudoku4", rows=4, cols=4, vocab=5, model_vocab=5, token_map=(0, 1, 2, 3, 4), hidden=16, heads=2, layers=1
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return save(tmp_path / "tiny", EquilibriumReasoner(SPEC), {"name": "tiny", "note": "é"})


def test_what_is_saved_is_loaded(folder: Path) -> None:
    found = load(str(folder))
    torch.manual_seed(0)
    for name, tensor in EquilibriumReasoner(SPEC).state_dict().items():
        assert torch.equal(found.model.state_dict()[name], tensor)
    assert (found.name, found.spec, found.card) == ("tiny", SPEC, {"name": "tiny", "note": "é"})
    assert not found.model.training
    assert not any(parameter.requires_grad for parameter in found.model.parameters())
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.safetensors", "spec.json"]


def test_digest_is_that_of_the_weights_file(folder: Path) -> None:
    first = fetch(str(folder)).sha256
    assert first == load(str(folder)).sha256
    model = load(str(folder)).model
    with torch.no_grad():
        model.q_head.bias += 1
    assert load(str(save(folder, model, {}))).sha256 != first


def test_half_precision_weights_are_loaded_as_float32(tmp_path: Path) -> None:
    model = EquilibriumReasoner(SPEC)
    save(tmp_path / "half", model, {}, dtype=torch.float16)
    found = load(str(tmp_path / "half")).model
    assert found.lm_head.weight.dtype == torch.float32
    torch.testing.assert_close(found.lm_head.weight, model.lm_head.weight, rtol=1e-3, atol=1e-4)


def test_a_card_may_be_missing(folder: Path) -> None:
    (folder / "card.json").unlink()
    assert load(str(folder)).card == {}


def change_spec(**change: object) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        values = json.loads((folder / "spec.json").read_text())
        (folder / "spec.json").write_text(json.dumps({**values, **change}))

    return act


def change_tensors(**change: torch.Tensor | None) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        tensors = {**safetensors.torch.load_file(folder / "model.safetensors"), **change}
        safetensors.torch.save_file({n: t for n, t in tensors.items() if t is not None}, folder / "model.safetensors")

    return act


def cut(name: str, keep: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights missing": (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "spec missing": (lambda folder: (folder / "spec.json").unlink(), r"spec\.json is missing"),
    "weights cut off": (cut("model.safetensors", 500), "not a readable safetensors file"),
    "weights empty": (cut("model.safetensors", 0), "not a readable safetensors file"),
    "weights no safetensors": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x93" * 4000),
        "not a readable",
    ),
    "spec no JSON": (lambda folder: (folder / "spec.json").write_text("{"), r"spec\.json is not JSON"),
    "spec binary": (lambda folder: (folder / "spec.json").write_bytes(b"\xff\xfe\x00"), r"spec\.json is not JSON"),
    "spec a list": (lambda folder: (folder / "spec.json").write_text("[1]"), "must hold a JSON object, got list"),
    "card no JSON": (lambda folder: (folder / "card.json").write_text("}"), r"card\.json is not JSON"),
    "spec unknown key": (change_spec(colour=3), "unknown key 'colour'"),
    "spec other width": (change_spec(hidden=32), "spec and weights must belong together"),
    "spec enormous": (change_spec(hidden=2**16, ff_width=2**16, layers=9), "spec and weights must belong together"),
    "spec absurd": (change_spec(hidden=2**40), "whole number up to 65536"),
    "spec other kind": (change_spec(hidden="wide"), "hidden must be a whole number"),
    "tensor of another shape": (change_tensors(**{"q_head.bias": torch.zeros(3)}), r"q_head\.bias has shape \(3,\)"),
    "tensor missing": (change_tensors(**{"q_head.bias": None}), r"lacks the tensor q_head\.bias"),
    "tensor too many": (change_tensors(extra=torch.zeros(3)), "holds the tensor extra"),
    "tensor not a number": (change_tensors(**{"q_head.bias": torch.tensor([0.0, torch.nan])}), "not finite"),
    "tensor infinite": (change_tensors(**{"q_head.bias": torch.tensor([torch.inf, 0.0])}), "not finite"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_sentence_that_names_the_checkpoint(name: str, folder: Path) -> None:
    act, words = DAMAGE[name]
    act(folder)
    with pytest.raises(InputError, match=words) as caught:
        load(str(folder))
    assert "tiny" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_checkpoint_at_all_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a bundled name"):
        load("no-such-thing")
    with pytest.raises(InputError, match="checkpoint convert"):
        load(str(shutil.copy(folder / "spec.json", tmp_path / "eqr.pth")))
    with pytest.raises(InputError, match=r"spec\.json is missing"):
        load(str(tmp_path))
    with pytest.raises(InputError, match=r"cannot be read|missing"):
        load(f"file://{tmp_path}/nowhere")
    with pytest.raises(InputError, match=r"nonsense.*cannot be read"):
        load("nonsense://host/folder")


def test_a_folder_can_be_named_by_uri(folder: Path) -> None:
    assert load(f"file://{folder}").spec == SPEC


def test_a_folder_that_is_written_again_is_replaced(folder: Path) -> None:
    other = EquilibriumReasoner(SPEC)
    save(folder, other, {"second": 1})
    found = load(str(folder))
    assert torch.equal(found.model.embedding, other.embedding)
    assert found.card == {"second": 1}


def test_every_bundled_checkpoint_loads_and_answers_its_task() -> None:
    for name in bundled():
        found = load(name)
        assert found.name == name
        assert checkpoint_for(found.spec.task).sha256 == found.sha256
