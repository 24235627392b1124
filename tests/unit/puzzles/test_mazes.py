import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqr_ray.puzzles.maze import OPEN, PATH, WALL
from eqr_ray.puzzles.task import task
from eqr_ray.types import InputError

FIELD = "#####\n#S  #\n### #\n#G  #\n#####"
MARKED = "#####\n#Soo#\n###o#\n#Goo#\n#####"
ROOM = "S  \n   \n  G"
five, three = task("maze5x5"), task("maze3x3")


def test_the_only_path_is_found_and_valid():
    question = five.parse(FIELD)
    answer = five.answer(question)
    assert answer is not None
    assert (answer == five.parse(MARKED)).all()
    assert five.is_valid(question, answer)
    assert len(five.shortest(question)) == 7


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("Soo\n  o\n  G", True),
        ("S  \no  \nooG", True),
        ("S  \n   \n  G", False),
        ("Soo\n   \n  G", False),
        ("Soo\no o\n  G", False),
        ("S o\noo \n  G", False),
        ("o  \n   \n  G", False),
        ("Soo\n  o\n  o", False),
        ("S# \no  \nooG", False),
    ],
)
def test_any_shortest_path_is_valid_and_nothing_else_is(text: str, valid: bool):
    assert three.is_valid(three.parse(ROOM), three.parse(text)) == valid


def test_a_longer_path_is_not_valid():
    block = task("maze4x4")
    question = block.parse("S G             ")
    assert not block.is_valid(question, block.parse("S G ooo         "))
    assert block.is_valid(question, block.parse("SoG             "))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("S#G" + "#" * 6, "no way"),
        ("S S" + " G    ", "2 starts"),
        (" " * 8 + "G", "0 starts"),
        ("S" + " " * 8, "0 goals"),
        ("SoG" + " " * 6, "marked already"),
        ("S G" + " " * 6, None),
    ],
)
def test_conflicts_say_what_is_wrong(text: str, says: str | None):
    conflict = three.conflicts(three.parse(text))
    assert (conflict is None) if says is None else (conflict is not None and says in conflict)


@pytest.mark.parametrize(("text", "says"), [("S  ", "got 3"), ("S" * 8 + "x", "got 'x' at character 9")])
def test_text_that_is_no_maze_is_bad_input(text: str, says: str):
    with pytest.raises(InputError, match=says):
        three.parse(text)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 2**32))
def test_shortest_paths_are_as_short_as_repeated_relaxation_finds(rows: int, cols: int, seed: int):
    rng = np.random.default_rng(seed)
    found = task(f"maze{rows}x{cols}")
    question = np.where(rng.random(rows * cols) < 0.3, WALL, OPEN).astype(np.uint8)
    start, goal = rng.choice(rows * cols, 2, replace=False).tolist()
    question[start], question[goal] = 2, 3
    far = np.where(question == WALL, 10**6, 10**5).reshape(rows, cols)
    far[divmod(start, cols)] = 0
    for _ in range(rows * cols):
        wide = np.pad(far, 1, constant_values=10**6)
        nearest = np.minimum.reduce([wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]])
        far = np.where(question.reshape(rows, cols) == WALL, far, np.minimum(far, nearest + 1))
    path = found.shortest(question)
    if path is None:
        assert far[divmod(goal, cols)] >= 10**5
        return
    assert len(path) - 1 == far[divmod(goal, cols)]
    answer = found.answer(question)
    assert answer is not None
    assert (answer == PATH).sum() == len(path) - 2
    assert found.is_valid(question, answer)
