"""Training puzzles in memory, as arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eqr_ray.puzzles.arrays import is_array_file, read_arrays
from eqr_ray.puzzles.files import read_puzzles
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


def load_sets(sources: Sequence[SourceSettings], task: str) -> list[Pairs]:
    """Read the solved puzzles of several sources, each file once; one without a usable puzzle is an InputError."""
    rules = find_task(task)
    files: dict[str, Pairs] = {}
    for source in sources:
        if source.path not in files:
            files[source.path] = _every_pair(source.path, rules)
    return [_chosen(files[source.path], source, task) for source in sources]


def load_pairs(source: SourceSettings, task: str, limit: int | None = None) -> Pairs:
    """Read the solved puzzles of one source, at most `limit`; a file without a usable puzzle is an InputError."""
    chooses = bool(source.only) or source.min_rating is not None or source.max_rating is not None
    stop = None if limit is None or chooses else source.skip + limit
    return _chosen(_every_pair(source.path, find_task(task), stop), source, task, limit)


def load_evaluation(wanted: EvaluationSettings, task: str) -> Pairs | None:
    """Read the puzzles on which a run is judged; None where the settings name no file."""
    if wanted.path is None:
        return None
    if wanted.per_source is None:
        return load_pairs(SourceSettings(path=wanted.path), task, wanted.puzzles)
    pairs = load_pairs(SourceSettings(path=wanted.path), task)
    first = [np.flatnonzero(pairs.source == k)[: wanted.per_source] for k in range(len(pairs.names))]
    return pairs.take(np.sort(np.concatenate(first)))


def _chosen(every: Pairs, source: SourceSettings, task: str, limit: int | None = None) -> Pairs:
    """Return the pairs of a file that the settings of a source keep."""
    kept = np.ones(len(every), np.bool_)
    if source.only:
        kept &= np.isin(every.source, [k for k, name in enumerate(every.names) if name in source.only])
    if source.min_rating is not None:
        kept &= every.rating >= source.min_rating  # False where there is none
    if source.max_rating is not None:
        kept &= every.rating <= source.max_rating
    rows = np.flatnonzero(kept)
    pairs = every.take(rows[source.skip : None if limit is None else source.skip + limit])
    if not len(pairs):
        raise InputError(
            f"{source.path}: no solved puzzle of task {task} is left of {len(rows)} with sources {list(source.only) or 'all'}, "
            f"ratings {source.min_rating} to {source.max_rating} and skip {source.skip}; training needs puzzles with answers"
        )
    return pairs


def _every_pair(path: str, task: Task, stop: int | None = None) -> Pairs:
    """Read the solved puzzles of a file, no further than the first `stop`."""
    if is_array_file(path):
        arrays = read_arrays(path, task)
        return Pairs.of(arrays.question, arrays.answer, arrays.rating, arrays.source)
    solved = (record for record in read_puzzles(path, task=task) if record.answer is not None)
    records = list(itertools.islice(solved, stop))
    question = np.array([record.puzzle.cells for record in records], np.uint8).reshape(-1, task.n_cells)
    answer = np.array([record.answer for record in records], np.uint8).reshape(-1, task.n_cells)
    rating = np.array([np.nan if record.rating is None else record.rating for record in records], np.float32)
    return Pairs.of(question, answer, rating, [record.source for record in records])
