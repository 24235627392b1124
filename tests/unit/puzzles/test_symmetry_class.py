"""Keys of symmetry classes, and splits that share none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.generator import generate
from eqr_ray.puzzles.record import Record, Registrar, Row
from eqr_ray.puzzles.splitting import keys_of, parse_shares, part_of, split
from eqr_ray.puzzles.symmetry import augment
from eqr_ray.puzzles.symmetry_class import class_keys
from eqr_ray.puzzles.task import task
from eqr_ray.types import U8, InputError


def made(name: str, count: int, seed: int = 4) -> tuple[U8, U8]:
    records = list(generate(task(name), count, seed=seed))
    return np.stack([r.puzzle.cells for r in records]), np.stack([r.answer for r in records if r.answer is not None])


def record(name: str, question: U8, answer: U8, line: int = 1) -> Record:
    rules = task(name)
    return Registrar(rules).record(Row(rules.format(question), rules.format(answer), "", "made", line, "made"))


@pytest.mark.parametrize("name", ["sudoku4", "sudoku6", "sudoku6-3x2", "sudoku9", "sudoku12", "maze9x9", "maze7x11"])
def test_symmetric_copies_share_a_key(name: str) -> None:
    questions, answers = made(name, 2 if name == "sudoku12" else 12)
    keys = class_keys(task(name), questions, answers)
    for seed in range(5):
        copies = augment(task(name), questions, answers, np.random.default_rng(seed))
        assert (class_keys(task(name), copies.questions, copies.answers) == keys).all()


def test_other_grids_have_other_keys() -> None:
    for name, count in (("sudoku9", 300), ("maze11x11", 100)):
        assert len(set(class_keys(task(name), *made(name, count)).tolist())) == count


def test_the_two_classes_of_grids_of_four_have_two_keys() -> None:
    assert len(set(class_keys(task("sudoku4"), *made("sudoku4", 500)).tolist())) == 2


def test_a_swap_of_rows_of_different_bands_is_no_symmetry() -> None:
    _, answers = made("sudoku9", 1)
    grid = answers[0].reshape(9, 9)
    swapped = grid[[3, 1, 2, 0, 4, 5, 6, 7, 8]].reshape(1, 81)
    first, second = (class_keys(task("sudoku9"), a, a)[0] for a in (answers, swapped))
    assert first != second


def test_planted_copies_go_to_the_part_of_their_original(tmp_path: Path) -> None:
    questions, answers = made("sudoku9", 60)
    copies = augment(task("sudoku9"), questions, answers, np.random.default_rng(9))
    records = [
        record("sudoku9", q, a, line)
        for line, (q, a) in enumerate(zip([*questions, *copies.questions], [*answers, *copies.answers], strict=True), 1)
    ]
    counts = split(records, tmp_path, parse_shares("train=0.5,valid=0.3,test=0.2"), seed=1)
    assert sum(counts.values()) == 120
    assert all(counts[name] > 0 for name in ("train", "valid", "test"))
    found = {name: list(read_puzzles(str(tmp_path / f"{name}.csv"))) for name in ("train", "valid", "test")}
    assert {name: len(puzzles) for name, puzzles in found.items()} == {name: counts[name] for name in found}
    keys = {name: set(keys_of(puzzles)) for name, puzzles in found.items()}
    assert not keys["train"] & keys["valid"] | keys["train"] & keys["test"] | keys["valid"] & keys["test"]
    assert sum(map(len, keys.values())) == 60
    with pytest.raises(InputError, match="there already"):
        split(records, tmp_path, {"train": 1.0}, seed=1)


def test_classes_of_another_file_are_left_out(tmp_path: Path) -> None:
    questions, answers = made("sudoku6", 20)
    records = [record("sudoku6", q, a) for q, a in zip(questions, answers, strict=True)]
    known = set(keys_of(records[:5]))
    n_known = sum(key in known for key in keys_of(records))
    counts = split(records, tmp_path, {"train": 1.0}, seed=1, avoid=known)
    assert counts == {"train": 20 - n_known, "left out": n_known}
    assert n_known >= 5


def test_parts_get_their_shares_and_depend_on_the_seed() -> None:
    shares = {"a": 0.7, "b": 0.3}
    parts = [[part_of(key, shares, seed) for key in range(4000)] for seed in (0, 1)]
    assert parts[0].count("a") == pytest.approx(2800, abs=150)
    assert parts[0] != parts[1]


@pytest.mark.parametrize(
    "text", ["", "train", "train=0.9", "train=0.5,train=0.5", "train=2,valid=-1", "a/b=1", "a=nan"]
)
def test_impossible_shares_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_shares(text)


def test_an_unsolved_puzzle_is_refused_with_a_remedy(tmp_path: Path) -> None:
    rules = task("sudoku4")
    unsolved = Registrar(rules).record(Row("1" + "." * 15, "", "", "made", 7, "made.csv"))
    with pytest.raises(InputError, match=r"made\.csv, line 7: .*eqr-ray data rate"):
        split([unsolved], tmp_path, {"train": 1.0}, seed=0)
