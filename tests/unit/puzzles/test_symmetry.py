import numpy as np
import pytest

from eqr_ray.puzzles.generator import generate
from eqr_ray.puzzles.solver import solve_all
from eqr_ray.puzzles.symmetry import augment
from eqr_ray.puzzles.task import task


def made(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    records = list(generate(task(name), count, seed=4))
    return np.stack([r.puzzle.cells for r in records]), np.stack([r.answer for r in records])


@pytest.mark.parametrize("name", ["sudoku4", "sudoku6", "sudoku6-3x2", "sudoku9", "maze9x9", "maze7x11"])
def test_a_variants_answer_solves_the_variant(name: str):
    questions, answers = made(name, 20)
    found = task(name)
    variants = augment(found, questions, answers, np.random.default_rng(1))
    assert variants.questions.dtype == np.uint8
    for question, answer in zip(variants.questions, variants.answers, strict=True):
        assert found.is_valid(question, answer)
    assert ((variants.questions > 0).sum(1) == (questions > 0).sum(1)).all()
    assert (variants.questions != questions).any()


def test_a_variant_has_one_solution_as_the_puzzle_has():
    questions, answers = made("sudoku9", 50)
    nine = task("sudoku9")
    variants = augment(nine, questions, answers, np.random.default_rng(2))
    assert (solve_all(variants.questions, nine.box).counts == 1).all()


def test_the_same_generator_state_gives_the_same_variants_and_another_gives_others():
    questions, answers = made("sudoku6", 50)
    six = task("sudoku6")
    once, again, other = (augment(six, questions, answers, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (once.questions == again.questions).all()
    assert (once.answers == again.answers).all()
    assert (once.questions != other.questions).any()


def test_square_mazes_have_eight_variants_and_others_four():
    for name, count in (("maze9x9", 8), ("maze9x11", 4)):
        questions, answers = made(name, 1)
        many = augment(task(name), np.repeat(questions, 300, 0), np.repeat(answers, 300, 0), np.random.default_rng(0))
        assert len(np.unique(many.questions, axis=0)) == count


def test_boards_of_four_reach_every_grid_that_symmetry_joins():
    """The 288 grids fall in two classes of 96 and 192 (transposition included), so one seed puzzle reaches 96 or 192."""
    questions, answers = made("sudoku4", 1)
    many = augment(
        task("sudoku4"), np.repeat(questions, 6000, 0), np.repeat(answers, 6000, 0), np.random.default_rng(0)
    )
    assert len(np.unique(many.answers, axis=0)) in (96, 192)
