import csv
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqr_ray.puzzles.board import Box, cell_units, unit_cells
from eqr_ray.puzzles.solver import count_solutions, solve, solve_all
from eqr_ray.puzzles.task import task

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("EQR_DATA", REPOSITORY.parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "sudoku" / "valid.csv").exists(), reason="the real puzzles are not here")
FOUR = Box(2, 2)


def every_grid_of_four() -> np.ndarray:
    """All 288 full 4x4 grids, by trying every combination of four rows."""
    rows = list(itertools.permutations(range(1, 5)))
    units = unit_cells(FOUR)
    grids = []
    for top in itertools.product(rows, rows):
        if all(len({top[0][c], top[0][c + 1], top[1][c], top[1][c + 1]}) == 4 for c in (0, 2)):
            for bottom in itertools.product(rows, rows):
                grid = np.array(top + bottom, np.uint8).ravel()
                if all(len(set(grid[unit].tolist())) == 4 for unit in units):
                    grids.append(grid)
    return np.array(grids)


GRIDS = every_grid_of_four()


def test_there_are_288_full_grids_of_four_and_the_solver_counts_them():
    assert len(GRIDS) == 288
    assert count_solutions(np.zeros(16, np.uint8), FOUR, limit=1000) == 288


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=16, max_size=16))
def test_any_board_of_four_has_as_many_solutions_as_brute_force_finds(cells: list[int]):
    question = np.array(cells, np.uint8)
    fitting = GRIDS[((question == GRIDS) | (question == 0)).all(axis=1)]
    assert count_solutions(question, FOUR, limit=1000) == len(fitting)
    solution = solve(question, FOUR)
    assert (solution is None) == (len(fitting) == 0)
    assert solution is None or any((solution == grid).all() for grid in fitting)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 287), st.sets(st.integers(0, 15), max_size=10))
def test_thinned_grids_of_four_have_as_many_solutions_as_brute_force_finds(which: int, blanks: set[int]):
    question = GRIDS[which].copy()
    question[list(blanks)] = 0
    expected = ((question == GRIDS) | (question == 0)).all(axis=1).sum()
    assert count_solutions(question, FOUR, limit=1000) == expected


def test_counting_stops_at_the_limit():
    assert count_solutions(np.zeros(81, np.uint8), Box(3, 3), limit=5) == 5


def test_clues_that_contradict_each_other_have_no_solution():
    nine = task("sudoku9")
    assert solve(nine.parse("55" + "." * 79), Box(3, 3)) is None


def test_a_puzzle_that_singles_solve_is_rated_nought_and_a_hard_one_is_not():
    nine = task("sudoku9")
    easy = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
    hard = "98.7..6..7..........5....4.3..6....8.7....3.6....2..1..3.8....9..2.5.........1..."
    solutions = solve_all(np.stack([nine.parse(easy), nine.parse(hard)]), Box(3, 3))
    assert solutions.counts.tolist() == [1, 1]
    assert solutions.guesses[0] == 0
    assert solutions.guesses[1] > 50
    for question, answer in zip((easy, hard), solutions.answers, strict=True):
        assert nine.is_valid(nine.parse(question), answer)


def test_a_result_does_not_depend_on_the_other_puzzles_of_the_batch():
    questions = np.where(np.arange(16) % 3 == 0, GRIDS, 0).astype(np.uint8)
    together = solve_all(questions, FOUR)
    for row in (0, 100, 287):
        alone = solve_all(questions[row : row + 1], FOUR)
        assert (alone.answers[0] == together.answers[row]).all()
        assert alone.guesses[0] == together.guesses[row]


@pytest.mark.parametrize("box", [Box(2, 3), Box(3, 2), Box(3, 3), Box(3, 4)])
def test_every_cell_is_in_one_row_one_column_and_one_box(box: Box):
    units = unit_cells(box)
    assert units.shape == (3 * box.side, box.side)
    for kind in range(3):
        part = units[kind * box.side : (kind + 1) * box.side]
        assert sorted(part.ravel().tolist()) == list(range(box.side**2))
    for cell, belongs in enumerate(cell_units(box)):
        assert all(cell in units[unit] for unit in belongs)
    first_box = units[2 * box.side]
    assert (first_box // box.side).max() == box.rows - 1
    assert (first_box % box.side).max() == box.cols - 1


@needs_data
def test_published_puzzles_have_their_answers_and_their_ratings():
    nine = task("sudoku9")
    with (DATA / "sudoku" / "valid.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    solutions = solve_all(np.stack([nine.parse(row["question"]) for row in rows]), Box(3, 3))
    assert (solutions.counts == 1).all()
    assert (solutions.answers == np.stack([nine.parse(row["answer"]) for row in rows])).all()
    assert solutions.guesses.tolist() == [int(row["rating"]) for row in rows]


@needs_data
def test_published_puzzles_with_several_solutions_are_told():
    nine = task("sudoku9")
    lines = (DATA / "sudoku" / "several_solutions.txt").read_text().split()
    assert (solve_all(np.stack([nine.parse(line) for line in lines]), Box(3, 3)).counts == 2).all()
