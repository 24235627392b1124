"""A real process is killed while it trains; the resumed run ends with the weights of one that nobody touched."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_builders import settings, solved_grids, written

from eqr_ray.training.run import train_from_config
from eqr_ray.training.state import POINTER

ROOT = Path(__file__).parents[3]
N_STEPS = 120


@pytest.fixture
def config(tmp_path: Path) -> Path:
    question, answer = solved_grids(64)
    np.savez(tmp_path / "puzzles.npz", question=question, answer=answer)
    return written(settings(tmp_path / "puzzles.npz", steps=N_STEPS, save_every=3), tmp_path / "train.json")


def start(config: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a training process and wait until it has saved something new."""
    command = [sys.executable, "-m", "eqr_ray", "train", "--config", str(config), "--out", str(out), "--threads", "1"]
    pointer = out / POINTER
    before = pointer.read_text() if pointer.exists() else ""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, *more], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    ends = time.monotonic() + 200
    while (not pointer.exists() or pointer.read_text() == before) and process.poll() is None:
        assert time.monotonic() < ends, "the training run saves nothing"
        time.sleep(0.01)
    return process


def test_a_killed_and_a_stopped_run_end_with_the_weights_of_an_undisturbed_one(config: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = train_from_config(config, out=tmp_path / "whole", threads=1)
        # Killed at a random moment after a save, in the middle of whatever it was doing.
        process = start(config, tmp_path / "parts")
        time.sleep(random.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGKILL, 0), errors.decode()
        # Stopped politely: everything is saved, the exit code says that it is not done.
        process = start(config, tmp_path / "parts", "--resume")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        if process.returncode:  # a quick machine may be through already
            assert process.returncode == 130, errors.decode()
            assert b"SIGTERM" in errors
            assert b"--resume" in errors
        resumed = train_from_config(config, out=tmp_path / "parts", resume=True, threads=1)
    finally:
        torch.set_num_threads(threads)
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_trainer_imports_with_little_more_than_torch() -> None:
    """A GPU machine may have torch, numpy, pyarrow, PyYAML, pydantic and safetensors, and nothing else."""
    program = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"ray", "optuna", "tqdm", "click", "boto3", "numba", "tensorboard", "fastapi", "jinja2"}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from eqr_ray.training.run import train_from_config
from eqr_ray.training.journal import _event_writer
from eqr_ray.training.run import _progress
with _progress(3, 0) as show:
    show(1, {})
print(train_from_config.__name__)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=250)
    assert done.stdout.strip() == "train_from_config", done.stderr
