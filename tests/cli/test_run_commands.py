"""Commands on the folders of runs: status, merge, compare, export; the runs are made in this process, without Ray."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result

from eqr_ray.config import EvaluateConfig, load_config
from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.evaluation.report import write_report
from eqr_ray.evaluation.summary import RunFacts
from eqr_ray.policy import policy_from
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.task import task
from eqr_ray.runs.evaluate import shard_of
from eqr_ray.runs.folder import SUMMARY, Folder, Session
from eqr_ray.runs.scale import make_puzzles
from eqr_ray.runs.scribe import Finished, Scribe
from eqr_ray.sim.engine import SimEngine
from eqr_ray.storage import Place

N_PUZZLES = 120


@pytest.fixture(scope="module")
def puzzles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("puzzles") / "boards.parquet"
    make_puzzles(file, N_PUZZLES)
    return file


def evaluated(
    out: Path, puzzles: Path, stop_after: int | None = None, simulated: bool = False, **changes: object
) -> EvaluateConfig:
    """Do what `run_evaluation` does, with one simulated engine in this process; `simulated`: its right answers are the labels."""
    given = {"out": str(out), "puzzles": str(puzzles), "task": "sudoku6", "policy.depth": 16, "policy.breadth": 4}
    config = load_config(None, (), {**given, **changes})
    policy = policy_from(config.policy.name, config.policy.depth, config.policy.breadth)
    folder = Folder(config)
    with folder.held():
        records = list(read_puzzles(config.puzzles, task("sudoku6"), config.limit, shard_of(config)))
        if simulated:
            records = [replace(record, answer=SimEngine().solution(record.puzzle.cells)) for record in records]
        left = [record for record in records if record.puzzle.puzzle_id not in folder.finished][:stop_after]
        folder.begin(len(records))
        scribe = Scribe(folder, task("sudoku6"))
        by_id = {record.puzzle.puzzle_id: Finished(n, record, None) for n, record in enumerate(left)}  # type: ignore[arg-type]
        coordinator = Coordinator(policy, config.seed, open_limit=32)
        for verdict in drive_local(coordinator, SimEngine(), [record.puzzle for record in left]):
            own = by_id[verdict.puzzle_id]
            scribe.note([Finished(own.place, own.record, verdict)])
            if scribe.n_done % 25 == 0:
                scribe.flush(0.0)
        scribe.flush(0.0)
        took = Session(2.0, coordinator.counters().nfe_computed, 1, 2, "simulator", "", 4.0, 1, 3, len(left))
        folder.write_sessions(took)
        if stop_after is None:
            folder.complete()
        folder.write(SUMMARY, scribe.running.summary(RunFacts(wall_s=2.0, replicas=2)).to_json())
        write_report(folder.uri)
    return config


def verdicts(out: Path) -> list[dict[str, object]]:
    rows = [row for part in out.glob("verdicts/part-*.parquet") for row in pq.read_table(part).to_pylist()]
    return sorted(rows, key=lambda row: str(row["puzzle_id"]))


@pytest.fixture(scope="module")
def whole(puzzles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    evaluated(out, puzzles)
    return out


@pytest.fixture(scope="module")
def right_and_wrong(puzzles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("judged") / "run"
    evaluated(out, puzzles, simulated=True)
    return out


def test_a_finished_run_says_what_it_reached_and_took(run: Callable[..., Result], whole: Path) -> None:
    text = run("status", whole, "--price", "3.6", "--link").stdout
    assert "state     done" in text
    assert f"done      {N_PUZZLES} puzzles of {N_PUZZLES} (100.0 %)" in text
    assert "60.0 puzzles/s on 2 replicas" in text
    assert "0.001 replica hours, 0.00 at 3.6 an hour" in text
    assert "1 replicas and 1 slices lost, storage asked again 3 times" in text
    assert f"link      file://{whole}/report.html" in text
    facts = json.loads(run("status", whole, "--json").stdout)
    assert (facts["state"], facts["done"], facts["left_s"]) == ("done", N_PUZZLES, None)
    assert facts["exact_accuracy"] == json.loads((whole / "summary.json").read_text())["exact_accuracy"]


def test_a_running_and_a_dead_run_are_told_apart(run: Callable[..., Result], puzzles: Path, tmp_path: Path) -> None:
    config = evaluated(tmp_path / "run", puzzles, stop_after=40)
    assert "state     stopped" in run("status", tmp_path / "run").stdout
    note = {
        "done": 60, "done_before": 40, "total": N_PUZZLES, "elapsed_s": 10.0, "replicas": 3, "replica_s": 30.0,
        "storage_retries": 2, "sessions_before": 1,
    }  # fmt: skip
    with Folder(config.model_copy(update={"resume": True})).held(lambda: dict(note)):
        text = run("status", tmp_path / "run").stdout
        assert "state     running, process" in text
        assert f"done      60 puzzles of {N_PUZZLES} (50.0 %)" in text
        assert "2.0 puzzles/s on 3 replicas, 30 s left" in text
        lock = json.loads((tmp_path / "run" / "lock.json").read_text())
    lock["owner"]["born"] = "long ago"
    Place(tmp_path / "run").write("lock.json", json.dumps(lock).encode())
    assert "state     dead, process" in run("status", tmp_path / "run").stdout


def test_the_report_of_a_stopped_run_says_so(puzzles: Path, tmp_path: Path) -> None:
    evaluated(tmp_path / "run", puzzles, stop_after=40)
    assert "has not finished" in (tmp_path / "run" / "report.html").read_text()


def test_no_run_is_one_sentence(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "holds no config.json of an evaluation" in refused("status", tmp_path)
    assert "holds no verdicts" in refused("compare", tmp_path, tmp_path)
    assert "holds no verdicts" in refused("export", tmp_path, "--out", tmp_path / "x.csv")
    assert "holds no shards/" in refused("merge", tmp_path)


@pytest.fixture
def shards(puzzles: Path, tmp_path: Path) -> Path:
    for share in ("1/3", "2/3"):
        evaluated(tmp_path / "run", puzzles, shard=share)
    evaluated(tmp_path / "run", puzzles, shard="3/3", stop_after=10)
    return tmp_path / "run"


def test_merged_shards_are_the_run_that_was_never_split(
    run: Callable[..., Result], refused: Callable[..., str], shards: Path, puzzles: Path, whole: Path
) -> None:
    assert "shard 3-of-3 is not finished; go on with it by --shard 3/3 --resume" in refused("merge", shards)
    assert run("merge", shards, "--partial").exit_code == 0
    n_partial = len(verdicts(shards))
    assert 10 < n_partial < N_PUZZLES
    assert "state     stopped" in run("status", shards).stdout
    evaluated(shards, puzzles, shard="3/3", resume=True)
    merged = run("merge", shards)
    assert merged.exit_code == 0, merged.output
    assert verdicts(shards) == verdicts(whole)
    summary, single = (json.loads((out / "summary.json").read_text()) for out in (shards, whole))
    same = ("puzzles", "exact_accuracy", "nfe_total", "by_source", "stop", "valid_accuracy", "token_accuracy")
    assert {key: summary[key] for key in same} == {key: single[key] for key in same}
    assert run("status", shards).stdout.count("state     done") == 4
    assert run("merge", shards).exit_code == 0
    assert verdicts(shards) == verdicts(whole)


def test_shards_of_different_work_are_not_mixed(refused: Callable[..., str], puzzles: Path, tmp_path: Path) -> None:
    evaluated(tmp_path / "run", puzzles, shard="1/2")
    assert "lacks the shard 2; run it with --shard 2/2" in refused("merge", tmp_path / "run")
    evaluated(tmp_path / "run", puzzles, shard="2/2", seed=5)
    assert "different configurations (seed: 0 -> 5)" in refused("merge", tmp_path / "run")


def test_two_runs_are_compared_puzzle_by_puzzle(
    run: Callable[..., Result], right_and_wrong: Path, puzzles: Path, tmp_path: Path
) -> None:
    evaluated(tmp_path / "b", puzzles, simulated=True, **{"policy.depth": 2, "policy.breadth": 1})
    text = run("compare", right_and_wrong, tmp_path / "b", "--puzzles", tmp_path / "changed.csv").stdout
    facts = json.loads(run("compare", right_and_wrong, tmp_path / "b", "--json").stdout)
    assert "differs   policy.breadth: 4 -> 1" in text
    assert f"changed   {facts['won']} won, {facts['lost']} lost" in text
    exact = {row["puzzle_id"]: row["exact"] for row in verdicts(right_and_wrong)}
    now = {row["puzzle_id"]: row["exact"] for row in verdicts(tmp_path / "b")}
    assert facts["lost"] == sum(exact[name] and not now[name] for name in exact) > 0
    assert facts["ci95"][0] < facts["difference"] < facts["ci95"][1]
    with (tmp_path / "changed.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["change"] for row in rows) == ["lost"] * facts["lost"] + ["won"] * facts["won"]


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
def test_an_export_is_read_back_as_puzzles(
    run: Callable[..., Result], whole: Path, puzzles: Path, tmp_path: Path, name: str
) -> None:
    assert run("export", whole, "--out", tmp_path / name, "--answers", "known").exit_code == 0
    known = {record.puzzle.puzzle_id: record.answer.tolist() for record in read_puzzles(str(puzzles))}
    assert {r.puzzle.puzzle_id: r.answer.tolist() for r in read_puzzles(str(tmp_path / name))} == known


def test_predictions_are_exported_where_they_obey_the_rules(
    run: Callable[..., Result], right_and_wrong: Path, tmp_path: Path
) -> None:
    assert run("export", right_and_wrong, "--out", tmp_path / "right.csv", "--only", "right").exit_code == 0
    assert run("export", right_and_wrong, "--out", tmp_path / "wrong.csv", "--only", "wrong").exit_code == 0
    head, *right = (tmp_path / "right.csv").read_text().splitlines()
    assert head == "source,question,answer,rating"
    wrong = (tmp_path / "wrong.csv").read_text().splitlines()[1:]
    assert 0 < len(right) == sum(bool(row["exact"]) for row in verdicts(right_and_wrong))
    assert len(right) + len(wrong) == N_PUZZLES


def test_made_puzzles_are_distinct(puzzles: Path) -> None:
    ids = [record.puzzle.puzzle_id for record in read_puzzles(str(puzzles))]
    assert len(set(ids)) == N_PUZZLES
    assert not any("#" in name for name in ids)
