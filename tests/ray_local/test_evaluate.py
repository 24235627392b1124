"""A whole evaluation on Ray with the simulator: the same verdicts whatever happens to replicas and driver."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from engines import Dying, Factory, Failing, Poisoned, Simulated
from ray_home import HERE, N_CPUS, none_left
from s3_server import BUCKET, served

from eqr_ray.config import load_config
from eqr_ray.distributed.driver import GaveUp
from eqr_ray.evaluation.summary import Summary
from eqr_ray.puzzles.task import task
from eqr_ray.runs.evaluate import run_evaluation
from eqr_ray.runs.recipe import Recipe
from eqr_ray.types import InputError, StorageError

CONTRACT = {
    "puzzles", "exact_accuracy", "exact_accuracy_ci95", "valid_accuracy", "token_accuracy", "nfe_mean", "nfe_total",
    "nfe_computed", "nle_mean", "puzzles_per_s", "wall_s", "replicas", "lost_slices", "by_source", "stop", "checkpoint",
    "policy", "seed", "version", "device",
}  # fmt: skip
N_PUZZLES = 240
SOLVED = "1234341221434321"


@pytest.fixture(scope="module")
def puzzles(tmp_path_factory: pytest.TempPathFactory) -> str:
    """4x4 boards with digits renamed and cells blanked; two sources, some questions asked twice."""
    draw = random.Random(7)
    lines = ["source,question,answer,rating"]
    while len(lines) < N_PUZZLES + 1:
        names = draw.sample("1234", 4)
        answer = "".join(names[int(digit) - 1] for digit in SOLVED)
        question = "".join("." if draw.random() < 0.6 else digit for digit in answer)
        lines += [f"{draw.choice('ab')},{question},{answer},"] * draw.choice((1, 1, 1, 2))
    file = tmp_path_factory.mktemp("puzzles") / "boards.csv"
    file.write_text("\n".join(lines[: N_PUZZLES + 1]) + "\n")
    return str(file)


def evaluate(out: Path, puzzles: str, factory: Factory | None = None, replicas: int = 2, **options: object) -> Summary:
    built = factory or Simulated()
    given = {"out": str(out), "puzzles": puzzles, "replicas": replicas, "policy.depth": 32, "policy.breadth": 8}
    config = load_config(None, (), {**given, **options})
    return run_evaluation(config, Recipe(lambda device, threads: built, nle_per_nfe=4), quiet=True)


def verdicts(out: Path) -> list[dict[str, object]]:
    """Return all rows of a run, by puzzle id."""
    parts = sorted((out / "verdicts").glob("part-*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    return sorted(rows, key=lambda row: row["puzzle_id"])


@pytest.fixture(scope="module")
def undisturbed(one_node: None, puzzles: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    evaluate(out, puzzles, replicas=1)
    return out


def test_a_run_leaves_verdicts_summary_report_and_configuration(undisturbed: Path):
    rows = verdicts(undisturbed)
    assert len(rows) == len({row["puzzle_id"] for row in rows}) == N_PUZZLES
    summary = json.loads((undisturbed / "summary.json").read_text())
    assert summary.keys() >= CONTRACT
    assert summary["puzzles"] == N_PUZZLES
    assert summary["nfe_total"] == sum(row["nfe"] for row in rows)
    assert summary["nfe_computed"] >= summary["nfe_total"]
    assert summary["nle_mean"] == pytest.approx(4 * summary["nfe_mean"])
    assert (summary["replicas"], summary["lost_slices"], summary["device"]) == (1, 0, "simulator")
    assert summary["exact_accuracy"] == sum(row["exact"] for row in rows) / N_PUZZLES
    assert set(summary["by_source"]) == {"a", "b"}
    config = json.loads((undisturbed / "config.json").read_text())
    assert (config["task"], config["policy"]["depth"]) == ("sudoku4", 32)
    assert "<svg" in (undisturbed / "report.html").read_text()


def test_three_replicas_write_the_same_verdicts_as_one(undisturbed: Path, puzzles: str, tmp_path: Path):
    evaluate(tmp_path / "out", puzzles, replicas=3)
    assert verdicts(tmp_path / "out") == verdicts(undisturbed)


def test_three_replicas_of_which_one_is_killed_write_the_same_verdicts(undisturbed: Path, puzzles: str, tmp_path: Path):
    died = tmp_path / "died"
    summary = evaluate(tmp_path / "out", puzzles, Dying(Simulated(0.001), str(died)), replicas=3)
    assert died.exists()
    assert summary.lost_slices is not None
    assert summary.lost_slices >= 1
    assert verdicts(tmp_path / "out") == verdicts(undisturbed)


def test_results_of_an_earlier_run_are_not_touched(undisturbed: Path, puzzles: str):
    before = {file: file.read_bytes() for file in undisturbed.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match="--resume"):
        evaluate(undisturbed, puzzles)
    with pytest.raises(InputError, match=r"seed: 0 -> 1"):
        evaluate(undisturbed, puzzles, seed=1, resume=True)
    assert {file: file.read_bytes() for file in undisturbed.rglob("*") if file.is_file()} == before


def test_a_finished_run_resumes_to_itself(undisturbed: Path, puzzles: str):
    rows, summary = verdicts(undisturbed), json.loads((undisturbed / "summary.json").read_text())
    again = evaluate(undisturbed, puzzles, resume=True)
    assert verdicts(undisturbed) == rows
    assert again.nfe_computed == summary["nfe_computed"]
    assert again.wall_s == pytest.approx(summary["wall_s"])


def test_a_run_of_fewer_puzzles_is_extended_by_resuming(undisturbed: Path, puzzles: str, tmp_path: Path):
    first = evaluate(tmp_path / "out", puzzles, limit=100)
    assert first.puzzles == 100
    whole = evaluate(tmp_path / "out", puzzles, resume=True)
    assert whole.puzzles == N_PUZZLES
    assert whole.nfe_computed is not None
    assert first.nfe_computed is not None
    assert whole.nfe_computed > first.nfe_computed
    assert verdicts(tmp_path / "out") == verdicts(undisturbed)


def test_an_engine_that_always_fails_ends_the_run_and_the_folder_can_be_resumed(
    undisturbed: Path, puzzles: str, tmp_path: Path
):
    with pytest.raises(GaveUp, match="ArithmeticError"):
        evaluate(tmp_path / "out", puzzles, Failing("run"), replicas=1)
    evaluate(tmp_path / "out", puzzles, resume=True)
    assert verdicts(tmp_path / "out") == verdicts(undisturbed)


def test_a_puzzle_that_kills_its_replicas_is_wrong_in_the_accuracy_and_not_tried_again(puzzles: str, tmp_path: Path):
    whole = "".join("4321"[int(digit) - 1] for digit in SOLVED)  # the simulator is right about boards without blanks
    boards = tmp_path / "boards.csv"
    boards.write_text(f"{Path(puzzles).read_text()}a,{SOLVED},{SOLVED},\na,{whole},{whole},\n")
    quiet = evaluate(tmp_path / "quiet", str(boards))
    lethal = task("sudoku4").parse(whole).tobytes()
    summary = evaluate(tmp_path / "out", str(boards), Poisoned(Simulated(), (lethal,)))
    assert quiet.exact_accuracy == 2 / (N_PUZZLES + 2)
    assert summary.exact_accuracy == 1 / (N_PUZZLES + 2)
    assert summary.puzzles == summary.puzzles_with_answer == N_PUZZLES + 2
    assert summary.stop["crashed"] == 1
    found = verdicts(tmp_path / "out")
    rest = [row for row in verdicts(tmp_path / "quiet") if row["question"] != whole]
    assert [row for row in found if row["stop"] != "crashed"] == rest
    (crashed,) = (row for row in found if row["stop"] == "crashed")
    assert (crashed["question"], crashed["prediction"], crashed["exact"]) == (whole, None, False)
    assert evaluate(tmp_path / "out", str(boards), Poisoned(Simulated(), (lethal,)), resume=True).stop == summary.stop
    assert "counts as wrong" in (tmp_path / "out" / "report.html").read_text()


def test_a_server_that_refuses_every_third_request_costs_retries_and_no_verdict(undisturbed: Path, puzzles: str):
    with served() as server:
        server.refuse_share(3)
        given = {
            "out": f"s3://{BUCKET}/run",
            "puzzles": puzzles,
            "replicas": 2,
            "policy.depth": 32,
            "policy.breadth": 8,
        }
        summary = run_evaluation(load_config(None, (), given), Recipe(lambda device, threads: Simulated()), quiet=True)
        server.refuse = lambda method, path: None
        rows = pq.read_table(f"s3://{BUCKET}/run/verdicts").to_pylist()
    assert summary.storage_retries
    assert sorted(rows, key=lambda row: row["puzzle_id"]) == verdicts(undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 kB of its own; skips where nobody may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this machine mounts no small disk: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_the_run_with_one_sentence_and_nothing_written_is_lost(
    undisturbed: Path, puzzles: str, small_disk: Path
):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(512 * 1024 - 64 * 1024))
    with pytest.raises(StorageError, match="No space left on device") as caught:
        evaluate(small_disk / "out", puzzles, Simulated(0.02))
    assert "\n" not in str(caught.value)
    kept = {row["puzzle_id"] for row in verdicts(small_disk / "out")}
    assert 0 < len(kept) < N_PUZZLES
    filler.unlink()
    assert evaluate(small_disk / "out", puzzles, resume=True).puzzles == N_PUZZLES
    assert verdicts(small_disk / "out") == verdicts(undisturbed)


def start(out: Path, puzzles: str, home: Path, address: str) -> subprocess.Popen[str]:
    """Start an evaluation of some ten seconds in a process group of its own, and wait until its first part is written."""
    command = [sys.executable, str(HERE / "sim_run.py"), str(out), puzzles, address, "0.02"]
    env = os.environ | {"HOME": str(home), "RAY_TMPDIR": str(home)}
    run = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
    ends = time.monotonic() + 240
    while not list(out.glob("verdicts/part-*.parquet")):
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < ends, "no part was written in time"
        time.sleep(0.05)
    return run


@pytest.fixture
def own_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="eqr", dir="/tmp"))
    yield home
    shutil.rmtree(home, ignore_errors=True)


def check_stopped(run: subprocess.Popen[str], out: Path) -> None:
    """Check that a run ended in order after a signal, with a folder that tells how far it came."""
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "Traceback" not in said
    n_kept = len(verdicts(out))
    assert 0 < n_kept < N_PUZZLES
    assert json.loads((out / "summary.json").read_text())["puzzles"] == n_kept
    assert (out / "report.html").exists()


def check_resumed(out: Path, puzzles: str, undisturbed: Path) -> None:
    assert 0 < len(verdicts(out)) < N_PUZZLES
    assert evaluate(out, puzzles, resume=True).puzzles == N_PUZZLES
    assert verdicts(out) == verdicts(undisturbed)


def test_ctrl_c_stops_a_run_and_its_ray_and_the_run_can_be_resumed(
    undisturbed: Path, puzzles: str, tmp_path: Path, own_home: Path
):
    run = start(tmp_path / "out", puzzles, own_home, "local")
    # A terminal sends it to every process of the foreground group, those of Ray included.
    os.killpg(run.pid, signal.SIGINT)
    check_stopped(run, tmp_path / "out")
    assert none_left(own_home) == []
    check_resumed(tmp_path / "out", puzzles, undisturbed)


def test_a_killed_driver_loses_only_what_was_not_written_and_leaves_no_process(
    undisturbed: Path, puzzles: str, tmp_path: Path, own_home: Path
):
    run = start(tmp_path / "out", puzzles, own_home, "local")
    run.kill()
    run.communicate(timeout=60)
    assert none_left(own_home) == []
    check_resumed(tmp_path / "out", puzzles, undisturbed)


def test_a_terminated_job_frees_the_cluster_and_can_be_resumed(
    undisturbed: Path, puzzles: str, tmp_path: Path, ray_at_home: Path
):
    run = start(tmp_path / "out", puzzles, ray_at_home, ray.get_runtime_context().gcs_address)
    run.terminate()
    check_stopped(run, tmp_path / "out")
    ends = time.monotonic() + 30
    while ray.available_resources().get("CPU") != N_CPUS:
        assert time.monotonic() < ends, "its replicas are still there"
        time.sleep(0.1)
    check_resumed(tmp_path / "out", puzzles, undisturbed)
