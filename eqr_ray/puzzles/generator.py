"""Streams of new puzzles with their answers and ratings, and the rating of puzzles that have none.

Invariants, asserted in tests/unit/puzzles/test_puzzle_generator.py: the same task, seed and options give the same puzzles; every Sudoku
has exactly one solution, every maze exactly one path; no question comes twice; ratings lie in the range asked for.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from eqr_ray.puzzles.maze import MazeTask
from eqr_ray.puzzles.maze_making import default_lengths, make_maze
from eqr_ray.puzzles.record import Record, Registrar, Row
from eqr_ray.puzzles.sudoku import SudokuTask
from eqr_ray.puzzles.task import Task, task
from eqr_ray.types import I64, U8, U64, InputError, draw_key

POOL = 16
"""Hard puzzles whose clues are exchanged for still harder ones: 48 climb to half the rating in the same time."""
GENERATIONS = 24
"""Rounds before a pool is thrown away and climbing begins anew, so that puzzles come from many families of grids."""
FRUITLESS = 100
"""Rounds without a new puzzle after which the range of ratings is taken for empty or exhausted."""
DIFFICULTIES = (("easy", 0), ("medium", 1), ("hard", 10), ("extreme", 50))
"""Name and least rating: singles solve an easy Sudoku; the hardest of a thousand random minimal 9x9 puzzles is about extreme."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What generated puzzles should be like."""

    min_rating: int = 0
    """Least guesses of an exact solver (Sudoku), least moves of the path (maze)."""
    max_rating: int | None = None
    """Most of them; None: no bound, and for a maze the usual range of its size."""
    extra_clues: int = 0
    """Sudoku: clues given beyond a minimal puzzle, in which every clue is needed."""

    def __post_init__(self) -> None:
        if self.min_rating < 0 or (self.max_rating is not None and self.max_rating < self.min_rating):
            raise InputError(
                f"ratings run from a least one of 0 or more to a greatest one, got {self.min_rating} to {self.max_rating}; "
                "change them"
            )
        if self.extra_clues < 0:
            raise InputError(f"extra_clues must be 0 or more, got {self.extra_clues}; 0 makes minimal puzzles")


def generate(task: Task, count: int, seed: int, wish: Wish | None = None) -> Iterator[Record]:
    """Yield `count` distinct puzzles with answer and rating; a prefix of a longer run with the same seed.

    Raises InputError when no more puzzles as wished for are found.
    """
    if count < 1:
        raise InputError(f"count must be at least 1, got {count}")
    if seed < 0:
        raise InputError(f"seed must be 0 or more, got {seed}")
    rng = np.random.default_rng(seed)
    registrar = Registrar(task)
    if isinstance(task, MazeTask):
        made = _mazes(task, rng, wish)
    elif isinstance(task, SudokuTask):
        made = _sudokus(task, rng, wish or Wish())
    else:
        raise TypeError(f"puzzles are made for Sudoku and mazes, got {type(task).__name__}")
    for line, puzzle in enumerate(itertools.islice(made, count), start=1):
        source = difficulty(puzzle.rating) if task.family == "sudoku" else "perfect"
        row = Row(task.format(puzzle.question), "", "", source, line, f"generated with seed {seed}")
        yield registrar.register(puzzle.question, puzzle.answer, float(puzzle.rating), row)


def difficulty(rating: int) -> str:
    """Return the name of a Sudoku's rating: easy, medium, hard or extreme."""
    return [name for name, least in DIFFICULTIES if rating >= least][-1]


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    question: U8
    answer: U8
    rating: int


def _mazes(task: MazeTask, rng: np.random.Generator, wish: Wish | None) -> Iterator[_Made]:
    shortest, longest = default_lengths(task)
    if wish is not None and (wish.min_rating or wish.max_rating is not None):
        shortest = max(2, wish.min_rating)
        longest = task.n_cells if wish.max_rating is None else wish.max_rating
    seen: set[bytes] = set()
    fruitless = 0
    while fruitless < FRUITLESS:
        maze = make_maze(task, rng, shortest, longest)
        fruitless += 1
        if maze.question.tobytes() not in seen:
            seen.add(maze.question.tobytes())
            fruitless = 0
            yield _Made(maze.question, maze.answer, maze.length)
    raise _exhausted(task, len(seen))


