"""Training puzzles in memory, as arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from eqr_ray.puzzles.arrays import is_array_file, read_arrays
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import Task
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.training.settings import EvaluationSettings, SourceSettings
from eqr_ray.types import F32, I32, U8, InputError


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """N questions with their answers."""

    question: U8
    """(N, S)"""
    answer: U8
    """(N, S)"""
    rating: F32
    """(N,), NaN where the file has none."""
    source: I32
    """(N,) index into `names`."""
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.question)

    def take(self, rows: np.ndarray | slice) -> Pairs:
        """Return some of the rows."""
        return Pairs(self.question[rows], self.answer[rows], self.rating[rows], self.source[rows], self.names)

    @classmethod
    def of(cls, question: U8, answer: U8, rating: F32 | None = None, source: Iterable[str] | None = None) -> Pairs:
        """Return pairs from columns; without `source` all are of one, without `rating` none is rated."""
        n = len(question)
        names, index = np.unique(
            np.array(["puzzles"] * n if source is None else list(source), str), return_inverse=True
        )
        return cls(
            np.ascontiguousarray(question, np.uint8), np.ascontiguousarray(answer, np.uint8),
            np.full(n, np.nan, np.float32) if rating is None else np.asarray(rating, np.float32),
            index.astype(np.int32), tuple(names.tolist()),
        )  # fmt: skip


def load_pairs(source: SourceSettings, task: str, limit: int | None = None) -> Pairs:
    """Read the solved puzzles of one source, at most `limit`; a file without a usable puzzle is an InputError."""
    rules = find_task(task)
    stop = None if limit is None else source.skip + limit
    found = _from_arrays(source, rules) if is_array_file(source.path) else _from_records(source, rules, stop)
    pairs = found.take(slice(source.skip, stop))
    if not len(pairs):
        raise InputError(
            f"{source.path}: no solved puzzle of task {task} is left of {len(found)} with sources {list(source.only) or 'all'}, "
            f"ratings {source.min_rating} to {source.max_rating} and skip {source.skip}; training needs puzzles with answers"
        )
    return pairs


def load_evaluation(wanted: EvaluationSettings, task: str) -> Pairs | None:
    """Read the puzzles on which a run is judged; None where the settings name no file."""
    if wanted.path is None:
        return None
    if wanted.per_source is None:
        return load_pairs(SourceSettings(path=wanted.path), task, wanted.puzzles)
    pairs = load_pairs(SourceSettings(path=wanted.path), task)
    first = [np.flatnonzero(pairs.source == k)[: wanted.per_source] for k in range(len(pairs.names))]
    return pairs.take(np.sort(np.concatenate(first)))


def _wanted(source: SourceSettings, name: str, rating: float) -> bool:
    """Tell whether a puzzle of this source and rating (NaN: none) is one of those that the settings keep."""
    low = source.min_rating is None or rating >= source.min_rating
    high = source.max_rating is None or rating <= source.max_rating
    return low and high and (not source.only or name in source.only)


def _from_arrays(source: SourceSettings, task: Task) -> Pairs:
    arrays = read_arrays(source.path, task)
    pairs = Pairs.of(arrays.question, arrays.answer, arrays.rating, arrays.source)
    kept = [
        _wanted(source, pairs.names[k], rating) for k, rating in zip(pairs.source, pairs.rating.tolist(), strict=True)
    ]
    return pairs.take(np.flatnonzero(kept))


def _from_records(source: SourceSettings, task: Task, stop: int | None) -> Pairs:
    """Read no further than the first `stop` puzzles that are kept."""

    def rating_of(record: Record) -> float:
        return np.nan if record.rating is None else record.rating

    kept = (
        record
        for record in read_puzzles(source.path, task=task)
        if record.answer is not None and _wanted(source, record.source, rating_of(record))
    )
    records = list(itertools.islice(kept, stop))
    question = np.array([record.puzzle.cells for record in records], np.uint8).reshape(-1, task.n_cells)
    answer = np.array([record.answer for record in records], np.uint8).reshape(-1, task.n_cells)
    rating = np.array([rating_of(record) for record in records], np.float32)
    return Pairs.of(question, answer, rating, [record.source for record in records])
