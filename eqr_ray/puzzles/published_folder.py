"""The NumPy folders of HRM, TRM and EqR: what they hold as puzzles, and puzzles as such a folder.

One split is a folder (`train/` or `test/` beside `identifiers.json`) with `dataset.json` and, for each set that it names (usually
`all`): `SET__inputs.npy` and `SET__labels.npy` (examples, S), tokens counted from 1 because 0 pads; `SET__puzzle_indices.npy`, where
each puzzle's examples begin; `SET__puzzle_identifiers.npy`, 0 for all; `SET__group_indices.npy`, where each group's puzzles begin: a
group is a puzzle with its symmetric variants. Sudoku tokens are digit + 1 (1 blank), maze tokens number the marks `# SGo` from 1.

Invariants, asserted in tests/unit/puzzles/test_published_folder.py: what is written is read back the same; nothing is unpickled; a
folder whose parts do not fit each other is an InputError that names the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eqr_ray.puzzles.maze import MARKS
from eqr_ray.puzzles.record import Record, Row
from eqr_ray.puzzles.symmetry import augment
from eqr_ray.puzzles.task import Task, task
from eqr_ray.types import U8, InputError

METADATA, IDENTIFIERS = "dataset.json", "identifiers.json"
PUBLISHED_MARKS = "# SGo"
"""Maze cells in the order of their tokens, which count from 1 (0 pads)."""
SPLITS = ("train", "test")


def is_published(path: str) -> bool:
    """Tell whether a path is a split in this layout, or the folder above its splits."""
    return "://" not in path and any((Path(path) / part / METADATA).is_file() for part in ("", *SPLITS))


def published_rows(path: str, found: Task | None) -> Iterator[Row]:
    """Yield the puzzles of a split, or of all splits of the folder above; `found` is told by the data if left out."""
    place = Path(path)
    folders = [place] if (place / METADATA).is_file() else [place / part for part in SPLITS]
    for folder in folders:
        if (folder / METADATA).is_file():
            yield from _split_rows(folder, found)


def _split_rows(folder: Path, found: Task | None) -> Iterator[Row]:
    facts = _metadata(folder)
    sets = facts.get("sets", ["all"])
    if not (isinstance(sets, list) and all(isinstance(name, str) and "/" not in name for name in sets)):
        raise InputError(f"{folder / METADATA}: `sets` is a list of names, got {sets!r:.60}; correct it")
    for name in sets:
        inputs, labels = (_tokens(folder / f"{name}__{part}.npy") for part in ("inputs", "labels"))
        if inputs.shape != labels.shape:
            raise InputError(
                f"{folder}: {name}__inputs.npy and {name}__labels.npy have one shape, got {inputs.shape} and {labels.shape}"
            )
        rules = found or _task(inputs.shape[1], facts.get("vocab_size"), folder)
        ours = _our_tokens(rules)
        for row, (question, answer) in enumerate(zip(inputs, labels, strict=True), start=1):
            yield Row(
                rules.format(_translated(question, ours, rules, folder / f"{name}__inputs.npy", row)),
                rules.format(_translated(answer, ours, rules, folder / f"{name}__labels.npy", row)),
                "", folder.name, row, str(folder / f"{name}__inputs.npy"),
            )  # fmt: skip


def write_published(folder: str, records: Iterable[Record], variants: int = 0, seed: int = 0) -> int:
    """Write solved records as one split in this layout, each with so many symmetric variants; return how many records there were.

    Writes `identifiers.json` into the folder above. Raises InputError for a puzzle without an answer or a split that is there already.
    """
    place = Path(folder)
    if (place / METADATA).exists():
        raise InputError(f"{place}: holds a data set already; name another folder or remove it")
    kept = list(records)
    if not kept:
        raise InputError(f"{place}: there is nothing to write; give puzzles")
    for record in kept:
        if record.answer is None:
            raise InputError(
                f"{record.file}, line {record.line}: this layout holds solved puzzles, and this one has no answer; "
                "fill it in with `eqr-ray data rate`"
            )
    rules = task(kept[0].puzzle.task)
    shape = (len(kept), 1 + variants, rules.n_cells)
    inputs, labels = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    inputs[:, 0] = np.stack([record.puzzle.cells for record in kept])
    labels[:, 0] = np.stack([record.answer for record in kept if record.answer is not None])
    rng = np.random.default_rng(seed)
    for k in range(1, 1 + variants):
        varied = augment(rules, inputs[:, 0], labels[:, 0], rng)
        inputs[:, k], labels[:, k] = varied.questions, varied.answers
    theirs = np.argsort(_our_tokens(rules)[1:]).astype(np.uint8) + 1
    n_examples = shape[0] * shape[1]
    arrays: dict[str, np.ndarray] = {
        "inputs": theirs[inputs].reshape(n_examples, -1),
        "labels": theirs[labels].reshape(n_examples, -1),
        "puzzle_identifiers": np.zeros(n_examples, np.int32),
        "puzzle_indices": np.arange(n_examples + 1, dtype=np.int32),
        "group_indices": np.arange(0, n_examples + 1, shape[1], dtype=np.int32),
    }
    facts = {
        "seq_len": rules.n_cells, "vocab_size": rules.vocab + 1, "pad_id": 0, "ignore_label_id": 0,
        "blank_identifier_id": 0, "num_puzzle_identifiers": 1, "total_groups": shape[0], "mean_puzzle_examples": 1,
        "total_samples": n_examples, "total_puzzles": n_examples, "sets": ["all"],
    }  # fmt: skip
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, values in arrays.items():
            np.save(place / f"all__{name}.npy", values, allow_pickle=False)
        (place.parent / IDENTIFIERS).write_text(json.dumps(["<blank>"]))
        # Last, since a folder is taken for a data set by it.
        (place / METADATA).write_text(json.dumps(facts))
    except OSError as error:
        raise InputError(
            f"{place} cannot be written ({error.strerror}); name a place that exists and is yours"
        ) from None
    return len(kept)


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / METADATA} cannot be read ({error}); write or fetch the data set again") from None
    if not isinstance(facts, dict):
        raise InputError(
            f"{folder / METADATA} holds a JSON object, got {type(facts).__name__}; fetch the data set again"
        )
    return facts


def _tokens(file: Path) -> np.ndarray:
    try:
        values: np.ndarray = np.load(file, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} is no whole array of numbers ({error}); write or fetch it again") from None
    if values.ndim != 2 or values.dtype.kind not in "ui":
        raise InputError(f"{file} holds (examples, cells) whole numbers, got {values.dtype} {values.shape}")
    return values


def _task(cells: int, vocab: Any, folder: Path) -> Task:
    """Return the task that the number of cells and of tokens (padding included) tells."""
    side = round(cells**0.5)
    if side * side == cells and vocab == side + 2:
        return task(f"sudoku{side}")  # before mazes: those of 4x4 cells have as many tokens, and nobody keeps such
    if side * side == cells and vocab == len(PUBLISHED_MARKS) + 1:
        return task(f"maze{side}x{side}")
    raise InputError(f"{folder}: {cells} cells and vocab_size {vocab!r:.20} are of no known task; name it with --task")


def _our_tokens(rules: Task) -> U8:
    """Return (tokens,) ours for each of theirs; theirs start at 1, 0 pads and has none."""
    marks = [MARKS.index(mark) for mark in PUBLISHED_MARKS] if rules.family == "maze" else list(range(rules.vocab))
    return np.array([255, *marks], np.uint8)


def _translated(tokens: np.ndarray, ours: U8, rules: Task, file: Path, row: int) -> U8:
    if len(tokens) != rules.n_cells or int(tokens.min()) < 1 or int(tokens.max()) >= len(ours):
        raise InputError(
            f"{file}, row {row}: a {rules.name} example has {rules.n_cells} tokens of 1 to {len(ours) - 1}, "
            f"got {len(tokens)} of {int(tokens.min())} to {int(tokens.max())}; name the right --task"
        )
    translated: U8 = ours[tokens]
    return translated
