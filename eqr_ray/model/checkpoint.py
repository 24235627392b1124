"""Checkpoints: a folder with `model.safetensors`, `spec.json` and `card.json`, found by bundled name, path or URI.

Invariants: no pickle is ever read here; what is loaded has exactly the tensors that the spec asks for, all finite; a
checkpoint that cannot be used is an InputError that names the file and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec
from eqr_ray.storage import Place
from eqr_ray.types import InputError

WEIGHTS, SPEC, CARD, CALIBRATION = "model.safetensors", "spec.json", "card.json", "calibration.json"


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointFiles:
    """A checkpoint before it is built into a network: small enough to be sent to another machine as it is."""

    name: str
    """Bundled name, or the reference it was asked for by."""
    weights: bytes
    """The safetensors file."""
    spec: ModelSpec
    card: dict[str, Any]
    """Data, recipe and measured accuracy; see docs/checkpoints.md."""
    calibration: dict[str, Any] | None = None
    """What `eqr-ray calibrate` fitted for these weights; None where nothing was."""

    @property
    def sha256(self) -> str:
        """Digest of the weights file."""
        return hashlib.sha256(self.weights).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A checkpoint built into a network, float32 on the CPU."""

    name: str
    model: EquilibriumReasoner
    spec: ModelSpec
    card: dict[str, Any]
    sha256: str


def bundled() -> dict[str, Path]:
    """Return the checkpoints that come with the package: name -> folder."""
    root = Path(str(files("eqr_ray") / "checkpoints"))
    return (
        {folder.name: folder for folder in sorted(root.iterdir()) if (folder / WEIGHTS).is_file()}
        if root.is_dir()
        else {}
    )


def fetch(reference: str) -> CheckpointFiles:
    """Read a checkpoint by bundled name, folder path, `s3://` or `hf://` URI; InputError when it is missing or damaged."""
    if reference.startswith("hf://"):
        from eqr_ray.model.hub import fetch_from_hub

        return fetch_from_hub(reference)
    if reference in bundled():
        folder, name = str(bundled()[reference]), reference
    elif "://" in reference:
        folder, name = reference.rstrip("/"), reference
    elif os.path.isdir(reference):
        folder, name = reference, os.path.basename(os.path.abspath(reference))
    elif os.path.exists(reference):
        raise InputError(
            f"{reference}: a checkpoint is a folder with {WEIGHTS} and {SPEC}, and this is a file; "
            "convert a published .pth with `eqr-ray checkpoint convert`"
        )
    else:
        names = ", ".join(bundled()) or "none"
        raise InputError(
            f"checkpoint {reference!r} is neither a bundled name ({names}) nor a folder nor a URI; `eqr-ray checkpoint list` shows them"
        )
    return read_folder(folder, name)


def read_folder(folder: str, name: str) -> CheckpointFiles:
    """Read a checkpoint folder, local or at a URI; InputError when it is incomplete or damaged."""
    values = _json(folder, SPEC)
    try:
        spec = ModelSpec.from_json(values)
    except InputError as error:
        raise InputError(f"{folder}/{SPEC}: {error}; the checkpoint is damaged or of another version") from error
    card = _json(folder, CARD) if _exists(folder, CARD) else {}
    calibration = _json(folder, CALIBRATION) if _exists(folder, CALIBRATION) else None
    return CheckpointFiles(name, _read(folder, WEIGHTS), spec, card, calibration)


def build(found: CheckpointFiles) -> Loaded:
    """Build the network of a checkpoint; InputError when the weights do not fit the spec."""
    try:
        tensors = safetensors.torch.load(found.weights)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InputError(
            f"{found.name}/{WEIGHTS} is not a readable safetensors file ({error}); fetch or convert it again"
        ) from error
    # Shapes are compared before anything is allocated: a damaged spec may ask for more memory than there is.
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in EquilibriumReasoner(found.spec).state_dict().items()}
    for name, shape in wanted.items():
        if name not in tensors:
            raise InputError(
                f"{found.name}/{WEIGHTS} lacks the tensor {name} that {SPEC} asks for; spec and weights must belong together"
            )
        if tuple(tensors[name].shape) != shape:
            raise InputError(
                f"{found.name}/{WEIGHTS}: tensor {name} has shape {tuple(tensors[name].shape)}, {SPEC} asks for {shape}; "
                "spec and weights must belong together"
            )
        if not torch.isfinite(tensors[name]).all():
            raise InputError(
                f"{found.name}/{WEIGHTS}: tensor {name} holds values that are not finite; the checkpoint is damaged"
            )
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        raise InputError(
            f"{found.name}/{WEIGHTS} holds the tensor {extra[0]} that {SPEC} does not know; spec and weights must belong together"
        )
    model = EquilibriumReasoner(found.spec)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return Loaded(found.name, model.eval().requires_grad_(False), found.spec, found.card, found.sha256)


def load(reference: str) -> Loaded:
    """Fetch and build a checkpoint."""
    return build(fetch(reference))


def save(
    folder: str | Path, model: EquilibriumReasoner, card: dict[str, Any], dtype: torch.dtype = torch.float32
) -> Path:
    """Write a checkpoint folder; each file appears whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    contents = {
        WEIGHTS: safetensors.torch.save(tensors),
        SPEC: (json.dumps(model.spec.to_json(), indent=1) + "\n").encode(),
        CARD: (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    for name, content in contents.items():
        partial = folder / f".{name}.partial"
        partial.write_bytes(content)
        os.replace(partial, folder / name)
    return folder


def _open(folder: str, name: str) -> Any:
    return open(os.path.join(folder, name), "rb") if "://" not in folder else Place(folder).open(name)


def _exists(folder: str, name: str) -> bool:
    try:
        with _open(folder, name):
            return True
    except FileNotFoundError:
        return False


def _read(folder: str, name: str) -> bytes:
    try:
        with _open(folder, name) as stream:
            return bytes(stream.read())
    except FileNotFoundError as error:
        raise InputError(f"{folder}: a checkpoint folder holds {WEIGHTS} and {SPEC}, and {name} is missing") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}/{name} cannot be read: {' '.join(str(error).split())}") from error


def _json(folder: str, name: str) -> dict[str, Any]:
    try:
        values = json.loads(_read(folder, name).decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{folder}/{name} is not JSON ({error}); the checkpoint is damaged") from error
    if not isinstance(values, dict):
        raise InputError(
            f"{folder}/{name} must hold a JSON object, got {type(values).__name__}; the checkpoint is damaged"
        )
    return values
