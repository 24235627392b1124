"""Saves in files of bounded size, and the log of a run that was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from eqr_ray.training import state
from eqr_ray.training.journal import EVENTS, Journal


def test_shards_are_bounded_and_join_to_what_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_BYTES", 1000)
    tensors: dict[str, Tensor] = {
        "large": torch.randn(50, 20), "small.a": torch.randn(3), "small.b": torch.arange(5), "flag": torch.tensor(True),
        "even": torch.zeros(125, 2),
    }  # fmt: skip
    shards = list(state.shards(tensors))
    assert len(shards) > 4
    assert all(sum(tensor.nbytes for tensor in shard.values()) <= 1000 for shard in shards)
    joined = state.joined(shards)
    assert joined.keys() == tensors.keys()
    assert all(torch.equal(joined[name], tensors[name]) for name in tensors)


def test_a_resumed_log_has_every_step_once(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    for step in (5, 10, 15):
        first.note(step, {"loss": step / 10, "by": {"16": 0.5}})
    first.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')
    again = Journal(tmp_path, steps_done=10)
    again.note(15, {"loss": 1.5})
    again.close()
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [5, 10, 15]


def test_tensorboard_reads_the_numbers_of_the_log(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    journal = Journal(tmp_path)
    journal.note(5, {"loss": 2.5, "exact_accuracy_by_depth": {"16": 0.25}, "finished_exact": None})
    journal.close()
    events = EventAccumulator(str(tmp_path / EVENTS)).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "exact_accuracy_by_depth/16"}
    (scalar,) = events.Scalars("exact_accuracy_by_depth/16")
    assert (scalar.step, scalar.value) == (5, 0.25)
