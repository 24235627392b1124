"""Boards as inline SVG: what was given, what was predicted, what is wrong.

Invariants, asserted in tests/unit/evaluation/test_boards.py: every board is well-formed XML; as many cells are marked wrong as differ
from the answer; without an answer none is.
"""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from eqr_ray.evaluation.distributions import Board
from eqr_ray.puzzles.maze import GOAL, PATH, START, WALL
from eqr_ray.puzzles.sudoku import SYMBOLS, SudokuTask
from eqr_ray.puzzles.task import Task, task
from eqr_ray.types import U8, Bool

MOST_CELLS = 10_000
"""A larger board is not drawn: its cells would be smaller than a pixel."""
_CELL = 24


def draw(board: Board) -> Markup:
    """Return an SVG of the board, or a sentence for one that is too large to draw."""
    kind = task(board.task)
    if kind.n_cells > MOST_CELLS:
        return Markup("<p class='note'>{} x {} cells are too many to draw.</p>").format(kind.rows, kind.cols)
    question = kind.parse(board.question)
    prediction = question if board.prediction is None else kind.parse(board.prediction)
    answer = None if board.answer is None else kind.parse(board.answer)
    cells = (
        _sudoku(kind, question, prediction, answer)
        if isinstance(kind, SudokuTask)
        else _maze(kind, question, prediction, answer)
    )
    unit = _CELL if isinstance(kind, SudokuTask) else 10
    return Markup('<svg class="board" viewBox="-1 -1 {} {}" role="img" aria-label="{}">{}</svg>').format(
        kind.cols * unit + 2, kind.rows * unit + 2, f"{board.task} board {board.puzzle_id}", cells
    )


def _sudoku(kind: SudokuTask, question: U8, prediction: U8, answer: U8 | None) -> Markup:
    parts: list[str] = []
    marks = "·" + SYMBOLS
    side, width = kind.cols, kind.cols * _CELL
    for cell in range(kind.n_cells):
        row, col = divmod(cell, side)
        x, y = col * _CELL, row * _CELL
        wrong = answer is not None and prediction[cell] != answer[cell]
        given = question[cell] != 0
        if wrong or given:
            parts.append(
                f'<rect class="{"bad" if wrong else "given"}" x="{x}" y="{y}" width="{_CELL}" height="{_CELL}"/>'
            )
        style = "wrong" if wrong else "clue" if given else "guess"
        parts.append(f'<text class="{style}" x="{x + _CELL / 2:g}" y="{y + 17}">{marks[prediction[cell]]}</text>')
        if wrong and answer is not None:
            parts.append(f'<text class="truth" x="{x + _CELL - 5}" y="{y + 9}">{marks[answer[cell]]}</text>')
    for line in range(side + 1):
        at = line * _CELL
        across = "box" if line % kind.box.rows == 0 else "grid"
        down = "box" if line % kind.box.cols == 0 else "grid"
        parts.append(f'<path class="{across}" d="M0 {at}H{width}"/><path class="{down}" d="M{at} 0V{width}"/>')
    return Markup("".join(parts))  # numbers and the symbols of the task only: nothing of the user's text


def _maze(kind: Task, question: U8, prediction: U8, answer: U8 | None) -> Markup:
    parts: list[str] = []
    for row in range(kind.rows):
        for start, length in _runs(question[row * kind.cols : (row + 1) * kind.cols] == WALL):
            parts.append(f'<rect class="wall" x="{start * 10}" y="{row * 10}" width="{length * 10}" height="10"/>')
    for cell in np.flatnonzero((prediction != question) | (question >= START) | _differ(prediction, answer)).tolist():
        row, col = divmod(cell, kind.cols)
        x, y = col * 10, row * 10
        wrong = answer is not None and prediction[cell] != answer[cell]
        if wrong and prediction[cell] == question[cell]:
            parts.append(f'<rect class="missed" x="{x + 1}" y="{y + 1}" width="8" height="8"/>')
        elif wrong or prediction[cell] not in (question[cell], PATH):
            parts.append(f'<rect class="bad" x="{x}" y="{y}" width="10" height="10"/>')
        elif prediction[cell] == PATH:
            parts.append(f'<rect class="path" x="{x}" y="{y}" width="10" height="10"/>')
        if question[cell] in (START, GOAL):
            letter = "S" if question[cell] == START else "G"
            parts.append(f'<circle class="end" cx="{x + 5}" cy="{y + 5}" r="7"/>')
            parts.append(f'<text class="end" x="{x + 5}" y="{y + 8.5}">{letter}</text>')
    parts.append(f'<rect class="frame" x="0" y="0" width="{kind.cols * 10}" height="{kind.rows * 10}"/>')
    return Markup("".join(parts))


def _runs(mask: Bool) -> list[tuple[int, int]]:
    """Return (start, length) of each run of true values: one rectangle a run leaves no hairlines between cells."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(end - start)) for start, end in edges.reshape(-1, 2)]


def _differ(prediction: U8, answer: U8 | None) -> Bool:
    return np.zeros(len(prediction), bool) if answer is None else np.asarray(prediction != answer)
