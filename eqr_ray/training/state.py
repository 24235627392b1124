"""Saved state of a run: every thing that the next step needs, as safetensors and JSON, never pickle.

A save holds the whole batch, so that a run may go on with another number of workers, but of the latents only those that go on.
Invariants, asserted in tests/unit/training: a run that is stopped or killed and resumed ends with the weights of one that was not (CPU,
float32); a save that is cut off leaves the save before it in place; no file is larger than `MOST_BYTES`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from eqr_ray.training.loop import Trainer
from eqr_ray.training.settings import TrainSettings
from eqr_ray.types import InputError

POINTER = "latest"
"""File that names the folder of the newest whole save."""
MOST_BYTES = 15 << 20
"""Tensor bytes of one file: below the 16 MiB that some stores and transfers allow, header included."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A run at one step, on the host."""

    tensors: dict[str, Tensor]
    steps_done: int
    drawn: int
    settings: dict[str, Any]
    """As plain JSON values."""


def take(trainer: Trainer) -> Snapshot | None:
    """Return the state of a run; all workers must call it together, and worker 0 gets it, the others None."""
    carry = {field.name: getattr(trainer.carry, field.name) for field in fields(trainer.carry)}
    whole = {name: value if name == "halted" else trainer.peers.gather(value) for name, value in carry.items()}
    if trainer.peers.rank:
        return None
    # A row that ended gets a fresh puzzle and a fresh latent before the next step. Recipes that unroll end all rows in every step.
    whole["z"] = whole["z"][~whole["halted"]]
    tensors = {
        **{f"weights.{key}": value for key, value in trainer.model.state_dict().items()},
        **{f"average.{key}": value for key, value in trainer.average.items()},
        **{
            f"optimizer.{number}.{key}": value
            for number, values in trainer.optimizer.state_dict()["state"].items()
            for key, value in values.items()
        },
        **{f"carry.{key}": value for key, value in whole.items()},
        "random": trainer.generator.get_state(),
    }
    # Cloned on the CPU: the run goes on while its state is written.
    host = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
    return Snapshot(host, trainer.steps_done, trainer.drawn, trainer.settings.model_dump(mode="json"))


def restore(trainer: Trainer, snapshot: Snapshot) -> None:
    """Bring a worker to a snapshot of the whole run."""

    def part(name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}."): v for key, v in snapshot.tensors.items() if key.startswith(f"{name}.")}

    trainer.model.load_state_dict(part("weights"))
    trainer.average = {key: value.to(trainer.device) for key, value in part("average").items()}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimizer").items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    trainer.optimizer.load_state_dict({"state": state, "param_groups": trainer.optimizer.state_dict()["param_groups"]})
    first = trainer.peers.rank * trainer.rows
    carry = part("carry")
    if len(carry["z"]) != len(carry["halted"]):
        latents = carry["z"].new_zeros(len(carry["halted"]), *carry["z"].shape[1:])
        latents[~carry["halted"]] = carry["z"]
        carry["z"] = latents
    for name, value in carry.items():
        mine = value if name == "halted" else value[first : first + trainer.rows]
        setattr(trainer.carry, name, mine.clone().to(trainer.device))
    trainer.generator.set_state(snapshot.tensors["random"])
    trainer.steps_done, trainer.drawn = snapshot.steps_done, snapshot.drawn


def write(snapshot: Snapshot, folder: Path) -> None:
    """Write a snapshot beside the previous one, then point to it, then drop the previous one."""
    name = f"state-{snapshot.steps_done:07d}"
    if (folder / POINTER).exists() and (folder / POINTER).read_text().strip() == name:
        return  # the state after a step is a function of the settings; the whole save that is there must not be put at risk
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    n_files = 0
    for n_files, shard in enumerate(shards(snapshot.tensors), start=1):
        save_file(shard, target / f"part-{n_files:04d}.safetensors")
    counters = {
        "steps_done": snapshot.steps_done, "drawn": snapshot.drawn, "files": n_files, "settings": snapshot.settings,
    }  # fmt: skip
    (target / "state.json").write_text(json.dumps(counters, indent=1) + "\n")
    partial = folder / f".{POINTER}.partial"
    partial.write_text(name + "\n")
    os.replace(partial, folder / POINTER)
    for old in folder.glob("state-*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def read(folder: Path, settings: TrainSettings) -> Snapshot:
    """Return the newest save of a folder; InputError when there is none, or it is of other settings or damaged."""
    try:
        target = folder / (folder / POINTER).read_text().strip()
        counters = json.loads((target / "state.json").read_text())
        files = sorted(target.glob("*.safetensors"))
        if "files" in counters and len(files) != counters["files"]:
            raise ValueError(f"{counters['files']} files were written, {len(files)} are there")
        tensors = joined(load_file(file) for file in files)
        # A save of before a setting existed is of its default.
        theirs = TrainSettings.model_validate(counters["settings"]).model_dump(mode="json")
        snapshot = Snapshot(tensors, int(counters["steps_done"]), int(counters["drawn"]), theirs)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: no training run to resume ({Path(str(error.filename)).name} is missing); leave out --resume"
        ) from error
    except (ValueError, KeyError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{folder}: the saved training state is damaged ({' '.join(str(error).split())}); start again in another folder"
        ) from error
    mine = settings.model_dump(mode="json")
    for key in mine:
        if theirs[key] != mine[key]:
            raise InputError(
                f"{folder}: the run to resume has {key}={theirs[key]!r}, the settings now say {mine[key]!r}; "
                "resume with the same settings or start in another folder"
            )
    return snapshot


def shards(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield the tensors in groups of at most `MOST_BYTES`; a larger tensor is cut along its first dimension into `name#n`."""
    shard: dict[str, Tensor] = {}
    n_bytes = 0
    for name, piece in _pieces(tensors):
        if shard and n_bytes + piece.nbytes > MOST_BYTES:
            yield shard
            shard, n_bytes = {}, 0
        shard[name] = piece
        n_bytes += piece.nbytes
    yield shard


def joined(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return what `shards` cut up."""
    found: dict[str, dict[int, Tensor]] = {}
    for part in parts:
        for key, value in part.items():
            name, _, number = key.partition("#")
            found.setdefault(name, {})[int(number or 0)] = value
    return {
        name: pieces[0] if len(pieces) == 1 else torch.cat([pieces[k] for k in range(len(pieces))])
        for name, pieces in found.items()
    }


def _pieces(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if tensor.nbytes <= MOST_BYTES:
            yield name, tensor
            continue
        rows = max(1, MOST_BYTES * len(tensor) // tensor.nbytes)
        for number, piece in enumerate(torch.split(tensor, rows)):
            yield f"{name}#{number}", piece.contiguous()


def save_state(trainer: Trainer, folder: Path) -> None:
    """Save a run of one worker."""
    snapshot = take(trainer)
    assert snapshot is not None, "the only worker is worker 0"
    write(snapshot, folder)


def load_state(trainer: Trainer, folder: Path) -> None:
    """Bring a trainer to the newest save of a folder."""
    restore(trainer, read(folder, trainer.settings))
