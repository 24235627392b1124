"""The bundled 6x6 weights on Ray: same verdicts whatever happens to the replicas, and a job that joins a running cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from engines import Dying
from ray_home import HERE

from eqr_ray.config import EvaluateConfig, load_config
from eqr_ray.runs.evaluate import run_evaluation
from eqr_ray.runs.recipe import torch_recipe

BOARDS = """\
4.1.6......2..2..5.........4.6.3....
2..6.36.4.....6..2.2....1.52.......1
..3..65..4...4.......1...2..6....5.1
2...41.3........165...........45..2.
2.4..15...............16...26.4.2...
3...1......6.65.3.........4.......52
.64.....2.......5..51..4....6....4.1
.2...4..1.6.416..5................42
6......5.....3...1.....5.1...342.5..
..5.32.1..6.....56.....13......46...
......63...5....461.43......2.5.....
.3...4.6..2.3...1.....5.5..........6
..12.4.3...6..31.....6..2......5....
.......4.2.3.3.6.261...41........5..
....4..15..6..4...62.....3.2.......5
2..3.....4.2..3...4......2.5....6.1.
.54.2...1.......3.32...41...5......6
6.......5..3..412..5....1...6.......
1......53....154...2...36..3.5......
....12..3...5.6.......4.....26..4...
..15.6....2.......2...3.4..2...6...3
....6...53.....4...3......1.325....6
....4...35...2...4...1..6.1.2....6..
..2....5...4....2....641.261........
"""


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("boards") / "six.txt"
    file.write_text(BOARDS)
    return file


def config(boards: Path, out: Path, **options: object) -> EvaluateConfig:
    return load_config(None, (), {"puzzles": str(boards), "out": str(out), "device": "cpu", **options})


def verdicts(out: Path) -> list[dict[str, object]]:
    parts = sorted((out / "verdicts").glob("part-*.parquet"))
    return sorted((row for part in parts for row in pq.read_table(part).to_pylist()), key=lambda row: row["puzzle_id"])


@pytest.fixture(scope="module")
def undisturbed(one_node: None, boards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One replica with two threads."""
    out = tmp_path_factory.mktemp("undisturbed")
    run_evaluation(config(boards, out, replicas=1), quiet=True)
    return out


def test_the_bundled_weights_solve_most_boards(undisturbed: Path):
    summary = json.loads((undisturbed / "summary.json").read_text())
    assert summary["puzzles"] == len(BOARDS.split())
    assert summary["exact_accuracy"] is None
    assert summary["valid_accuracy"] > 0.8
    assert summary["checkpoint"]["name"] == "sudoku6"
    assert summary["nle_mean"] > summary["nfe_mean"]


def test_three_replicas_write_the_same_verdicts_as_one(boards: Path, undisturbed: Path, tmp_path: Path):
    summary = run_evaluation(config(boards, tmp_path, replicas=3), quiet=True)
    assert summary.replicas is not None
    assert verdicts(tmp_path) == verdicts(undisturbed)


def test_three_replicas_of_which_one_is_killed_write_the_same_verdicts(boards: Path, undisturbed: Path, tmp_path: Path):
    asked = config(boards, tmp_path / "out", replicas=3)
    real = torch_recipe(asked, "sudoku6")

    def dying(device: str, threads: int) -> Dying:
        return Dying(real.build(device, threads), str(tmp_path / "died"), after=1)

    summary = run_evaluation(asked, replace(real, build=dying), quiet=True)
    assert summary.lost_slices is not None
    assert summary.lost_slices >= 1
    assert verdicts(tmp_path / "out") == verdicts(undisturbed)


def test_a_job_joins_the_cluster_that_runs_it(boards: Path, undisturbed: Path, tmp_path: Path):
    job = HERE.parents[1] / "jobs" / "evaluate.py"
    settings = [f"puzzles={boards}", f"out={tmp_path / 'out'}", "device=cpu", "replicas=2"]
    command = [sys.executable, str(job), *(word for setting in settings for word in ("--set", setting))]
    joined = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    done = subprocess.run(command, env=joined, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "report" in done.stdout
    assert verdicts(tmp_path / "out") == verdicts(undisturbed)
