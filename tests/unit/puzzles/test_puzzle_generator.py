import itertools

import numpy as np
import pytest

from eqr_ray.puzzles.generator import Wish, describe, difficulty, generate, rate
from eqr_ray.puzzles.maze import OPEN, PATH, WALL, neighbours
from eqr_ray.puzzles.maze_making import make_maze
from eqr_ray.puzzles.record import Record, Registrar, Row
from eqr_ray.puzzles.solver import solve_all
from eqr_ray.puzzles.task import task
from eqr_ray.types import InputError


def questions_of(records: list[Record]) -> np.ndarray:
    return np.stack([record.puzzle.cells for record in records])


@pytest.mark.parametrize(
    ("name", "count"), [("sudoku4", 200), ("sudoku6", 200), ("sudoku6-3x2", 20), ("sudoku9", 20), ("sudoku12", 1)]
)
def test_every_puzzle_has_one_solution_and_needs_every_clue(name: str, count: int):
    found = task(name)
    records = list(generate(found, count, seed=1))
    solved = solve_all(questions_of(records), found.box)
    assert (solved.counts == 1).all()
    assert (solved.answers == np.stack([record.answer for record in records])).all()
    assert solved.guesses.tolist() == [record.rating for record in records]
    for question in questions_of(records):
        clues = np.flatnonzero(question)
        thinner = np.repeat(question[None], len(clues), 0)
        thinner[np.arange(len(clues)), clues] = 0
        assert (solve_all(thinner, found.box).counts == 2).all()


def test_the_same_seed_makes_the_same_puzzles_and_another_makes_others():
    for name in ("sudoku6", "maze11x11"):
        texts = [[record.question for record in generate(task(name), 10, seed)] for seed in (5, 5, 6)]
        assert texts[0] == texts[1]
        assert texts[0] != texts[2]


def test_a_short_run_is_the_beginning_of_a_long_one():
    short, long = ([r.question for r in generate(task("sudoku6"), count, 2)] for count in (30, 400))
    assert long[:30] == short


def test_no_question_comes_twice():
    assert len({record.question for record in generate(task("sudoku4"), 1500, seed=1)}) == 1500


def test_ratings_lie_in_the_range_asked_for():
    hard = list(generate(task("sudoku9"), 15, seed=3, wish=Wish(min_rating=10, max_rating=30)))
    assert all(10 <= record.rating <= 30 for record in hard)
    assert all(record.source == "hard" for record in hard)
    solved = solve_all(questions_of(hard), task("sudoku9").box)
    assert solved.guesses.tolist() == [record.rating for record in hard]
    assert (solved.counts == 1).all()


def test_extra_clues_are_given_back():
    for record in generate(task("sudoku6"), 20, seed=3, wish=Wish(extra_clues=36)):
        assert (record.puzzle.cells == record.answer).all()


def test_a_range_without_puzzles_is_bad_input():
    with pytest.raises(InputError, match="no further sudoku4 puzzle"):
        list(generate(task("sudoku4"), 1, seed=0, wish=Wish(min_rating=50)))


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Wish(min_rating=-1),
        lambda: Wish(min_rating=5, max_rating=4),
        lambda: Wish(extra_clues=-1),
        lambda: next(generate(task("sudoku4"), 0, 0)),
        lambda: next(generate(task("sudoku4"), 1, -1)),
        lambda: next(generate(task("maze2x2"), 1, 0)),
        lambda: next(generate(task("maze9x9"), 1, 0, Wish(min_rating=80))),
    ],
)
def test_a_wish_that_cannot_be_met_is_bad_input(ask):
    with pytest.raises(InputError):
        ask()


@pytest.mark.parametrize("name", ["maze3x5", "maze7x7", "maze12x9", "maze30x30"])
def test_mazes_are_perfect(name: str):
    """A connected field of n open cells with n - 1 neighbouring pairs is a tree: one simple path between any two cells."""
    found = task(name)
    for record in generate(found, 3 if found.n_cells > 20 else 1, seed=8):
        question, answer = record.puzzle.cells, record.answer
        field = question.reshape(found.rows, found.cols)
        assert (field[[0, -1]] == WALL).all()
        assert (field[:, [0, -1]] == WALL).all()
        free = np.flatnonzero(question != WALL).tolist()
        pairs = [(a, b) for a in free for b in neighbours(a, found.rows, found.cols) if b > a and question[b] != WALL]
        assert len(pairs) == len(free) - 1
        reached, waiting = {free[0]}, [free[0]]
        while waiting:
            near = [
                c for c in neighbours(waiting.pop(), found.rows, found.cols) if question[c] != WALL and c not in reached
            ]
            reached.update(near)
            waiting += near
        assert len(reached) == len(free)
        assert found.is_valid(question, answer)
        assert (answer == PATH).sum() + 1 == record.rating


def test_mazes_of_the_published_size_have_the_published_lengths():
    field = task("maze30x30")
    lengths = [record.rating for record in generate(field, 10, seed=1)]
    assert all(100 <= length <= 140 for length in lengths)
    maze = make_maze(field, np.random.default_rng(0), 100, 140)
    inner = maze.question.reshape(30, 30)[:29, :29]
    assert (inner[1::2, 1::2] != WALL).all()
    assert (maze.question == OPEN).sum() > 0


def test_rating_fills_in_what_a_puzzle_lacks_and_leaves_ambiguous_ones_alone():
    made = list(generate(task("sudoku6"), 30, seed=9))
    registrar = Registrar()
    texts = [record.question for record in made] + ["." * 36]
    bare = [registrar.record(Row(text, "", "", "x", line, "f")) for line, text in enumerate(texts, 1)]
    rated = list(rate(bare, batch=7))
    assert [record.rating for record in rated] == [record.rating for record in made] + [None]
    assert all((a.answer == b.answer).all() for a, b in zip(rated, made, strict=False))
    assert rated[-1].answer is None


def test_a_mazes_rating_is_the_length_of_its_path():
    made = list(generate(task("maze11x11"), 5, seed=9))
    registrar = Registrar()
    rated = list(rate(registrar.record(Row(r.question, "", "", "x", 1, "f")) for r in made))
    assert [record.rating for record in rated] == [record.rating for record in made]
    assert all((a.answer == b.answer).all() for a, b in zip(rated, made, strict=True))


def test_a_description_counts_puzzles_repeats_and_sources():
    registrar = Registrar()
    texts = ["12" + "." * 14, "1" + "." * 15, "12" + "." * 14]
    rows = [Row(text, "", rating, "s" + text[1], 1, "f") for text, rating in zip(texts, ("3", "", "5"), strict=True)]
    found = describe(map(registrar.record, rows))
    assert found is not None
    assert (found.task, found.puzzles, found.distinct, found.answered) == ("sudoku4", 3, 2, 0)
    assert found.clues == (1, 2)
    assert found.rating == (3.0, 5.0)
    assert found.by_source == {"s2": 2, "s.": 1}
    assert describe([]) is None


def test_difficulties_follow_the_rating():
    named = [difficulty(rating) for rating in (0, 1, 9, 10, 49, 50, 900)]
    assert [name for name, _ in itertools.groupby(named)] == ["easy", "medium", "hard", "extreme"]
