"""Exact Sudoku solver: bitmasks, naked and hidden singles, a guess at the cell with the fewest candidates.

Invariants, asserted in tests/unit/puzzles/test_exact_solver.py: it finds a solution if and only if there is one; its count of
solutions equals that of brute force, up to the limit; the rating is 0 exactly when singles alone solve the puzzle; a
result is a function of the puzzle alone.

Numba compiles `search` once a machine (`cache=True`). Only this module and `mining` import numba, which takes a second,
so callers import them where they need them.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from eqr_ray.puzzles.board import Box, cell_units, unit_cells
from eqr_ray.types import I64, U8

NO_LIMIT = 2**62
"""Guesses that no search reaches: the search ends by itself."""


@njit(cache=True, inline="never")
def next_random(state: Any) -> Any:
    """Advance the (1,) uint64 state (xorshift64*, Vigna 2016) and return 31 random bits."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return np.int64((x * np.uint64(2685821657736338717)) >> np.uint64(33))


@njit(cache=True)
def _open(used: Any, of_cell: Any, cell: int, full: int) -> Any:
    """Return the symbols, as bits, that the cell's row, column and box leave to it."""
    return full & ~(used[of_cell[cell, 0]] | used[of_cell[cell, 1]] | used[of_cell[cell, 2]])


@njit(cache=True)
def _place(grid: Any, used: Any, trail: Any, of_cell: Any, cell: int, bit: int) -> None:
    """Write one symbol and remember it: trail[0] counts the entries that follow."""
    symbol = 1
    while bit >> symbol != 0:
        symbol += 1
    grid[cell] = symbol
    for kind in range(3):
        used[of_cell[cell, kind]] |= bit
    trail[0] += 1
    trail[trail[0]] = cell


@njit(cache=True)
def _undo(grid: Any, used: Any, trail: Any, of_cell: Any, length: int) -> None:
    """Take back what was placed after the trail had `length` entries."""
    while trail[0] > length:
        cell = trail[trail[0]]
        bit = np.int64(1) << (np.int64(grid[cell]) - 1)
        grid[cell] = 0
        for kind in range(3):
            used[of_cell[cell, kind]] &= ~bit
        trail[0] -= 1


@njit(cache=True)
def _propagate(grid: Any, used: Any, trail: Any, units: Any, of_cell: Any, full: int) -> Any:
    """Place singles until none is left.

    Return the cell with the fewest candidates, -1 if all are filled, -2 at a contradiction.
    """
    placed = True
    best = -1
    while placed:
        placed = False
        fewest, best = 64, -1
        for cell in range(grid.size):
            if grid[cell] != 0:
                continue
            rest = _open(used, of_cell, cell, full)
            if rest == 0:
                return -2
            if rest & (rest - 1) == 0:
                _place(grid, used, trail, of_cell, cell, rest)
                placed = True
                continue
            count = 0
            while rest != 0:
                rest &= rest - 1
                count += 1
            if count < fewest:
                fewest, best = count, cell
        if placed or best < 0:
            continue
        for unit in range(units.shape[0]):
            once, twice = used[unit], used[unit]
            if once == full:
                continue
            for i in range(units.shape[1]):
                if grid[units[unit, i]] == 0:
                    rest = _open(used, of_cell, units[unit, i], full)
                    twice |= once & rest
                    once |= rest
            if once != full:
                return -2
            if twice == full:
                continue
            for i in range(units.shape[1]):
                cell = units[unit, i]
                if grid[cell] != 0:
                    continue
                here = ~twice & _open(used, of_cell, cell, full)
                if here & (here - 1) != 0:
                    return -2
                if here != 0:
                    _place(grid, used, trail, of_cell, cell, here)
                    placed = True
    return best


