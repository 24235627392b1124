"""Mining hard puzzles around given ones."""

from __future__ import annotations

import numpy as np
import pytest

from eqr_ray.puzzles.generator import Wish, generate
from eqr_ray.puzzles.prospecting import mine
from eqr_ray.puzzles.solver import solve_all
from eqr_ray.puzzles.task import task
from eqr_ray.types import InputError


def test_mined_puzzles_are_new_hard_minimal_and_the_same_again() -> None:
    nine = task("sudoku9")
    given = list(generate(nine, 5, seed=3, wish=Wish(min_rating=10)))
    found = list(mine(given, 40, 1, Wish(min_rating=5)))
    assert [r.question for r in mine(given, 40, 1, Wish(min_rating=5))] == [r.question for r in found]
    questions = np.stack([r.puzzle.cells for r in found])
    assert len(np.unique(questions, axis=0)) == 40
    assert not {r.question for r in found} & {r.question for r in given}
    solved = solve_all(questions, nine.box)
    assert (solved.counts == 1).all()
    assert solved.guesses.tolist() == [r.rating for r in found]
    assert min(r.rating for r in found if r.rating is not None) >= 5
    assert {r.source for r in found} == {"mined"}
    for question in questions[:5]:
        clues = np.flatnonzero(question)
        thinner = np.repeat(question[None], len(clues), 0)
        thinner[np.arange(len(clues)), clues] = 0
        assert (solve_all(thinner, nine.box).counts == 2).all()


def test_what_cannot_be_mined_is_bad_input() -> None:
    given = list(generate(task("sudoku4"), 2, seed=0))
    with pytest.raises(InputError, match="no further sudoku4 puzzle"):
        list(mine(given, 1, 0, Wish(min_rating=50)))
    with pytest.raises(InputError, match="got none"):
        list(mine([], 1, 0, Wish()))
    with pytest.raises(InputError, match="Sudoku"):
        list(mine(list(generate(task("maze9x9"), 1, seed=0)), 1, 0, Wish()))
