from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from eqr_ray.model.checkpoint import bundled
from eqr_ray.policy import Calibration
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.sim.trace import read_trace

PUZZLES = demo_path("sudoku6")
HERE = ("--address", "none", "--depth", "16", "--breadth", "2")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of thirty bundled puzzles, recorded in two sessions."""
    from eqr_ray.cli import root

    out = tmp_path_factory.mktemp("trace") / "t"
    for limit, more in ((28, ()), (30, ("--resume",))):
        with pytest.raises(SystemExit) as ended:
            root.main(args=["trace", "--puzzles", str(PUZZLES), "--out", str(out), "--limit", str(limit), *HERE, *more])
        assert ended.value.code == 0
    return out


def test_a_resumed_trace_holds_every_puzzle_once(trace: Path) -> None:
    found = read_trace(str(trace))
    assert len(found) == 30
    assert len({puzzle.puzzle_id for puzzle in found.puzzles}) == 30
    assert found.residual.shape == (30, 2, 16)
    assert found.labelled.all()


def test_the_size_is_told_before_anything_is_recorded(tmp_path: Path, run: Callable[..., Result]) -> None:
    got = run("trace", "--puzzles", PUZZLES, "--out", tmp_path / "t", "--limit", 1, *HERE)
    assert got.exit_code == 0
    assert got.stderr.startswith("1 puzzles x 2 trajectories x 16 iterations = 32, about")
    assert "iterations/s" in got.stdout


def test_another_trace_in_the_folder_is_refused(trace: Path, refused: Callable[..., str]) -> None:
    assert "--resume" in refused("trace", "--puzzles", PUZZLES, "--out", trace, *HERE)
    message = refused("trace", "--puzzles", PUZZLES, "--out", trace, "--resume", "--seed", 4, *HERE)
    assert "begun with seed 0 and this trace has 4" in message


def test_report_of_a_trace_is_its_landscape(trace: Path, run: Callable[..., Result]) -> None:
    assert run("report", trace).exit_code == 0
    page = (trace / "report.html").read_text()
    for word in ("Landscape modes", "Never solved", "Iterations by difficulty", "<svg"):
        assert word in page


def test_a_calibration_is_used_with_its_weights_and_refused_with_others(
    tmp_path: Path, trace: Path, run: Callable[..., Result], refused: Callable[..., str]
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(bundled()["sudoku6"], folder, ignore=shutil.ignore_patterns("calibration*"))
    question = PUZZLES.read_text().splitlines()[1].split(",")[1]
    ask = ("solve", "--json", "--policy", "posterior", "--checkpoint", folder, question)
    before = json.loads(run(*ask).stdout)
    got = run("calibrate", "--trace", trace, "--out", folder)
    assert got.exit_code == 0, got.stderr
    written = json.loads((folder / "calibration.json").read_text())
    assert written["held_out"]["puzzles"] == written["fitted_on"]["puzzles"] == 30
    assert written["held_out"]["expected_calibration_error"] is not None
    assert (folder / "calibration.svg").read_text().startswith("<svg")
    after = json.loads(run(*ask).stdout)
    assert after["prediction"] == before["prediction"]
    assert after["confidence"] != before["confidence"]
    written["checkpoint_sha256"] = "0" * 64
    (folder / "calibration.json").write_text(json.dumps(written))
    assert "fitted for weights with sha256 000000000000" in refused(*ask)
    unread = run("solve", "--json", "--policy", "fixed", "--depth", 8, "--checkpoint", folder, question)
    assert unread.exit_code == 0, "a calibration that is not read must not stand in the way"


def test_one_command_calibrates_a_checkpoint_in_its_place_and_leaves_nothing_else(
    tmp_path: Path, run: Callable[..., Result], refused: Callable[..., str]
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(bundled()["sudoku6"], folder, ignore=shutil.ignore_patterns("calibration*"))
    got = run("calibrate", "--puzzles", PUZZLES, "--checkpoint", folder, "--limit", 24, *HERE)
    assert got.exit_code == 0, got.stderr
    assert "fitted on 24 puzzles" in got.stdout
    assert "fall-back" in got.stdout
    names = {file.name for file in folder.iterdir()}
    assert names - {file.name for file in bundled()["sudoku6"].iterdir()} <= {"calibration.json", "calibration.svg"}
    values = json.loads((folder / "calibration.json").read_text())["values"]
    assert values["extend_bias"] != Calibration().extend_bias


def test_calibrate_wants_puzzles_or_a_trace(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "give --puzzles, --trace, or both" in refused("calibrate", "--out", tmp_path)
    assert "must be one that reads a calibration" in refused("calibrate", "--trace", tmp_path, "--policy", "fixed")
    assert "holds no trace.json" in refused("calibrate", "--out", tmp_path, "--trace", tmp_path)


def test_tune_writes_policies_that_the_other_commands_take(
    tmp_path: Path, trace: Path, run: Callable[..., Result]
) -> None:
    ask = ("tune", "--trace", trace, "--out", tmp_path / "study", "--address", "none")
    got = run(*ask, "--trials", 12)
    assert got.exit_code == 0, got.stderr
    tuned = json.loads((tmp_path / "study" / "tuned.json").read_text())
    assert [own["name"] for own in tuned] == ["economy", "balanced", "max"]
    assert all(own["seen"]["puzzles"] + own["kept_back"]["puzzles"] == 30 for own in tuned)
    assert (tmp_path / "study" / "front.svg").read_text().startswith("<svg")
    question = PUZZLES.read_text().splitlines()[1].split(",")[1]
    solved = run("solve", "--json", "--policy", tmp_path / "study" / "balanced.yaml", question)
    assert solved.exit_code == 0, solved.stderr
    assert run(*ask, "--trials", 12).exit_code == 2
    assert "15 trials" in run(*ask, "--trials", 15, "--resume").stdout


def test_tune_varies_what_it_is_told_to(tmp_path: Path, trace: Path, run: Callable[..., Result]) -> None:
    ask = ("tune", "--trace", trace, "--out", tmp_path, "--address", "none", "--set", "policies=[posterior]")
    got = run(*ask, "--trials", 8, "--set", "vary=[price]")
    assert got.exit_code == 0, got.stderr
    specs = [own["policy"]["params"] for own in json.loads((tmp_path / "tuned.json").read_text())]
    assert {(spec["first_depth"], spec["deepen"], spec["delta"]) for spec in specs} == {(16, 2.0, 0.01)}


@pytest.mark.parametrize("trials", [8, 2])
def test_bench_tune_runs_as_many_trials_on_as_many_puzzles_as_asked(trials: int, run: Callable[..., Result]) -> None:
    size = ("--puzzles", 30, "--breadth", 4, "--depth", 16)
    got = run("bench", "tune", *size, "--trials", trials, "--address", "none", "--json")
    assert got.exit_code == 0, got.output
    told = json.loads(got.stdout)
    assert (told["trials"], told["failed"], told["puzzles"]) == (trials, 0, 30)
    assert told["seconds"] > 0


def test_simulate_tells_what_a_replay_reaches(trace: Path, run: Callable[..., Result]) -> None:
    got = run("simulate", "--trace", trace, "--replicas", 3, "--price", 2, "--json", "--puzzles", 60)
    assert got.exit_code == 0, got.stderr
    told = json.loads(got.stdout)
    assert told["puzzles"] == 60
    assert told["exact_accuracy"] > 0.9
    assert told["replica_hours"] * 3600 >= told["wall_s"]
    assert told["cost"] == pytest.approx(2 * told["replica_hours"])
    assert run("simulate", "--trace", trace).stdout.startswith("puzzles   30 like the 30")


def test_bad_values_are_one_sentence(refused: Callable[..., str], tmp_path: Path, trace: Path) -> None:
    assert "give one of them" in refused("tune", "--out", tmp_path)
    assert "policies must be some of" in refused(
        "tune", "--out", tmp_path, "--trace", trace, "--set", "policies=[nothing]"
    )
    assert "vary: posterior has no prize" in refused(
        "tune", "--out", tmp_path, "--trace", trace, "--set", "policies=[posterior]", "--set", "vary=[prize]"
    )
    assert "did you mean `cluster.replicas`" in refused("simulate", "--set", "cluster.replcas=3")
    assert "trace was recorded with depth 16" in refused("simulate", "--trace", trace, "--depth", 99)
    assert "depth must be at least 1" in refused("trace", "--puzzles", PUZZLES, "--out", tmp_path / "t", "--depth", 0)
