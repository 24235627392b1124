"""Makes Sudoku puzzles with exactly one solution, from nothing or by exchanging clues of another puzzle.

Invariants, asserted in tests/unit/puzzles/test_puzzle_generator.py: every puzzle has exactly one solution; without `extra`
clues no clue can be left out; the same seeds make the same puzzles. Proof of minimality: a clue is kept only if the
puzzle without it has a second solution, and leaving out further clues later only adds solutions.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from eqr_ray.puzzles.board import Box, cell_units, unit_cells
from eqr_ray.puzzles.solver import next_random, search
from eqr_ray.types import I64, U8, U64

GUESS_LIMIT = 200_000
"""Guesses after which a proof of uniqueness is given up and the clue kept: no 9x9 puzzle needs them, 16x16 ones do."""
GRID_GUESS_LIMIT = 1_000
"""Guesses after which a random full grid is begun anew; a good start needs about as many as there are cells."""


@njit(cache=True, inline="never")
def _shuffled(cells: Any, random: Any) -> Any:
    """Shuffle in place (Fisher-Yates) and return the array."""
    for i in range(cells.size - 1, 0, -1):
        j = next_random(random) % (i + 1)
        cells[i], cells[j] = cells[j], cells[i]
    return cells


@njit(cache=True, inline="never")
def _remake(question: Any, answer: Any, n_drop: int, extra: int, units: Any, of_cell: Any, random: Any) -> int:
    """Turn `question` in place into a new puzzle and write its solution; return its guesses, -1 if no grid was found.

    Drop `n_drop` clues, draw a solution of the rest, add clues of that solution where another solution differs until
    there is no other, leave out clues in random order as long as the solution stays the only one, then give `extra`
    clues back.
    """
    found = np.zeros((2, question.size), np.uint8)
    ascending = np.zeros(1, np.uint64)
    for cell in _shuffled(np.flatnonzero(question), random)[:n_drop]:
        question[cell] = 0
    for _ in range(20):
        n_found, guesses = search(question, units, of_cell, 1, GRID_GUESS_LIMIT, random, found)
        if n_found == 1:
            break
    if n_found != 1:
        return -1
    answer[:] = found[0]
    while True:
        n_found, guesses = search(question, units, of_cell, 2, GUESS_LIMIT, random, found)
        if n_found == 1:
            break
        other = 0
        if n_found == 2 and (found[0] == answer).all():
            other = 1
        differs = found[other] != answer if n_found == 2 else question == 0
        cells = np.flatnonzero(differs)
        cell = cells[next_random(random) % cells.size]
        question[cell] = answer[cell]
    for cell in _shuffled(np.flatnonzero(question), random):
        question[cell] = 0
        n_found, guesses = search(question, units, of_cell, 2, GUESS_LIMIT, ascending, found)
        if n_found != 1:
            question[cell] = answer[cell]
    for cell in _shuffled(np.flatnonzero(question == 0), random)[:extra]:
        question[cell] = answer[cell]
    n_found, guesses = search(question, units, of_cell, 2, GUESS_LIMIT, ascending, found)
    return int(guesses)


@njit(cache=True, inline="never")
def _remake_all(
    questions: Any, answers: Any, guesses: Any, n_drop: int, extra: int, units: Any, of_cell: Any, seeds: Any
) -> None:
    random = np.zeros(1, np.uint64)
    for row in range(questions.shape[0]):
        random[0] = seeds[row]
        next_random(random)
        guesses[row] = _remake(questions[row], answers[row], n_drop, extra, units, of_cell, random)


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """N puzzles, each with exactly one solution."""

    questions: U8
    """(N, S)"""
    answers: U8
    """(N, S)"""
    guesses: I64
    """(N,) the rating, as in `Solutions.guesses`."""


def remake(questions: U8, box: Box, seeds: U64, n_drop: int, extra: int = 0) -> Mined:
    """Make one new puzzle of each of (N, S) `questions` by exchanging `n_drop` clues; blank ones give random puzzles.

    `seeds` is (N,) and non-zero; `extra` clues are given back to each minimal puzzle. A row for which no full grid was
    found in time, which happens on boards of 16x16 and more, is left out, so fewer than N may come back.
    """
    made = np.array(questions, dtype=np.uint8, order="C")
    answers = np.zeros_like(made)
    guesses = np.zeros(len(made), np.int64)
    _remake_all(made, answers, guesses, n_drop, extra, unit_cells(box), cell_units(box), seeds)
    kept = guesses >= 0
    return Mined(made[kept], answers[kept], guesses[kept])
