"""A training run on disk: everything that the next step needs, as safetensors and JSON, never pickle.

Invariants, asserted in tests/unit/training: a run that is stopped and resumed ends with the weights of one that was not (CPU, float32);
a save that is cut off leaves the save before it in place.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import fields
from pathlib import Path

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from eqr_ray.training.loop import Trainer
from eqr_ray.training.settings import TrainSettings
from eqr_ray.types import InputError

POINTER = "latest"
"""File that names the folder of the newest whole save."""


def save_state(trainer: Trainer, folder: Path) -> None:
    """Write the trainer's state beside the previous one, then point to it, then drop the previous one."""
    name = f"state-{trainer.steps_done:07d}"
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    weights = {f"weights.{key}": value for key, value in trainer.model.state_dict().items()}
    average = {f"average.{key}": value for key, value in trainer.average.items()}
    carry = {f"carry.{field.name}": getattr(trainer.carry, field.name) for field in fields(trainer.carry)}
    optimizer = {
        f"optimizer.{number}.{key}": value
        for number, values in trainer.optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }
    _save({**weights, **average}, target / "weights.safetensors")
    _save(optimizer, target / "optimizer.safetensors")
    _save({**carry, "random": trainer.generator.get_state()}, target / "carry.safetensors")
    counters = {
        "steps_done": trainer.steps_done,
        "drawn": trainer.drawn,
        "settings": trainer.settings.model_dump(mode="json"),
    }
    (target / "state.json").write_text(json.dumps(counters, indent=1) + "\n")
    partial = folder / f".{POINTER}.partial"
    partial.write_text(name + "\n")
    os.replace(partial, folder / POINTER)
    for old in folder.glob("state-*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def load_state(trainer: Trainer, folder: Path) -> None:
    """Bring the trainer to the newest save of a folder; InputError when there is none, or it is of other settings or damaged."""
    try:
        target = folder / (folder / POINTER).read_text().strip()
        counters = json.loads((target / "state.json").read_text())
        weights = load_file(target / "weights.safetensors")
        optimizer = load_file(target / "optimizer.safetensors")
        carry = load_file(target / "carry.safetensors")
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: no training run to resume ({Path(str(error.filename)).name} is missing); leave out --resume"
        ) from error
    except (ValueError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{folder}: the saved training state is damaged ({error}); start again in another folder"
        ) from error
    mine = trainer.settings.model_dump(mode="json")
    # A save of before a setting existed is of its default.
    theirs = TrainSettings.model_validate(counters["settings"]).model_dump(mode="json")
    for key in mine:
        if theirs[key] != mine[key]:
            raise InputError(
                f"{folder}: the run to resume has {key}={theirs[key]!r}, the settings now say {mine[key]!r}; "
                "resume with the same settings or start in another folder"
            )
    trainer.model.load_state_dict(
        {key.removeprefix("weights."): v for key, v in weights.items() if key.startswith("weights.")}
    )
    trainer.average = {
        key.removeprefix("average."): v.to(trainer.device) for key, v in weights.items() if key.startswith("average.")
    }
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in optimizer.items():
        _, number, name = key.split(".")
        state.setdefault(int(number), {})[name] = value
    trainer.optimizer.load_state_dict({"state": state, "param_groups": trainer.optimizer.state_dict()["param_groups"]})
    for field in fields(trainer.carry):
        setattr(trainer.carry, field.name, carry[f"carry.{field.name}"].to(trainer.device))
    trainer.generator.set_state(carry["random"].cpu())
    trainer.steps_done, trainer.drawn = counters["steps_done"], counters["drawn"]


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, file)
