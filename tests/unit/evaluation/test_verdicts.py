from __future__ import annotations

import io
import math
from dataclasses import fields

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_verdicts import ANSWER, QUESTION, WRONG, record, row, unlabelled, verdict, vote

from eqr_ray.evaluation.verdicts import VERDICT_SCHEMA, VerdictRow, score, to_table
from eqr_ray.puzzles.task import task
from eqr_ray.types import StopReason

CONTRACT = [
    "puzzle_id", "source", "question", "answer", "prediction", "exact", "valid", "confidence", "votes", "distinct_answers",
    "breadth", "depth", "nfe", "residual", "stop",
]  # fmt: skip
NEEDS_A_LABEL = (
    "answer", "exact", "n_cells_right", "any_correct", "majority_exact", "top1_residual_exact", "top1_logit_exact", "correct_votes",
)  # fmt: skip


def test_the_first_columns_are_those_of_the_contract_in_its_order() -> None:
    assert VERDICT_SCHEMA.names[: len(CONTRACT)] == CONTRACT


def test_a_row_has_exactly_the_columns_of_the_schema() -> None:
    assert [column.name for column in fields(VerdictRow)] == VERDICT_SCHEMA.names
    assert list(row().as_dict()) == VERDICT_SCHEMA.names


def test_a_table_keeps_schema_and_values_with_and_without_rows() -> None:
    table = to_table([row(0), unlabelled(1)])
    assert table.schema.equals(VERDICT_SCHEMA)
    assert table.to_pylist() == [row(0).as_dict(), unlabelled(1).as_dict()]
    assert to_table([]).schema.equals(VERDICT_SCHEMA)


def test_a_right_answer_is_exact_and_valid() -> None:
    got = score(record(QUESTION, ANSWER), verdict(ANSWER, vote(ANSWER, 1)), task("sudoku4"))
    assert (got.exact, got.valid, got.prediction, got.answer) == (True, True, ANSWER, ANSWER)
    assert (got.n_cells, got.n_cells_right, got.any_correct) == (16, 16, True)


def test_a_wrong_answer_counts_its_right_cells() -> None:
    got = score(record(QUESTION, ANSWER), verdict(WRONG, vote(WRONG, 1)), task("sudoku4"))
    assert (got.exact, got.valid, got.n_cells_right, got.any_correct) == (False, False, 14, False)


def test_whatever_needs_a_label_is_null_without_one() -> None:
    got = score(record(QUESTION, None), verdict(ANSWER, vote(ANSWER, 1)), task("sudoku4")).as_dict()
    assert {name for name, value in got.items() if value is None} == {*NEEDS_A_LABEL, "rating"}
    assert got["valid"] is True


@pytest.mark.parametrize("residual", [math.inf, math.nan])
def test_a_residual_that_is_not_finite_is_null(residual: float) -> None:
    got = score(record(QUESTION, ANSWER), verdict(ANSWER, residual=residual), task("sudoku4"))
    assert got.residual is None


def test_the_prediction_marks_blanks_as_the_question_does() -> None:
    blank = ANSWER[:-1] + "."
    zeros = record(QUESTION.replace(".", "0"), ANSWER)
    assert score(zeros, verdict(blank), task("sudoku4")).prediction == ANSWER[:-1] + "0"
    assert score(record(QUESTION, ANSWER), verdict(blank), task("sudoku4")).prediction == blank


def test_another_shortest_path_of_a_maze_is_exact_and_a_longer_one_is_not() -> None:
    maze = "maze3x3"
    question, truth, other = "S       G", "Soo  o  G", "S  o  ooG"
    long = "Soooo  oG"
    asked = record(question, truth, maze)
    got = score(asked, verdict(other, vote(other, 1, name=maze), name=maze), task(maze))
    assert (got.exact, got.valid, got.any_correct) == (True, True, True)
    assert got.n_cells_right == 3
    assert score(asked, verdict(long, name=maze), task(maze)).exact is False


def test_a_known_rating_and_source_are_kept() -> None:
    got = score(record(QUESTION, ANSWER, rating=17.0, source="17_clue"), verdict(ANSWER), task("sudoku4"))
    assert (got.rating, got.source) == (17.0, "17_clue")


def test_columns_that_a_verdict_always_has_cannot_be_written_as_null() -> None:
    with pytest.raises(pa.ArrowInvalid, match="nfe"):
        pq.write_table(to_table([row(0, nfe=None)]), io.BytesIO())


def test_a_puzzle_that_crashed_has_no_prediction_and_is_wrong_whatever_stands_in_its_place() -> None:
    crashed = verdict(ANSWER, stop=StopReason.CRASHED, nfe=0, breadth=0, depth=0, votes=0, residual=math.inf)
    scored = score(record(QUESTION, ANSWER), crashed, task("sudoku4"))
    assert (scored.prediction, scored.exact, scored.valid, scored.n_cells_right) == (None, False, False, 0)
    assert (scored.any_correct, scored.majority_exact, scored.correct_votes) == (False, False, 0)
    unknown = score(record(QUESTION, None), crashed, task("sudoku4"))
    assert (unknown.exact, unknown.valid, unknown.n_cells_right) == (None, False, None)
