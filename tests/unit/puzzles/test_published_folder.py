"""The NumPy folders of HRM, TRM and EqR, and .npz files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eqr_ray.puzzles.arrays import read_arrays
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.generator import generate
from eqr_ray.puzzles.published_folder import write_published
from eqr_ray.puzzles.task import task
from eqr_ray.puzzles.writing import write_puzzles
from eqr_ray.types import InputError


def load(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"all__{name}.npy", allow_pickle=False)


@pytest.mark.parametrize("name", ["sudoku9", "sudoku6", "maze9x9"])
def test_what_is_written_is_read_back_with_its_variants(name: str, tmp_path: Path) -> None:
    records = list(generate(task(name), 5, seed=1))
    assert write_published(str(tmp_path / "data" / "train"), records, variants=3) == 5
    write_published(str(tmp_path / "data" / "test"), records[:2])
    found = list(read_puzzles(str(tmp_path / "data" / "train")))
    assert [r.question for r in found[::4]] == [r.question for r in records]
    assert [r.answer.tolist() for r in found[::4]] == [r.answer.tolist() for r in records]
    assert len({r.question for r in found[:4]}) > 1
    assert found[0].puzzle.task == name
    everything = list(read_puzzles(str(tmp_path / "data")))
    assert [r.source for r in everything] == ["train"] * 20 + ["test"] * 2


def test_the_layout_is_the_published_one(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    question = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
    (tmp_path / "one.txt").write_text(question + "\n")
    from eqr_ray.puzzles.generator import rate

    write_published(str(folder), rate(read_puzzles(str(tmp_path / "one.txt"))), variants=1)
    facts = json.loads((folder / "dataset.json").read_text())
    assert (facts["seq_len"], facts["vocab_size"], facts["pad_id"], facts["sets"]) == (81, 11, 0, ["all"])
    assert (facts["total_groups"], facts["num_puzzle_identifiers"], facts["blank_identifier_id"]) == (1, 1, 0)
    assert load(folder, "inputs")[0, :6].tolist() == [6, 4, 1, 1, 8, 1]  # digit + 1, blank 1
    assert load(folder, "labels").min() >= 2
    assert load(folder, "puzzle_indices").tolist() == [0, 1, 2]
    assert load(folder, "group_indices").tolist() == [0, 2]
    assert load(folder, "puzzle_identifiers").tolist() == [0, 0]
    assert json.loads((tmp_path / "identifiers.json").read_text()) == ["<blank>"]


def test_maze_tokens_number_the_published_marks(tmp_path: Path) -> None:
    (record,) = generate(task("maze9x9"), 1, seed=1)
    write_published(str(tmp_path / "train"), [record])
    marks = dict(zip(record.question, load(tmp_path / "train", "inputs")[0].tolist(), strict=True))
    assert marks == {"#": 1, " ": 2, "S": 3, "G": 4}
    assert 5 in load(tmp_path / "train", "labels")


def test_damaged_folders_are_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    write_published(str(folder), generate(task("sudoku4"), 3, seed=1))
    whole = load(folder, "inputs")
    for wrong, message in (
        (np.array([{"a": 1}], object), "no whole array of numbers"),
        (whole[:2], "have one shape"),
        (whole.astype(float), "whole numbers"),
        (whole + 7, "row 1: a sudoku4 example has 16 tokens of 1 to 5"),
    ):
        np.save(folder / "all__inputs.npy", wrong, allow_pickle=True)
        with pytest.raises(InputError, match=message):
            list(read_puzzles(str(folder)))
    (folder / "dataset.json").write_text("[]")
    with pytest.raises(InputError, match=r"dataset\.json"):
        list(read_puzzles(str(folder)))
    with pytest.raises(InputError, match="already"):
        write_published(str(folder), generate(task("sudoku4"), 3, seed=1))


def test_an_npz_file_holds_what_was_written(tmp_path: Path) -> None:
    records = list(generate(task("sudoku6"), 7, seed=1))
    path = str(tmp_path / "puzzles.npz")
    assert write_puzzles(path, records) == 7
    found = read_arrays(path, task("sudoku6"))
    assert found.question.tolist() == [r.puzzle.cells.tolist() for r in records]
    assert found.answer.tolist() == [r.answer.tolist() for r in records]
    assert found.rating is not None
    assert found.rating.tolist() == [r.rating for r in records]
    assert found.source == [r.source for r in records]
    with pytest.raises(InputError, match="sudoku9 needs"):
        read_arrays(path, task("sudoku9"))


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    good = np.zeros((3, 16), np.uint8)
    path = tmp_path / "bad.npz"
    for arrays, message in (
        ({"question": good}, "are needed"),
        ({"question": good, "answer": good + 9}, "tokens 0 to 4"),
        ({"question": good, "answer": good, "rating": np.zeros(2)}, "one value a puzzle"),
        ({"question": good, "answer": np.array([{}], object)}, "plain arrays"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=message):
            read_arrays(str(path), task("sudoku4"))
    path.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(InputError, match="no whole"):
        read_arrays(str(path), task("sudoku4"))
    with pytest.raises(InputError, match="no such file"):
        read_arrays(str(tmp_path / "none.npz"), task("sudoku4"))