def _sudokus(task: SudokuTask, rng: np.random.Generator, wish: Wish) -> Iterator[_Made]:
    """Yield distinct puzzles in range: random ones, and where a least rating is asked for, offspring of the hardest so far."""
    from eqr_ray.puzzles.mining import remake

    batch = 256 if task.box.side <= 9 else 8
    blank = np.zeros((batch, task.n_cells), np.uint8)
    seen: set[int] = set()
    fruitless, generation = 0, 0
    parents, hardness = blank[:0], np.zeros(0, np.int64)
    most = np.iinfo(np.int64).max if wish.max_rating is None else wish.max_rating
    while fruitless < FRUITLESS:
        if wish.min_rating == 0 or generation == 0:
            made = remake(blank, task.box, _seeds(batch, rng), n_drop=0, extra=wish.extra_clues)
        else:
            chosen = parents[rng.integers(len(parents), size=batch)]
            made = remake(chosen, task.box, _seeds(batch, rng), n_drop=int(rng.integers(1, 3)), extra=wish.extra_clues)
        fruitless += 1
        for question, answer, rating in zip(made.questions, made.answers, made.guesses.tolist(), strict=True):
            key = int(draw_key(task.name, question))
            if wish.min_rating <= rating <= most and key not in seen:
                seen.add(key)
                fruitless = 0
                yield _Made(question, answer, rating)
        generation = (generation + 1) % GENERATIONS
        if generation == 1:
            parents, hardness = made.questions, made.guesses
        elif wish.min_rating:
            parents = np.concatenate([parents, made.questions])
            hardness = np.concatenate([hardness, made.guesses])
        parents, hardness = _fittest(parents, hardness, most)
    raise _exhausted(task, len(seen))


class _Pool(NamedTuple):
    questions: U8
    ratings: I64


def _fittest(questions: U8, ratings: I64, most: int) -> _Pool:
    """Return the distinct puzzles of the highest ratings up to `most`; one beyond it counts the less the farther it is."""
    questions, first = np.unique(questions, axis=0, return_index=True)
    ratings = ratings[first]
    order = np.argsort(np.maximum(ratings - most, 0) - np.minimum(ratings, most), kind="stable")[:POOL]
    return _Pool(questions[order], ratings[order])


def _seeds(count: int, rng: np.random.Generator) -> U64:
    return rng.integers(1, 2**63, size=count, dtype=np.uint64)


def _exhausted(task: Task, found: int) -> InputError:
    return InputError(
        f"no further {task.name} puzzle as wished for was found after {found}; ask for fewer or for another range of ratings"
    )


def rate(records: Iterable[Record], batch: int = 1024) -> Iterator[Record]:
    """Yield Sudoku records with rating and missing answer filled in by exact search, in their order.

    A puzzle without a solution or with several gets no rating and keeps its answer as it was. A maze's rating is the length of its
    shortest path.
    """
    waiting = iter(records)
    while chunk := list(itertools.islice(waiting, batch)):
        family = task(chunk[0].puzzle.task)
        if isinstance(family, SudokuTask):
            yield from _rated_sudokus(family, chunk)
        elif isinstance(family, MazeTask):
            for record in chunk:
                path = family.shortest(record.puzzle.cells)
                answer = family.answer(record.puzzle.cells) if record.answer is None else record.answer
                yield dataclasses.replace(record, answer=answer, rating=None if path is None else len(path) - 1.0)


def _rated_sudokus(task: SudokuTask, chunk: list[Record]) -> Iterator[Record]:
    from eqr_ray.puzzles.solver import solve_all

    solved = solve_all(np.stack([record.puzzle.cells for record in chunk]), task.box)
    for record, answer, count, guesses in zip(
        chunk, solved.answers, solved.counts, solved.guesses.tolist(), strict=True
    ):
        if count == 1:
            yield dataclasses.replace(record, answer=answer, rating=float(guesses))
        else:
            yield dataclasses.replace(record, rating=None)


@dataclass(frozen=True, slots=True)
class Description:
    """What a stream of puzzles holds."""

    task: str
    puzzles: int
    distinct: int
    answered: int
    """Puzzles with an answer."""
    clues: tuple[int, int]
    """Fewest and most given cells."""
    rating: tuple[float, float] | None
    """Least and greatest rating; None where no puzzle is rated."""
    by_source: dict[str, int]


def describe(records: Iterable[Record]) -> Description | None:
    """Return what a stream of records holds in one pass, None for an empty one; reading it also checks every line."""
    sources: Counter[str] = Counter()
    puzzles = repeats = answered = 0
    name = ""
    fewest, most = 2**31, 0
    low, high = np.inf, -np.inf
    for record in records:
        puzzles += 1
        name = record.puzzle.task
        repeats += "#" in record.puzzle.puzzle_id
        answered += record.answer is not None
        sources[record.source] += 1
        clues = int((record.puzzle.cells != 0).sum())
        fewest, most = min(fewest, clues), max(most, clues)
        if record.rating is not None:
            low, high = min(low, record.rating), max(high, record.rating)
    if not puzzles:
        return None
    rating = None if low > high else (float(low), float(high))
    return Description(name, puzzles, puzzles - repeats, answered, (fewest, most), rating, dict(sources))
