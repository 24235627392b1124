from __future__ import annotations

from xml.etree import ElementTree

import pytest
from made_verdicts import ANSWER, QUESTION, WRONG

from eqr_ray.evaluation.boards import draw
from eqr_ray.evaluation.distributions import Board

PLAIN = Board("p0", "made", QUESTION, ANSWER, ANSWER, "sudoku4", 8, 1, 8, 1, 0.9, 0.1, "consensus", True, True)


def board(**changes: object) -> Board:
    values = {name: getattr(PLAIN, name) for name in Board.__slots__}
    return Board(**(values | changes))  # type: ignore[arg-type]


def marks(svg: str, style: str) -> int:
    return sum(part.attrib.get("class") == style for part in ElementTree.fromstring(svg).iter())


def test_clues_and_predictions_are_told_apart() -> None:
    svg = draw(board())
    assert (marks(svg, "clue"), marks(svg, "guess"), marks(svg, "bad")) == (5, 11, 0)


def test_as_many_cells_are_marked_as_are_wrong_and_each_shows_the_answer() -> None:
    svg = draw(board(prediction=WRONG))
    assert (marks(svg, "bad"), marks(svg, "wrong"), marks(svg, "truth")) == (2, 2, 2)


def test_without_an_answer_nothing_is_marked() -> None:
    assert marks(draw(board(prediction=WRONG, answer=None)), "bad") == 0


@pytest.mark.parametrize(("name", "lines"), [("sudoku6", 1 + 2 + 1 + 3), ("sudoku16", 5 + 5), ("sudoku9", 4 + 4)])
def test_boxes_of_every_shape_are_outlined(name: str, lines: int) -> None:
    side = int(name[6:])
    blank = "." * side * side
    svg = draw(board(question=blank, prediction=blank, answer=None, task=name))
    assert marks(svg, "box") == lines


def test_a_maze_shows_walls_path_ends_and_what_is_wrong() -> None:
    question, truth, got = "S  ##   G", "Soo##o  G", "So ##o  G"
    svg = draw(board(question=question, prediction=got, answer=truth, task="maze3x3", exact=False))
    assert (marks(svg, "path"), marks(svg, "missed"), marks(svg, "bad")) == (2, 1, 0)
    assert marks(svg, "wall") == 1, "two walls side by side are one rectangle"
    assert marks(svg, "end") == 4, "a circle and a letter for start and goal"
    astray = draw(board(question=question, prediction="Soo##oo G", answer=truth, task="maze3x3"))
    assert (marks(astray, "path"), marks(astray, "bad")) == (3, 1)


def test_a_board_of_too_many_cells_is_told_not_drawn() -> None:
    huge = "S" + " " * (200 * 200 - 2) + "G"
    text = draw(board(question=huge, prediction=huge, answer=None, task="maze200x200"))
    assert "200 x 200" in text
    assert "<svg" not in text


def test_an_identifier_that_is_markup_stays_text() -> None:
    svg = draw(board(puzzle_id='"><script>x</script>'))
    assert "<script" not in svg
    ElementTree.fromstring(svg)
