"""Everything a user can get wrong ends in one sentence and exit code 2, before anything is started or written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import eqr_ray

GOOD = "..3....1..2.3.........4614.......5.."
LINES_OF_9 = "." * 81
HEADER = "source,question,answer,rating\n"
BUNDLED = Path(eqr_ray.__file__).parent / "checkpoints"

FILES: dict[str, tuple[str, bytes, str]] = {
    "an empty file": ("p.csv", b"", "has no puzzles"),
    "a header alone": ("p.csv", HEADER.encode(), "has no puzzles"),
    "a binary file": ("p.csv", bytes(range(256)) * 4, "is text, got a NUL byte"),
    "a line of 80 characters": (
        "p.txt",
        (LINES_OF_9 + "\n" + "." * 80 + "\n").encode(),
        "line 2.*81 characters, got 80",
    ),
    "a letter": ("p.txt", ("x" + LINES_OF_9[1:]).encode(), "line 1.*got 'x' at character 1"),
    "two equal clues in a row": ("p.txt", ("5...5" + "." * 76).encode(), "line 1.*two 5s in row 1"),
    "a wrong header": ("p.csv", b"name,board\na,b\n", "line 1.*has a column question"),
    "a row of too few columns": ("p.csv", (HEADER + "a,b\n").encode(), "line 2.*4 columns"),
    "half a gzip file": ("p.csv.gz", b"\x1f\x8b\x08\x00\x00", "gzip"),
    "no Parquet file": ("p.parquet", b"PAR1nonsense", "Parquet"),
    "an answer that is wrong": ("p.csv", (HEADER + f"a,{GOOD},{'1' * 36},\n").encode(), "line 2.*answer"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_used_is_refused_and_nothing_is_written(
    tmp_path: Path, refused: Callable[..., str], case: str
) -> None:
    name, content, words = FILES[case]
    (tmp_path / name).write_bytes(content)
    message = refused("evaluate", "--puzzles", tmp_path / name, "--out", tmp_path / "out")
    assert_matches(words, message)
    assert name in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", [case for case, (_, _, words) in FILES.items() if not words.startswith("line 2")])
def test_solve_refuses_files_whose_first_line_is_wrong(tmp_path: Path, refused: Callable[..., str], case: str) -> None:
    name, content, words = FILES[case]
    (tmp_path / name).write_bytes(content)
    assert_matches(words, refused("solve", "--file", tmp_path / name))


def assert_matches(words: str, message: str) -> None:
    import re

    assert re.search(words, message), message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--depth", "0"], "depth must be at least 1, got policy.depth=0"),
        (["--breadth", "-1"], "breadth must be at least 1"),
        (["--depth", "2", "--breadth", "2", "--nfe", "5"], "nfe must be in [1, depth * breadth = 4], got nfe=5"),
        (["--limit", "0"], "limit must be at least 1"),
        (["--replicas", "0"], "replicas must be at least 1"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--policy", "fixd"], "got 'fixd'; the nearest is 'fixed'"),
        (["--policy", "nowhere.yaml"], "nowhere.yaml: cannot read"),
        (["--set", "polcy.depht=3"], "unknown key `polcy.depht`; did you mean `policy.depth`?"),
        (["--set", "policy.params.agre=3"], "'agre'"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: cannot read the configuration"),
        (["--task", "sudoku7"], "got 'sudoku7'"),
        (["--checkpoint", "nowhere"], "'nowhere' is neither a bundled name"),
    ],
)
def test_an_option_that_cannot_be_kept_is_refused_with_rule_and_value(
    tmp_path: Path, refused: Callable[..., str], options: list[str], words: str
) -> None:
    (tmp_path / "p.txt").write_text(GOOD)
    message = refused("evaluate", "--puzzles", tmp_path / "p.txt", "--out", tmp_path / "out", *options)
    assert words in message
    assert not (tmp_path / "out").exists()


def test_missing_files_are_named(tmp_path: Path, refused: Callable[..., str]) -> None:
    gone = tmp_path / "gone.csv"
    assert str(gone) in refused("evaluate", "--puzzles", gone, "--out", tmp_path / "out")
    assert str(gone) in refused("solve", "--file", gone)
    assert str(gone) in refused("data", "describe", gone)


def test_puzzles_and_out_must_be_given(refused: Callable[..., str]) -> None:
    assert "puzzles must be given" in refused("evaluate", "--out", "o")
    assert "out must be given" in refused("evaluate", "--puzzles", "p")


@pytest.mark.parametrize("text", ["12", "x" * 81, "5" * 81, "#", ",", "\0", "é" * 16])
def test_solve_refuses_what_is_no_puzzle(refused: Callable[..., str], text: str) -> None:
    refused("solve", text)


def test_solve_refuses_binary_standard_input(refused: Callable[..., str]) -> None:
    assert "standard input, line 1" in refused("solve", "-", stdin=b"\xff\xfe\x00\x01")
    assert "standard input has no puzzles" in refused("solve", "-", stdin="")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("model.safetensors", b"junk", "model.safetensors"),
        ("model.safetensors", None, "model.safetensors is missing"),
        ("spec.json", b"{", "spec.json is not JSON"),
        ("spec.json", None, "spec.json is missing"),
        ("spec.json", b"[]", "spec.json must hold a JSON object"),
        ("spec.json", b'{"task": "sudoku6"}', "spec"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    tmp_path: Path, refused: Callable[..., str], file: str, content: bytes | None, words: str
) -> None:
    damaged = tmp_path / "weights"
    shutil.copytree(BUNDLED / "sudoku6", damaged)
    if content is None:
        (damaged / file).unlink()
    else:
        (damaged / file).write_bytes(content)
    assert words in refused("checkpoint", "inspect", damaged)
    (tmp_path / "p.txt").write_text(GOOD)
    refused("evaluate", "--puzzles", tmp_path / "p.txt", "--out", tmp_path / "out", "--checkpoint", damaged)
    assert not (tmp_path / "out").exists()


def test_weights_for_another_task_are_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "p.txt").write_text("." * 16)
    message = refused("evaluate", "--puzzles", tmp_path / "p.txt", "--out", tmp_path / "out", "--checkpoint", "sudoku6")
    assert "sudoku6" in message
    assert "sudoku4" in message


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_published_checkpoint_is_not_converted(
    tmp_path: Path, refused: Callable[..., str], content: bytes
) -> None:
    (tmp_path / "eqr.pth").write_bytes(content)
    assert "eqr.pth" in refused("checkpoint", "convert", tmp_path / "eqr.pth", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_real_process_refuses_in_one_line(
    tmp_path: Path, process: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    got = process("evaluate", "--puzzles", tmp_path / "gone.csv", "--out", tmp_path / "out")
    assert got.returncode == 2
    assert got.stdout == ""
    assert got.stderr.count("\n") == 1
    assert got.stderr.startswith("error: ")
