"""Published EqR checkpoints (`eqr.pth` of github.com/locuslab/EqR) as checkpoint folders of ours.

What the shapes of the weights tell is read from them; what they do not tell comes from the caller, else from the
settings saved in the checkpoint or in a YAML file beside it, else from the published recipes (arXiv 2605.21488,
appendix). Invariants, asserted in tests/unit/model/test_convert.py and tests/parity: no pickled code runs; the averaged
(EMA) weights are preferred; a converted network gives the logits of the reference implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor

from eqr_ray.model.checkpoint import save
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.published import PublishedSettings, infer_spec, our_names, settings_from
from eqr_ray.model.spec import ModelSpec
from eqr_ray.model.torch_archive import TensorRef, TorchArchive, tensor_named
from eqr_ray.types import InputError

SETTINGS_FILES = ("all_config.yaml", "config.yaml")
"""Where the reference implementation keeps its settings beside a checkpoint."""


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """What was found in a published checkpoint and where it was written; `str` is a report for a terminal."""

    folder: Path
    spec: ModelSpec
    card: dict[str, Any]
    n_parameters: int
    weights: str
    """Which weights were taken, in words."""
    found: tuple[str, ...]
    """One line for each thing found or assumed."""

    def __str__(self) -> str:
        """Return the lines of the report."""
        return "\n".join([*self.found, f"written to {self.folder}"])


def convert_published(
    source: str | Path,
    out: str | Path,
    *,
    task: str | None = None,
    weights: Literal["ema", "model"] = "ema",
    overrides: PublishedSettings | None = None,
) -> Conversion:
    """Read a published `.pth` without running what is pickled in it, and write a checkpoint folder.

    `task` names the board where the shapes do not tell it. `weights` chooses the averaged weights or the last ones.
    `overrides` goes before the settings found. Raises InputError for a file that is no checkpoint or whose tensors make
    no network of this kind.
    """
    archive = TorchArchive(source)
    values = archive.values if isinstance(archive.values, dict) else {}
    chosen, origin = _state(values, weights, source)
    tensors = our_names({name: archive.tensor(ref) for name, ref in chosen.items()}, source)
    settings, settings_origin = _settings(values, Path(source), overrides)
    spec = infer_spec(tensors, settings, task, source)
    model = _filled(spec, tensors, source)
    step = values.get("step")
    card = {
        "name": Path(out).name,
        "task": spec.task,
        "origin": "published EqR checkpoint, converted",
        "source_file": Path(source).name,
        "weights": origin,
        "training_steps": step if type(step) is int else None,
        "settings": settings_origin,
    }
    folder = save(out, model, card)
    steps = "step unknown" if card["training_steps"] is None else f"step {step}"
    cycles = f"H_cycles {spec.H_cycles}, L_cycles {spec.L_cycles}, damping {spec.damping:g}, noise {spec.noise:g}"
    shape = (
        f"{spec.mixer} mixer, position {spec.position}, hidden {spec.hidden}, layers {spec.layers}, heads {spec.heads}"
    )
    found = (
        f"{source}: {origin}, {len(tensors)} tensors, {model.n_parameters:,} weights, {steps}",
        f"task {spec.task}: {spec.cells} cells, {spec.prefix_tokens} prefix tokens, {spec.model_vocab} network tokens",
        f"{shape}, {cycles}",
        f"what shapes do not tell comes from {settings_origin}",
    )
    return Conversion(folder, spec, card, model.n_parameters, origin, found)


def _state(values: Mapping[Any, Any], weights: str, source: str | Path) -> tuple[dict[str, TensorRef], str]:
    """Return name -> tensor of the averaged weights (filled up from the last ones) or of the last ones, and which."""
    last = _tensors(values["model"]) if isinstance(values.get("model"), dict) else _tensors(values)
    ema = values.get("ema")
    shadow = ema.get("shadow", ema) if isinstance(ema, dict) else {}
    averaged = _tensors(shadow) if isinstance(shadow, dict) else {}
    if weights == "ema" and averaged:
        return {**last, **averaged}, "averaged weights (EMA)"
    if not last:
        raise InputError(
            f"{source} holds no weights (a published checkpoint has them under 'model' and 'ema'); name a published EqR .pth file"
        )
    return last, "last weights" if weights == "model" else "last weights (it holds no EMA)"


def _tensors(values: Mapping[Any, Any]) -> dict[str, TensorRef]:
    """Return the tensors of a state dict by name, free of the wrappers' prefixes."""
    named = ((str(name), tensor_named(value)) for name, value in values.items())
    return {_unwrapped(name): ref for name, ref in named if ref is not None}


def _unwrapped(name: str) -> str:
    """Drop what compilation and the loss head put in front: `_orig_mod.model.inner.lm_head.weight` is `lm_head.weight`."""
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while parts and parts[0] in ("module", "model", "inner"):
        parts = parts[1:]
    return ".".join(parts)


def _settings(
    values: Mapping[Any, Any], source: Path, overrides: PublishedSettings | None
) -> tuple[PublishedSettings, str]:
    """Merge the settings: overrides, then those saved in the checkpoint, then a file beside it."""
    given = overrides or PublishedSettings()
    config = values.get("config")
    if isinstance(config, dict) and isinstance(config.get("arch"), dict):
        return given.over(settings_from(config["arch"], source)), "the settings saved in the checkpoint"
    for name in SETTINGS_FILES:
        path = source.parent / name
        if not path.is_file():
            continue
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            raise InputError(
                f"{path}: the settings beside the checkpoint are not YAML ({' '.join(str(error).split())}); mend or remove the file"
            ) from error
        arch = content.get("arch") if isinstance(content, dict) else None
        if isinstance(arch, dict):
            return given.over(settings_from(arch, path)), str(path)
    return given, "the published recipes"


def _filled(spec: ModelSpec, tensors: dict[str, Tensor], source: str | Path) -> EquilibriumReasoner:
    """Build the network and fill it; InputError for a tensor that is missing, left over, misshapen or not finite."""
    model = EquilibriumReasoner(spec)
    wanted = model.state_dict()
    for name in sorted(set(wanted) | set(tensors)):
        if name not in wanted or name not in tensors:
            kind = "lacks" if name in wanted else "holds"
            raise InputError(f"{source} {kind} a tensor for {name}, and a network of this kind {'needs' if name in wanted else 'has no'} "
                             f"{'it' if name in wanted else 'such'}; name a published EqR .pth file")  # fmt: skip
        if wanted[name].shape != tensors[name].shape:
            raise InputError(
                f"{source}: the tensor for {name} has shape {tuple(tensors[name].shape)}, task {spec.task} needs "
                f"{tuple(wanted[name].shape)}; name the right task with --task"
            )
        if not torch.isfinite(tensors[name]).all():
            raise InputError(
                f"{source}: the tensor for {name} holds values that are not finite; the checkpoint is damaged"
            )
    model.load_state_dict(tensors)
    return model.eval().requires_grad_(False)
