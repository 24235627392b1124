"""Puzzles as NumPy arrays: one `.npz` file that a training run reads in a moment, and writing it.

Invariants, asserted in tests/unit/puzzles/test_arrays.py: what is written is read back the same; nothing is unpickled; arrays that do
not fit each other or the task are an InputError that names the file.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import Task, task
from eqr_ray.types import F32, U8, InputError

ENDING = ".npz"


@dataclass(frozen=True, slots=True, eq=False)
class PuzzleArrays:
    """N solved puzzles of one task."""

    question: U8
    """(N, S)"""
    answer: U8
    """(N, S)"""
    rating: F32 | None
    """(N,), NaN where a puzzle has none; None where the file has none."""
    source: list[str] | None
    """(N,) names; None where the file has none."""


def is_array_file(path: str) -> bool:
    """Tell whether a path names an `.npz` file."""
    return path.lower().endswith(ENDING)


def read_arrays(path: str, found: Task) -> PuzzleArrays:
    """Read `question` and `answer`, and `rating` and `source` where they are there."""
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such file; give the path of a file of solved puzzles")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("question", "answer", "rating", "source") if name in file.files}
            names = sorted(file.files)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no whole .npz file of plain arrays ({error}); write or fetch it again") from None
    if not {"question", "answer"} <= set(arrays):
        raise InputError(f"{path}: arrays `question` and `answer` are needed, found {names}")
    question, answer = arrays["question"], arrays["answer"]
    if question.shape != answer.shape or question.ndim != 2 or question.shape[1] != found.n_cells:
        raise InputError(
            f"{path}: {found.name} needs (N, {found.n_cells}) arrays, got {question.shape} and {answer.shape}"
        )
    for name in ("question", "answer"):
        values = arrays[name]
        if values.dtype.kind not in "ui" or (len(values) and not (values.min() >= 0 and values.max() < found.vocab)):
            raise InputError(f"{path}: `{name}` holds tokens 0 to {found.vocab - 1} of {found.name}, got other values")
    for name in ("rating", "source"):
        if name in arrays and arrays[name].shape != (len(question),):
            raise InputError(f"{path}: `{name}` has one value a puzzle, got shape {arrays[name].shape}")
    rating = arrays["rating"].astype(np.float32) if "rating" in arrays else None
    source = arrays["source"].astype(str).tolist() if "source" in arrays else None
    return PuzzleArrays(question.astype(np.uint8), answer.astype(np.uint8), rating, source)


def write_arrays(path: str, records: Iterable[Record]) -> int:
    """Write solved records as `.npz` and return how many there were; a puzzle without an answer is an InputError."""
    questions: list[U8] = []
    answers: list[U8] = []
    ratings: list[float] = []
    sources: list[str] = []
    name: str | None = None
    for record in records:
        if record.answer is None:
            raise InputError(
                f"{record.file}, line {record.line}: {ENDING} files hold solved puzzles, and this one has no answer; "
                "fill it in with `eqr-ray data rate`"
            )
        questions.append(record.puzzle.cells)
        answers.append(record.answer)
        ratings.append(np.nan if record.rating is None else record.rating)
        sources.append(record.source)
        name = record.puzzle.task
    if name is None:
        raise InputError(f"{path}: there is nothing to write; give puzzles")
    cells = task(name).n_cells
    unfinished = f"{path}.part-{os.getpid()}"
    try:
        with open(unfinished, "wb") as file:
            np.savez_compressed(
                file,
                question=np.array(questions, np.uint8).reshape(-1, cells),
                answer=np.array(answers, np.uint8).reshape(-1, cells),
                rating=np.array(ratings, np.float32),
                source=np.array(sources, str),
            )
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); name a place that exists and is yours"
        ) from None
    finally:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
    return len(questions)
