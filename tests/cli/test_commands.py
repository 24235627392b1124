from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result

from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.task import task

CONTRACT_COLUMNS = [
    "puzzle_id", "source", "question", "answer", "prediction", "exact", "valid", "confidence", "votes", "distinct_answers",
    "breadth", "depth", "nfe", "residual", "stop",
]  # fmt: skip


@pytest.fixture(scope="module")
def demo() -> list[dict[str, str]]:
    with demo_path("sudoku6").open(newline="") as file:
        return list(csv.DictReader(file))


def test_solve_prints_the_board_and_what_it_took(run: Callable[..., Result], demo: list[dict[str, str]]) -> None:
    got = run("solve", demo[0]["question"])
    assert got.exit_code == 0
    assert demo[0]["answer"] in got.stdout
    assert task("sudoku6").draw(task("sudoku6").parse(demo[0]["answer"])) in got.stdout
    for word in ("confidence", "iterations", "trajector", "stopped", "obeys the rules"):
        assert word in got.stdout
    assert got.stderr == ""


def test_solve_answers_arguments_files_and_standard_input_alike(
    tmp_path: Path, run: Callable[..., Result], demo: list[dict[str, str]]
) -> None:
    questions = [row["question"] for row in demo[:3]]
    file = tmp_path / "p.txt"
    file.write_text("\n".join(questions) + "\n")
    by_argument = run("solve", "--json", *questions)
    assert by_argument.exit_code == 0
    assert run("solve", "--json", "--file", file).stdout == by_argument.stdout
    assert run("solve", "--json", "-", stdin=file.read_text()).stdout == by_argument.stdout
    answers = [json.loads(line) for line in by_argument.stdout.splitlines()]
    assert [answer["question"] for answer in answers] == questions
    assert [answer["prediction"] for answer in answers] == [row["answer"] for row in demo[:3]]


def test_solve_keeps_the_budget_it_is_given(run: Callable[..., Result], demo: list[dict[str, str]]) -> None:
    options = ["--policy", "fixed", "--depth", "3", "--breadth", "2", "--seed", "5"]
    answer = json.loads(run("solve", "--json", *options, demo[0]["question"]).stdout)
    assert (answer["depth"], answer["breadth"], answer["nfe"]) == (3, 2, 6)


def test_a_machine_without_a_compiler_is_told_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    process: Callable[..., subprocess.CompletedProcess[str]],
    demo: list[dict[str, str]],
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    got = process("solve", demo[0]["question"], "--compile")
    assert got.returncode == 2
    assert got.stdout == ""
    assert got.stderr.count("\n") == 1
    assert "install a C++ compiler or leave out --compile" in got.stderr


def test_solve_says_when_the_answer_breaks_the_rules(run: Callable[..., Result], demo: list[dict[str, str]]) -> None:
    hardest = demo[-1]["question"]
    got = run("solve", "--policy", "fixed", "--depth", "1", "--breadth", "1", hardest)
    assert got.exit_code == 0
    assert "BREAKS THE RULES" in got.stdout


def test_a_checkpoint_can_be_listed_and_inspected(run: Callable[..., Result]) -> None:
    assert "sudoku6" in run("checkpoint", "list").stdout
    facts = json.loads(run("checkpoint", "inspect", "sudoku6", "--json").stdout)
    assert facts["spec"]["task"] == "sudoku6"
    assert len(facts["sha256"]) == 64
    assert facts["parameters"] > 10_000


def test_generated_puzzles_are_described_rated_and_converted(tmp_path: Path, run: Callable[..., Result]) -> None:
    made, packed, rated = tmp_path / "made.csv", tmp_path / "made.parquet", tmp_path / "rated.csv"
    assert run("data", "generate", "sudoku4", "-n", "20", "--seed", "3", "--out", made).exit_code == 0
    assert run("data", "convert", made, "--out", packed).exit_code == 0
    assert run("data", "rate", packed, "--out", rated).exit_code == 0
    told = json.loads(run("data", "describe", rated, "--json").stdout)
    assert (told["task"], told["puzzles"], told["distinct"], told["answered"]) == ("sudoku4", 20, 20, 20)
    assert "20 (20 distinct, 20 with an answer)" in run("data", "describe", made).stdout
    assert run("data", "generate", "sudoku4", "-n", "20", "--seed", "3").stdout == made.read_text()


def test_the_demo_file_is_where_it_says(run: Callable[..., Result]) -> None:
    assert Path(run("data", "demo", "sudoku6").stdout.strip()) == demo_path("sudoku6")


def test_bench_train_prints_what_a_step_costs(run: Callable[..., Result]) -> None:
    done = run(
        "bench", "train", "--checkpoint", "sudoku6", "--batch", 2, "--steps", 1, "--rounds", 1, "--no-compile", "--json"
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["dtype"], line["compiled"]) for line in lines] == [("float32", False), ("bfloat16", False)]
    assert all(line["seconds"] > 0 for line in lines)


def test_bench_prints_a_rate_for_each_tile(run: Callable[..., Result]) -> None:
    got = run(
        "bench", "engine", "--checkpoint", "sudoku6", "--tile", 1, "--tile", 2, "--depth", 2, "--repeats", 1, "--json"
    )
    assert got.exit_code == 0
    lines = [json.loads(line) for line in got.stdout.splitlines()]
    assert [line["tile"] for line in lines] == [1, 2]
    assert all(line["iterations_per_s"] > 0 for line in lines)


@pytest.mark.slow
def test_evaluate_ends_with_verdicts_summary_report_and_a_table(
    tmp_path: Path, process: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    out = tmp_path / "out"
    line = ["evaluate", "--puzzles", demo_path("sudoku6"), "--limit", "6", "--replicas", "1", "--out", out]
    got = process(*line)
    assert got.returncode == 0, got.stderr
    assert "95 % interval" in got.stdout
    assert f"{out}/report.html" in got.stdout
    assert "puzzles/s" in got.stderr
    verdicts = pq.read_table(out / "verdicts")
    assert verdicts.num_rows == 6
    assert verdicts.column_names[:15] == CONTRACT_COLUMNS
    assert json.loads((out / "summary.json").read_text())["puzzles"] == 6
    assert json.loads((out / "config.json").read_text())["checkpoint"] == "sudoku6"

    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    again = process(*line)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    other = process(*line, "--resume", "--seed", "1")
    assert other.returncode == 2
    assert "seed: 0 -> 1" in other.stderr
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before

    page = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    rebuilt = process("report", out)
    assert rebuilt.stdout == f"{out}/report.html\n"
    assert (out / "report.html").read_bytes() == page