@njit(cache=True, inline="never")
def search(
    cells: Any, units: Any, of_cell: Any, limit: int, guess_limit: int, random: Any, found: Any
) -> tuple[int, int]:
    """Look for up to `limit` solutions of `cells` (S,) and write them to `found` (limit, S).

    Every value tried at a cell that singles left open is a guess. `random`, (1,) uint64, orders the values tried; a
    zero state means ascending order. Return (solutions, guesses); solutions are -1 when `guess_limit` was passed.
    """
    side = units.shape[1]
    full = (np.int64(1) << side) - 1
    grid = np.zeros(cells.size, np.uint8)
    used = np.zeros(3 * side, np.int64)
    trail = np.zeros(cells.size + 1, np.int64)
    at_cell = np.empty(cells.size, np.int64)
    at_rest = np.empty(cells.size, np.int64)
    at_trail = np.empty(cells.size, np.int64)
    for cell in range(cells.size):
        if cells[cell] != 0:
            bit = np.int64(1) << (np.int64(cells[cell]) - 1)
            if _open(used, of_cell, cell, full) & bit == 0:
                return 0, 0
            _place(grid, used, trail, of_cell, cell, bit)
    n_found, guesses, level = 0, 0, 0
    while True:
        cell = _propagate(grid, used, trail, units, of_cell, full)
        if cell == -1:
            found[n_found] = grid
            n_found += 1
            if n_found == limit:
                return n_found, guesses
        elif cell >= 0:
            at_cell[level], at_rest[level], at_trail[level] = cell, _open(used, of_cell, cell, full), trail[0]
            level += 1
        while level > 0 and at_rest[level - 1] == 0:
            level -= 1
        if level == 0:
            return n_found, guesses
        guesses += 1
        if guesses > guess_limit:
            return -1, guesses
        level -= 1
        _undo(grid, used, trail, of_cell, at_trail[level])
        rest = at_rest[level]
        if random[0] != 0:
            count = 0
            while rest != 0:
                rest &= rest - 1
                count += 1
            rest = at_rest[level]
            for _ in range(next_random(random) % count):
                rest &= rest - 1
        bit = rest & -rest
        at_rest[level] &= ~bit
        level += 1
        _place(grid, used, trail, of_cell, at_cell[level - 1], bit)


@njit(cache=True, inline="never")
def _search_all(questions: Any, units: Any, of_cell: Any, limit: int, answers: Any, counts: Any, guesses: Any) -> None:
    random = np.zeros(1, np.uint64)
    found = np.zeros((limit, questions.shape[1]), np.uint8)
    for row in range(questions.shape[0]):
        counts[row], guesses[row] = search(questions[row], units, of_cell, limit, NO_LIMIT, random, found)
        if counts[row] > 0:
            answers[row] = found[0]


@dataclass(frozen=True, slots=True, eq=False)
class Solutions:
    """What exact search found of N puzzles."""

    answers: U8
    """(N, S) uint8, the first solution in ascending order of guesses; zeros where there is none."""
    counts: I64
    """(N,) solutions, counted up to the limit of the call."""
    guesses: I64
    """(N,) values tried at cells that singles left open; with limit 2 and one solution, the puzzle's rating."""


def solve_all(questions: U8, box: Box, limit: int = 2) -> Solutions:
    """Solve (N, S) questions exactly; `limit` 1 stops at the first solution, 2 tells unique puzzles from others."""
    n_puzzles, n_cells = questions.shape
    answers = np.zeros((n_puzzles, n_cells), np.uint8)
    counts = np.zeros(n_puzzles, np.int64)
    guesses = np.zeros(n_puzzles, np.int64)
    cells = np.ascontiguousarray(questions, dtype=np.uint8)
    _search_all(cells, unit_cells(box), cell_units(box), limit, answers, counts, guesses)
    return Solutions(answers, counts, guesses)


def solve(cells: U8, box: Box) -> U8 | None:
    """Return a solution (S,) of one question, None if it has none."""
    solutions = solve_all(cells[None], box, limit=1)
    return solutions.answers[0] if solutions.counts[0] else None


def count_solutions(cells: U8, box: Box, limit: int = 2) -> int:
    """Return the number of solutions of one question, counted up to `limit`."""
    return int(solve_all(cells[None], box, limit).counts[0])
