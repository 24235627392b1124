"""Training puzzles in memory, drawn with a random symmetry and a difficulty curriculum.

Invariants: every draw is a function of (seed, draws so far), so that a resumed run sees the puzzles that an undisturbed one sees; the
puzzles of the evaluation file never come from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.symmetry import augment
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.training.settings import RevealSettings, SourceSettings
from eqr_ray.types import U8, InputError


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """N questions with their answers, (N, S) uint8 each."""

    question: U8
    answer: U8

    def __len__(self) -> int:
        return len(self.question)


def load_pairs(source: SourceSettings, task: str, limit: int | None = None) -> Pairs:
    """Read the solved puzzles of one source; a file without a usable puzzle is an InputError."""
    cells = find_task(task).n_cells
    if source.path.endswith(".npz"):
        if not Path(source.path).is_file():
            raise InputError(f"{source.path}: there is no such file; give the path of a training set")
        with np.load(source.path, allow_pickle=False) as arrays:
            if not {"question", "answer"} <= set(arrays.files):
                raise InputError(
                    f"{source.path}: arrays `question` and `answer` are needed, found {sorted(arrays.files)}"
                )
            question, answer = arrays["question"], arrays["answer"]
        if question.shape != answer.shape or question.ndim != 2 or question.shape[1] != cells:
            raise InputError(
                f"{source.path}: {task} needs (N, {cells}) arrays, got {question.shape} and {answer.shape}"
            )
    else:
        questions, answers = [], []
        for record in read_puzzles(source.path, task=find_task(task)):
            if record.answer is not None and (not source.only or record.source in source.only):
                questions.append(record.puzzle.cells)
                answers.append(record.answer)
        question = np.array(questions, np.uint8).reshape(-1, cells)
        answer = np.array(answers, np.uint8).reshape(-1, cells)
    stop = None if limit is None else source.skip + limit
    pairs = Pairs(
        np.ascontiguousarray(question[source.skip : stop], np.uint8),
        np.ascontiguousarray(answer[source.skip : stop], np.uint8),
    )
    if not len(pairs):
        raise InputError(
            f"{source.path}: no solved puzzle of task {task} and sources {list(source.only) or 'all'}; training needs answers"
        )
    return pairs


class Sampler:
    """Draws fresh puzzles from a weighted mixture of sources."""

    def __init__(
        self, sources: tuple[SourceSettings, ...], task: str, augmented: bool, reveal: RevealSettings, seed: int
    ) -> None:
        self.task, self.augmented, self.reveal, self.seed = find_task(task), augmented, reveal, seed
        self.sets = [load_pairs(source, task) for source in sources]
        weights = [source.weight or float(len(pairs)) for source, pairs in zip(sources, self.sets, strict=True)]
        self.share = np.array(weights) / sum(weights)

    def draw(self, n: int, drawn: int, progress: float) -> Pairs:
        """Return n fresh puzzles; `drawn` counts those drawn before, `progress` in [0, 1] is the fraction of the run done."""
        rng = np.random.default_rng([self.seed, drawn])
        which = rng.choice(len(self.sets), size=n, p=self.share)
        rows = (rng.random(n) * np.array([len(pairs) for pairs in self.sets])[which]).astype(np.int64)
        question = np.stack([self.sets[k].question[row] for k, row in zip(which, rows, strict=True)])
        answer = np.stack([self.sets[k].answer[row] for k, row in zip(which, rows, strict=True)])
        if self.augmented:
            variants = augment(self.task, question, answer, rng)
            question, answer = variants.questions, variants.answers
        return Pairs(self._revealed(question, answer, progress, rng), answer)

    def _revealed(self, question: U8, answer: U8, progress: float, rng: np.random.Generator) -> U8:
        first, last = self.reveal.share
        share = first + (last - first) * min(1.0, progress / self.reveal.until)
        if not self.reveal.most or share <= 0:
            return question
        n, cells = question.shape
        count = np.where(rng.random(n) < share, rng.integers(1, self.reveal.most + 1, size=n), 0)
        order = np.argsort(np.where(question == 0, rng.random((n, cells)), 2.0), axis=1)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.broadcast_to(np.arange(cells), (n, cells)), axis=1)
        shown = (rank < count[:, None]) & (question == 0)
        # A cell stays blank even in an easy draw, so that every row has something to learn.
        shown &= rank < (question == 0).sum(1, keepdims=True) - 1
        return np.where(shown, answer, question).astype(np.uint8)
