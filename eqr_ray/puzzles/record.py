"""One puzzle of a file with what the file says of it.

Invariants, asserted in tests/unit/puzzles/test_puzzle_files.py: ids within one `Registrar` are distinct and depend on the questions
and their order alone; an answer that changes a clue or breaks the rules is refused; the puzzle itself carries no label.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eqr_ray.puzzles.ids import Digests
from eqr_ray.puzzles.task import Task, infer_task
from eqr_ray.types import U8, InputError, Puzzle, draw_key


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A puzzle, its label and where both come from."""

    puzzle: Puzzle
    source: str
    """The file's column `source`, or the file's name without its ending."""
    question: str
    """The text as in the file, without surrounding blanks and line breaks; its notation of blank cells is kept."""
    answer: U8 | None
    """(S,) uint8, None where the file has none."""
    rating: float | None
    """Guesses of an exact solver, or whatever the file calls rating; None where the file has none."""
    line: int
    """Line of the file, counted from 1; of a Parquet file, the row."""
    file: str
    """Path, URI or name of the stream."""


@dataclass(frozen=True, slots=True)
class Row:
    """The text of one record, before anything of it is checked."""

    question: str
    answer: str
    rating: str
    source: str
    line: int
    file: str

    @property
    def place(self) -> str:
        """Where a message says it is."""
        return f"{self.file}, line {self.line}"


@dataclass(frozen=True, slots=True)
class Shard:
    """One of n shares of the puzzles: those whose digest leaves the rest `index - 1` when divided by n.

    Repeats of a question are in one share, so that its ids are those of the whole, and a share remembers only its own.
    """

    index: int
    """1 to n."""
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.n:
            raise ValueError(f"a shard i/n has i from 1 to n, got {self.index}/{self.n}")

    def __contains__(self, key: int) -> bool:
        return key % self.n == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.n}"


class Registrar:
    """Turns rows into records of one task; remembers a digest of each question to number repeats."""

    def __init__(self, task: Task | None = None, shard: Shard | None = None) -> None:
        self.task = task
        self._shard = shard
        self._seen = Digests()
        self._repeats: dict[int, int] = {}
        """How often questions that came more than once were seen."""

    def record(self, row: Row) -> Record:
        """Check one row and return its record; raise InputError that names file, line, value and remedy."""
        record = self.own_record(row)
        assert record is not None, "a share of the puzzles was asked for"
        return record

    def own_record(self, row: Row) -> Record | None:
        """Return the row's record, None for one of another share, whose answer is not looked at; raise InputError."""
        try:
            if self.task is None:
                self.task = infer_task(row.question)
            cells = self.task.parse(row.question)
            conflict = self.task.conflicts(cells)
            if conflict is not None:
                raise InputError(f"a {self.task.name} question must obey the rules, got {conflict}; correct it")
            if self._shard is not None and int(draw_key(self.task.name, cells)) not in self._shard:
                return None
            answer = self._answer(self.task, cells, row.answer)
            rating = _rating(row.rating)
        except InputError as error:
            raise InputError(f"{row.place}: {error}") from None
        return self.register(cells, answer, rating, row)

    def register(self, cells: U8, answer: U8 | None, rating: float | None, row: Row) -> Record:
        """Return the record of cells that are known to be a puzzle of `task`."""
        assert self.task is not None
        key = int(draw_key(self.task.name, cells))
        repeat = 1
        if not self._seen.add(key):
            repeat = self._repeats[key] = self._repeats.get(key, 1) + 1
        puzzle_id = f"{key:016x}" if repeat == 1 else f"{key:016x}#{repeat}"
        puzzle = Puzzle(puzzle_id, self.task.name, cells)
        return Record(puzzle, row.source, row.question, answer, rating, row.line, row.file)

    @staticmethod
    def _answer(task: Task, cells: U8, text: str) -> U8 | None:
        if not text.strip():
            return None
        try:
            answer = task.parse(text)
        except InputError as error:
            raise InputError(f"in the answer, {error}") from None
        changed = np.flatnonzero((answer != cells) & (cells != 0))
        if len(changed):
            row, col = divmod(int(changed[0]), task.cols)
            given, got = task.format(cells[changed[:1]]), task.format(answer[changed[:1]])
            raise InputError(
                f"an answer keeps what the question gives, got {got!r} for {given!r} in row {row + 1}, column {col + 1}; "
                "correct the answer or leave it empty"
            )
        if not task.is_valid(cells, answer):
            why = task.conflicts(answer) if (answer != 0).all() else None
            raise InputError(
                f"an answer solves its question, got one with {why or 'cells left to fill or a wrong path'}; "
                "correct the answer or leave it empty"
            )
        return answer


def _rating(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        rating = float(text)
    except ValueError:
        rating = math.nan
    if not math.isfinite(rating):
        raise InputError(f"a rating is a number, got {text[:40]!r}; correct it or leave it empty")
    return rating
