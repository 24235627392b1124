"""Training by Ray workers: the steps of one process, resumption with another number of workers, a worker that dies."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from training_builders import settings, solved_grids, written

from eqr_ray.distributed.training import Staff, train_on_workers
from eqr_ray.training.run import train_from_config
from eqr_ray.types import InputError

pytestmark = pytest.mark.usefixtures("one_node")
TWO = Staff(workers=2)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    question, answer = solved_grids(64)
    np.savez(tmp_path / "puzzles.npz", question=question, answer=answer)
    plan = settings(tmp_path / "puzzles.npz", steps=20, log_every=1, save_every=10, segments=3)
    return written(plan, tmp_path / "train.json")


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in lines(folder) if "loss" in line]


def pid_of_a_worker() -> int:
    import ray._private.state

    actors = ray._private.state.actors().values()
    return next(int(a["Pid"]) for a in actors if a["ActorClassName"] == "Member" and a["State"] == "ALIVE")


def test_two_workers_take_the_steps_of_one_and_one_goes_on_where_two_stopped(config: Path, tmp_path: Path) -> None:
    alone = train_from_config(config, out=tmp_path / "alone")
    together = train_on_workers(config, out=tmp_path / "together", staff=TWO)
    assert len(losses(tmp_path / "alone")) == 20
    assert losses(tmp_path / "together") == pytest.approx(losses(tmp_path / "alone"), rel=1e-3)
    first, second = (load_file(folder / "model.safetensors") for folder in (alone, together))
    assert all(np.allclose(first[name], second[name], atol=1e-3) for name in first)
    curves = [[line for line in lines(tmp_path / run) if "puzzles" in line] for run in ("alone", "together")]
    assert [line["puzzles"] for line in curves[0]] == [line["puzzles"] for line in curves[1]]
    # Stopped after the save of step 10 at the latest, then continued by one process.
    train_on_workers(config, out=tmp_path / "parts", staff=TWO, minutes=1e-9)
    assert (tmp_path / "parts" / "latest").read_text().strip() == "state-0000000"
    train_from_config(config, out=tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "alone"), rel=1e-3)
    with pytest.raises(InputError, match="multiple of the number of workers"):
        train_on_workers(config, out=tmp_path / "odd", staff=Staff(workers=3))


def test_a_killed_worker_costs_the_steps_since_the_newest_save_and_no_more(config: Path, tmp_path: Path) -> None:
    plan = json.loads(config.read_text())
    config.write_text(json.dumps({**plan, "steps": 300, "save_every": 5, "evaluation": {"every": 1000}}))
    killed = []

    def strike() -> None:
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            pointer = tmp_path / "run" / "latest"
            if pointer.exists() and "0000000" not in pointer.read_text():
                killed.append(pid_of_a_worker())
                os.kill(killed[0], signal.SIGKILL)
                return
            time.sleep(0.01)

    striker = threading.Thread(target=strike)
    striker.start()
    train_on_workers(config, out=tmp_path / "run", staff=TWO)
    striker.join()
    assert killed
    assert [line["step"] for line in lines(tmp_path / "run") if "loss" in line] == list(range(1, 301))
