"""Keys of symmetry classes: equal for puzzles that a symmetry turns into each other, so that data sets can be kept apart.

For mazes the key is that of a canonical form, so it is equal exactly for symmetric mazes. For Sudoku it is a strong invariant of the
solved grid: puzzles of one grid, and of grids that are relabelled, permuted or transposed copies of each other, always share a key;
grids of different classes seldom do, and then are only kept together needlessly. Asserted in
tests/unit/puzzles/test_symmetry_class.py.

The invariant: two rows of a grid make a permutation of the symbols (what stands under each symbol of the first). Its cycle lengths do
not change under relabelling or permutation of columns. Rows are told apart by those lengths and by who shares their band, refined a
few rounds as in Weisfeiler and Leman's algorithm; columns likewise, and so are the symbols, each pair of which makes a permutation of
the rows. Sums of hashes make the order of rows, bands, columns, stacks and symbols irrelevant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from eqr_ray.puzzles.maze import MazeTask
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.sudoku import SudokuTask
from eqr_ray.puzzles.task import Task, task
from eqr_ray.types import I64, U8, U64, InputError

ROUNDS = 3
"""Refinements of the colours of rows: more tell no further grids of 9x9 apart."""
CHUNK = 2048


def class_keys(found: Task, questions: U8, answers: U8) -> U64:
    """Return (N,) keys of the symmetry classes of (N, S) puzzles; the answers of Sudoku are full grids."""
    if isinstance(found, MazeTask):
        return _maze_keys(found, questions)
    if not isinstance(found, SudokuTask):
        raise TypeError(f"symmetries are known for Sudoku and mazes, got {type(found).__name__}")
    parts = [_sudoku_keys(found, answers[first : first + CHUNK]) for first in range(0, len(answers), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def with_keys(records: Iterable[Record]) -> Iterator[tuple[Record, int]]:
    """Yield records with the key of their class; a Sudoku without an answer is an InputError."""
    waiting = iter(records)
    while chunk := list(islice(waiting, CHUNK)):
        found = task(chunk[0].puzzle.task)
        for record in chunk:
            if record.answer is None and found.family == "sudoku":
                raise InputError(
                    f"{record.file}, line {record.line}: symmetry classes are told by the solved grid, and this puzzle has no answer; "
                    "fill it in with `eqr-ray data rate`"
                )
        questions = np.stack([record.puzzle.cells for record in chunk])
        answers = np.stack([record.puzzle.cells if record.answer is None else record.answer for record in chunk])
        yield from zip(chunk, class_keys(found, questions, answers).tolist(), strict=True)


def _mix(x: U64) -> U64:
    """Return the SplitMix64 finaliser of each number, modulo 2^64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: U64 = x ^ (x >> np.uint64(31))
    return mixed


def _maze_keys(found: MazeTask, questions: U8) -> U64:
    """Return the least of the hashes of a maze's rotations and reflections."""
    cell = np.arange(found.n_cells).reshape(found.rows, found.cols)
    views = [cell, cell[::-1], cell[:, ::-1], cell[::-1, ::-1]]
    if found.rows == found.cols:
        views += [view.T for view in views]
    place = _mix(np.arange(1, found.n_cells + 1, dtype=np.uint64))

    def hashed(view: I64) -> U64:
        keys: U64 = _mix(place[None, :] + questions[:, view.ravel()].astype(np.uint64)).sum(1, dtype=np.uint64)
        return _mix(keys)

    least: U64 = np.minimum.reduce([hashed(view) for view in views])
    return least


def _sudoku_keys(found: SudokuTask, answers: U8) -> U64:
    side, box = found.box.side, found.box
    if (answers == 0).any():
        raise InputError(f"a {found.name} answer fills the board; symmetry classes are told by solved grids")
    grid = answers.reshape(-1, side, side).astype(np.int64) - 1
    rows = _line_key(_cycle_codes(grid), np.arange(side) // box.rows)
    cols = _line_key(_cycle_codes(grid.transpose(0, 2, 1)), np.arange(side) // box.cols)
    # Where each symbol stands in each row: symbols by rows is a grid like any other, without bands.
    places = np.argsort(grid, axis=2).transpose(0, 2, 1)
    symbols = _line_key(_cycle_codes(places), np.arange(side))
    # A square box allows transposition, which exchanges rows and columns: a sum does not tell them apart.
    turned = rows + cols if box.rows == box.cols else _mix(rows) + cols
    return _mix(turned + _mix(symbols + np.uint64(1)))


def _cycle_codes(lines: I64) -> U64:
    """Return (N, L, L) codes of the cycle lengths of the permutation that leads from line i to line j, of (N, L, L) grids.

    The number of fixed points of each power up to the L-th tells the cycle lengths.
    """
    n, side, _ = lines.shape
    inverse = np.argsort(lines, axis=2)
    # step[n, i, j, a]: the symbol of line j where line i has symbol a.
    step = np.take_along_axis(lines[:, None, :, :], np.broadcast_to(inverse[:, :, None, :], (n, side, side, side)), 3)
    symbols = np.arange(side)
    power, code = step, np.zeros((n, side, side), np.uint64)
    for exponent in range(1, side + 1):
        code = _mix(code * np.uint64(31) + (power == symbols).sum(3).astype(np.uint64) + np.uint64(exponent))
        power = np.take_along_axis(step, power, 3)
    return code


def _line_key(codes: U64, band: I64) -> U64:
    """Return (N,) keys of the lines of grids from (N, L, L) codes of their pairs and the (L,) bands that they lie in."""
    n, side, _ = codes.shape
    same = (band[:, None] == band[None, :]).astype(np.uint64)[None]
    others = ~np.eye(side, dtype=bool)[None]
    colour = np.zeros((n, side), np.uint64)
    for _ in range(ROUNDS):
        seen = np.where(others, _mix(codes * np.uint64(3) + same + _mix(colour)[:, None, :]), np.uint64(0))
        colour = _mix(colour + seen.sum(2, dtype=np.uint64))
    bands = [_mix(colour[:, band == k].sum(1, dtype=np.uint64)) for k in range(int(band.max()) + 1)]
    key: U64 = np.sum(bands, axis=0, dtype=np.uint64)
    return key
