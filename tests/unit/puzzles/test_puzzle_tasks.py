import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqr_ray.puzzles.board import Box
from eqr_ray.puzzles.sudoku import SudokuTask
from eqr_ray.puzzles.task import infer_task, task
from eqr_ray.types import InputError

SOLVED = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
QUESTION = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
NAMES = ["sudoku4", "sudoku6", "sudoku6-3x2", "sudoku9", "sudoku12", "sudoku16", "maze5x7", "maze30x30"]


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_found_by_its_own_name(name: str):
    assert task(name).name == name
    assert task(task(name).name) == task(name)


def test_the_usual_box_needs_no_suffix():
    assert task("sudoku6-2x3") == task("sudoku6")
    assert task("sudoku12-3x4") == task("sudoku12")
    boxes = {task(f"sudoku{side}").box for side in (4, 6, 9, 16)}
    assert boxes == {Box(2, 2), Box(2, 3), Box(3, 3), Box(4, 4)}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "sudoku",
        "sudoku7",
        "sudoku0",
        "sudoku9-2x3",
        "sudoku36",
        "maze0x3",
        "maze9",
        "chess",
        "maze5000x2",
        "sudoku9 ",
    ],
)
def test_an_unknown_name_is_bad_input(name: str):
    with pytest.raises(InputError, match="name"):
        task(name)


@pytest.mark.parametrize("name", NAMES)
def test_sizes_agree(name: str):
    found = task(name)
    assert found.n_cells == found.rows * found.cols
    assert found.vocab == (5 if found.family == "maze" else found.rows + 1)


@given(st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_parse_reads_what_format_writes(name: str, random):
    found = task(name)
    cells = np.array([random.randrange(found.vocab) for _ in range(found.n_cells)], np.uint8)
    assert (found.parse(found.format(cells)) == cells).all()
    assert found.format(found.parse(found.format(cells))) == found.format(cells)


def test_noughts_spaces_and_line_breaks_are_read():
    nine = task("sudoku9")
    block = "\n".join(QUESTION[start : start + 9] for start in range(0, 81, 9))
    assert (nine.parse(block) == nine.parse(QUESTION)).all()
    assert (nine.parse(QUESTION.replace(".", "0")) == nine.parse(QUESTION)).all()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("." * 80, "has 81 characters, got 80"),
        ("." * 82, "has 81 characters, got 82"),
        ("." * 80 + "A", "got 'A' at character 81"),
        ("x" + "." * 80, "got 'x' at character 1"),
        ("☃" + "." * 80, "got '☃' at character 1"),
        ("", "got 0"),
    ],
)
def test_text_that_is_no_board_is_bad_input(text: str, says: str):
    with pytest.raises(InputError, match=says):
        task("sudoku9").parse(text)


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ({18: 5, 26: 5}, "two 5s in row 3"),
        ({8: 7, 80: 7}, "two 7s in column 9"),
        ({30: 1, 40: 1}, "two 1s in box 5"),
        ({0: 1, 40: 1, 80: 1}, None),
    ],
)
def test_conflicts_name_symbol_and_unit(places: dict[int, int], says: str | None):
    cells = np.zeros(81, np.uint8)
    for cell, symbol in places.items():
        cells[cell] = symbol
    assert task("sudoku9").conflicts(cells) == says


@given(st.sampled_from([Box(2, 2), Box(2, 3), Box(3, 2)]), st.randoms(use_true_random=False))
def test_conflicts_are_seen_exactly_when_two_equal_cells_share_a_unit(box: Box, random):
    found = SudokuTask(box)
    cells = np.zeros(found.n_cells, np.uint8)
    for cell in random.sample(range(found.n_cells), 4):
        cells[cell] = random.randrange(1, found.vocab)
    given_cells = np.flatnonzero(cells).tolist()
    places = {cell: divmod(cell, box.side) for cell in given_cells}
    clash = any(
        cells[a] == cells[b]
        and (
            places[a][0] == places[b][0]
            or places[a][1] == places[b][1]
            or (places[a][0] // box.rows, places[a][1] // box.cols)
            == (places[b][0] // box.rows, places[b][1] // box.cols)
        )
        for a in given_cells
        for b in given_cells
        if a < b
    )
    assert (found.conflicts(cells) is not None) == clash


def test_only_a_full_board_that_keeps_rules_and_clues_is_valid():
    nine = task("sudoku9")
    question, answer = nine.parse(QUESTION), nine.parse(SOLVED)
    assert nine.is_valid(question, answer)
    assert not nine.is_valid(question, question)
    other = (answer % 9 + 1).astype(np.uint8)
    assert nine.is_valid(np.zeros(81, np.uint8), other)
    assert not nine.is_valid(question, other)
    broken = answer.copy()
    broken[2] = answer[3]
    assert not nine.is_valid(question, broken)


def test_a_board_is_drawn_with_its_boxes():
    six = task("sudoku6")
    lines = six.draw(six.parse("12" + "." * 34)).splitlines()
    assert lines[0] == "+-------+-------+"
    assert lines[1] == "| 1 2 . | . . . |"
    assert len(lines) == 6 + 4


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("." * 16, "sudoku4"),
        ("." * 36, "sudoku6"),
        (QUESTION, "sudoku9"),
        ("." * 255 + "G", "sudoku16"),
        ("#S #  #G ", "maze3x3"),
        ("#S G", "maze2x2"),
        ("#S#\n# #\n#G#\n###", "maze4x3"),
    ],
)
def test_a_task_is_inferred_from_a_question(text: str, name: str):
    assert infer_task(text).name == name


@pytest.mark.parametrize(
    ("text", "says"),
    [("." * 80, "81 characters, got 80"), ("." * 35, "36 characters, got 35"), ("#S  G", "square")],
)
def test_a_question_of_odd_length_shows_no_task(text: str, says: str):
    with pytest.raises(InputError, match=says):
        infer_task(text)
