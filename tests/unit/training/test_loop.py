"""Training steps: the loss, the schedule, replacement of rows, and runs that stop and resume."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_builders import settings, solved_grids, written

from eqr_ray.model.checkpoint import load
from eqr_ray.training.accuracy import measure
from eqr_ray.training.data import load_pairs
from eqr_ray.training.loop import Trainer, token_loss
from eqr_ray.training.run import train_from_config
from eqr_ray.training.state import restore, save_state, take
from eqr_ray.types import InputError


@pytest.fixture
def puzzles(tmp_path: Path) -> Path:
    question, answer = solved_grids(64)
    np.savez(tmp_path / "puzzles.npz", question=question, answer=answer)
    return tmp_path / "puzzles.npz"


def test_training_lowers_the_loss_of_an_easy_task(puzzles: Path) -> None:
    trainer = Trainer(settings(puzzles, steps=60, lr=1e-2, batch=16))
    losses = [trainer.step().loss for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


UNROLLED = {"segments": 1, "segment_iterations": 3, "supervise": "all"}


@pytest.mark.parametrize("recipe", [{}, UNROLLED], ids=["sot", "unrolled"])
def test_stopped_and_resumed_run_ends_with_the_weights_of_an_undisturbed_one(
    recipe: dict[str, object], puzzles: Path, tmp_path: Path
) -> None:
    config = written(settings(puzzles, **recipe), tmp_path / "train.json")
    whole = train_from_config(config, out=tmp_path / "whole")
    train_from_config(config, out=tmp_path / "parts", minutes=1e-9)
    assert (tmp_path / "parts" / "latest").read_text().strip() == "state-0000000"
    stepped = Trainer(settings(puzzles, **recipe))
    for _ in range(13):
        stepped.step()
    save_state(stepped, tmp_path / "parts")
    resumed = train_from_config(config, out=tmp_path / "parts", resume=True)
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_save_has_the_latents_of_the_rows_that_go_on_and_another_trainer_goes_on_with_them(puzzles: Path) -> None:
    trainer, other = Trainer(settings(puzzles)), Trainer(settings(puzzles))
    trainer.step()
    trainer.carry.halted = torch.arange(len(trainer.carry.halted)) % 3 == 0
    snapshot = take(trainer)
    assert snapshot is not None
    assert torch.equal(snapshot.tensors["carry.z"], trainer.carry.z[~trainer.carry.halted])
    restore(other, snapshot)
    assert [trainer.step().loss for _ in range(3)] == [other.step().loss for _ in range(3)]
    assert torch.equal(trainer.carry.z, other.carry.z)


def test_the_checkpoint_of_a_run_loads_and_its_card_names_the_recipe(puzzles: Path, tmp_path: Path) -> None:
    folder = train_from_config(written(settings(puzzles), tmp_path / "train.json"), out=tmp_path / "run")
    loaded = load(str(folder))
    assert loaded.spec.task == "sudoku4"
    assert loaded.card["steps"] == 30
    assert set(loaded.card["accuracy_by_depth"]["exact_accuracy"]) == {"1", "2"}
    assert loaded.card["accuracy_by_depth"]["by_source"]["puzzles"]["puzzles"] == 8
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [5, 10, 15, 20, 25, 30]


def test_a_run_starts_from_the_weights_of_a_checkpoint_of_the_same_network(puzzles: Path, tmp_path: Path) -> None:
    folder = train_from_config(written(settings(puzzles), tmp_path / "train.json"), out=tmp_path / "run")
    started = Trainer(settings(puzzles, start_from=str(folder)))
    assert torch.equal(started.model.embedding, load(str(folder)).model.embedding)
    with pytest.raises(InputError, match="another network"):
        Trainer(settings(puzzles, start_from=str(folder), network={"hidden": 32}))


@pytest.mark.parametrize("name", ["banana", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused_in_a_sentence(name: str, puzzles: Path) -> None:
    with pytest.raises(InputError, match="device must be one that this machine has, such as cpu"):
        Trainer(settings(puzzles), device=name)


def test_a_larger_network_starts_as_the_function_of_the_checkpoint(puzzles: Path, tmp_path: Path) -> None:
    small = settings(puzzles)
    folder = train_from_config(written(small, tmp_path / "train.json"), out=tmp_path / "run")
    network = small.network.model_dump() | {"layers": small.network.layers + 1}
    larger = Trainer(settings(puzzles, start_from=str(folder), network=network)).model
    model = load(str(folder)).model
    question = torch.zeros(2, 16, dtype=torch.uint8)
    z = torch.randn(2, model.spec.latents, 16, model.spec.hidden)
    with torch.no_grad():
        torch.testing.assert_close(larger.iterate(z, larger.embed(question)), model.iterate(z, model.embed(question)))


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(puzzles: Path, tmp_path: Path) -> None:
    config = written(settings(puzzles), tmp_path / "train.json")
    train_from_config(config, out=tmp_path / "run", minutes=1e-9)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    with pytest.raises(InputError, match="--resume"):
        train_from_config(config, out=tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_resuming_with_other_settings_names_the_difference(puzzles: Path, tmp_path: Path) -> None:
    config = written(settings(puzzles), tmp_path / "train.json")
    train_from_config(config, out=tmp_path / "run", minutes=1e-9)
    with pytest.raises(InputError, match="batch=8"):
        train_from_config(config, ["batch=16"], out=tmp_path / "run", resume=True)


def test_resuming_from_a_damaged_save_is_one_sentence(puzzles: Path, tmp_path: Path) -> None:
    config = written(settings(puzzles), tmp_path / "train.json")
    train_from_config(config, out=tmp_path / "run", minutes=1e-9)
    file = next((tmp_path / "run").glob("state-*")) / "part-0001.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    with pytest.raises(InputError, match="damaged"):
        train_from_config(config, out=tmp_path / "run", resume=True)
    file.unlink()
    with pytest.raises(InputError, match="1 files were written, 0 are there"):
        train_from_config(config, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["steps=0"], "steps"),
        (["nework.hidden=16"], "network.hidden"),
        (["sources=[{path: nowhere.npz}]"], "nowhere.npz"),
        (["network.heads=3"], "heads"),
        (["loss=hinge"], "loss"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_by_name(
    puzzles: Path, tmp_path: Path, changes: list[str], message: str
) -> None:
    config = written(settings(puzzles), tmp_path / "train.json")
    with pytest.raises(InputError, match=message):
        train_from_config(config, changes, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_stablemax_loss_is_its_definition() -> None:
    logits = torch.tensor([[[1.0, -1.0, 0.0]]])
    # s(x) = x + 1 for x >= 0 and 1 / (1 - x) below: 2, 1/2, 1, which add up to 7/2.
    for token, share in ((0, 2 / 3.5), (1, 0.5 / 3.5), (2, 1 / 3.5)):
        assert float(token_loss(logits, torch.tensor([[token]]), "stablemax")) == pytest.approx(-math.log(share))


def test_rows_end_at_their_last_segment_when_nothing_halts_them(puzzles: Path) -> None:
    trainer = Trainer(settings(puzzles, segments=3, lr=1e-9))
    ended = [trainer.step().finished for _ in range(7)]
    assert ended == [0, 0, 8, 0, 0, 8, 0]


def test_without_act_a_row_runs_all_its_segments(puzzles: Path) -> None:
    for act, ended in ((True, [8] * 3), (False, [0, 0, 8])):
        trainer = Trainer(settings(puzzles, segments=3, lr=1e-9, act=act, halt_exploration=0.0))
        torch.nn.init.constant_(trainer.model.q_head.bias, 5.0)
        assert [trainer.step().finished for _ in range(3)] == ended


def test_a_network_without_random_init_trains_from_one_state_and_its_checkpoint_keeps_it(
    puzzles: Path, tmp_path: Path
) -> None:
    network = {"hidden": 16, "layers": 1, "heads": 2, "ff_width": 16, "noise": 0.0, "random_init": False}
    plan = settings(puzzles, network=network, segments=1, segment_iterations=4, steps=4)
    folder = train_from_config(written(plan, tmp_path / "train.json"), out=tmp_path / "run")
    assert "fixed_start" in load_file(folder / "model.safetensors")
    model, pairs = load(str(folder)).model, load_pairs(plan.sources[0], "sudoku4")
    first, second = (measure(model, pairs, (1, 2, 3), seed=seed) for seed in (1, 2))
    assert first is not None
    assert second is not None
    assert (first.right == second.right).all()
