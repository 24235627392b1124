import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import first_task, read_lines, read_puzzles
from eqr_ray.puzzles.generator import generate
from eqr_ray.puzzles.opening import CHUNK, MAX_LINE, split
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.solver import solve_all
from eqr_ray.puzzles.task import task
from eqr_ray.puzzles.writing import csv_lines, write_puzzles
from eqr_ray.types import InputError, Puzzle

Q = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
A = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
HEADER = "source,question,answer,rating\n"


def put(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def seen(record: Record) -> tuple[object, ...]:
    answer = None if record.answer is None else record.answer.tobytes()
    return record.puzzle.puzzle_id, record.puzzle.cells.tobytes(), record.source, record.question, answer, record.rating


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("name", ["sudoku6", "maze9x9"])
def test_every_format_is_read_back_as_it_was_written(tmp_path: Path, ending: str, name: str):
    made = list(generate(task(name), 25, seed=2))
    path = str(tmp_path / f"made{ending}")
    assert write_puzzles(path, made) == 25
    assert [seen(record) for record in read_puzzles(path)] == [seen(record) for record in made]
    assert [entry.name for entry in tmp_path.iterdir()] == [f"made{ending}"]


def test_text_lines_comments_and_windows_line_ends_are_read(tmp_path: Path):
    path = put(tmp_path, "mine.txt", f"# a comment\r\n{Q} and a remark\r\n\r\n{Q.replace('.', '0')}")
    first, second = read_puzzles(path)
    assert (first.question, first.line, first.source, first.answer) == (Q, 2, "mine", None)
    assert (second.question, second.line) == (Q.replace(".", "0"), 4)
    assert (first.puzzle.cells == second.puzzle.cells).all()


def test_repeats_are_numbered_and_ids_are_the_digest_of_the_question():
    ids = [record.puzzle.puzzle_id for record in read_lines([Q, "." * 81, Q, Q], "typed")]
    digest = f"{Puzzle('', 'sudoku9', task('sudoku9').parse(Q)).draw_key:016x}"
    assert [ids[0], ids[2], ids[3]] == [digest, f"{digest}#2", f"{digest}#3"]
    assert len(set(ids)) == 4


def test_a_table_needs_only_its_question_column_in_any_order(tmp_path: Path):
    (record,) = read_puzzles(put(tmp_path, "a.csv", f"Answer,note,question\n{A},hm,{Q}\n"))
    assert record.answer is not None
    assert (record.source, record.rating) == ("a", None)
    (marked,) = read_puzzles(put(tmp_path, "b.csv", f"\ufeff{HEADER}royle,{Q},,1.5\n"))
    assert (marked.source, marked.rating, marked.answer) == ("royle", 1.5, None)


def test_a_text_file_that_begins_with_a_table_header_is_a_table(tmp_path: Path):
    assert [r.rating for r in read_puzzles(put(tmp_path, "table.txt", f"{HEADER}x,{Q},,7\n"))] == [7.0]


def test_a_folder_is_read_in_the_order_of_its_names_with_ids_across_files(tmp_path: Path):
    put(tmp_path, "b.txt", Q)
    put(tmp_path, "a.csv", f"{HEADER},{Q},,\n")
    put(tmp_path, "c.txt.gz", gzip.compress(Q.encode()))
    put(tmp_path, "notes.md", "not a puzzle")
    put(tmp_path, ".hidden.csv", "not a puzzle")
    records = list(read_puzzles(str(tmp_path)))
    assert [record.source for record in records] == ["a", "b", "c"]
    assert [record.puzzle.puzzle_id[16:] for record in records] == ["", "#2", "#3"]


def test_a_uri_is_read_as_its_path_is(tmp_path: Path):
    path = put(tmp_path, "a.txt", Q)
    assert [seen(r) for r in read_puzzles(f"file://{path}")] == [seen(r) for r in read_puzzles(path)]
    assert [r.source for r in read_puzzles(f"file://{tmp_path}")] == ["a"]


def test_a_limit_stops_before_what_follows_is_read(tmp_path: Path):
    path = put(tmp_path, "a.txt", f"{Q}\n{Q}\nnonsense")
    assert len(list(read_puzzles(path, limit=2))) == 2
    with pytest.raises(InputError, match="line 3"):
        list(read_puzzles(path, limit=3))


def test_the_task_is_taken_from_the_first_question_unless_given(tmp_path: Path):
    path = put(tmp_path, "six.txt", "." * 36)
    assert first_task(path).name == "sudoku6"
    assert next(read_puzzles(path, task("sudoku6-3x2"))).puzzle.task == "sudoku6-3x2"
    with pytest.raises(InputError, match="has 81 characters, got 36"):
        next(read_puzzles(path, task("sudoku9")))


def test_mazes_are_read_from_lines_and_a_mistyped_wall_is_not_taken_for_a_comment(tmp_path: Path):
    line = "####S ##G  ##   "
    path = put(tmp_path, "maze.txt", f"# four by four\n{line}\n{line[:3]}x{line[4:]}\n")
    records = read_puzzles(path)
    assert next(records).puzzle.task == "maze4x4"
    with pytest.raises(InputError, match=r"line 3: .*got 'x' at character 4"):
        next(records)


def test_a_puzzle_with_several_solutions_is_accepted():
    (record,) = read_lines(["." * 81], "typed")
    assert record.answer is None


def test_a_stream_may_hold_a_table():
    made = list(generate(task("sudoku6"), 5, seed=1))
    assert [seen(r) for r in read_lines(csv_lines(made), "stdin")] == [seen(r) for r in made]


def binary(folder: Path) -> str:
    return put(folder, "bad.csv", bytes(range(256)) * 20)


def cut_gzip(folder: Path) -> str:
    packed = gzip.compress(demo_path("sudoku9").read_bytes())
    return put(folder, "bad.csv.gz", packed[: len(packed) // 2])


def cut_parquet(folder: Path) -> str:
    path = folder / "bad.parquet"
    pq.write_table(pa.table({"question": [Q] * 100}), path)
    return put(folder, "bad.parquet", path.read_bytes()[:200])


def other_parquet(folder: Path) -> str:
    pq.write_table(pa.table({"puzzle": [Q]}), folder / "bad.parquet")
    return str(folder / "bad.parquet")


def text(name: str, content: str | bytes) -> Callable[[Path], str]:
    return lambda folder: put(folder, name, content)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: str(folder / "bad.csv"), "bad.csv does not exist; name"),
        (lambda folder: str(folder), "holds no puzzle files; put"),
        (lambda folder: "", "a puzzle file has a name"),
        (lambda folder: "nowhere://x/y", "cannot be opened"),
        (text("bad.csv", ""), "bad.csv has no puzzles; give"),
        (text("bad.csv", HEADER), "bad.csv has no puzzles; give"),
        (text("bad.txt", "\n# nothing here\n"), "bad.txt has no puzzles; give"),
        (binary, "bad.csv, line 1: a puzzle file is text, got a NUL byte"),
        (text("bad.txt", b"\xe9" * 81), "bad.txt, line 1: a puzzle file is UTF-8 text, got byte 0xe9"),
        (text("bad.txt", f"{Q}\n{Q}\n{Q[:80]}\n"), "bad.txt, line 3: a sudoku9 question has 81 characters, got 80"),
        (text("bad.txt", f"{Q}\n{Q[:80]}x\n"), "bad.txt, line 2: a sudoku9 puzzle is written with 1-9 .* got 'x'"),
        (text("bad.txt", "55" + "." * 79), "bad.txt, line 1: .* got two 5s in row 1"),
        (text("bad.txt", f"{Q}\n{'.' * 36}"), "bad.txt, line 2: a sudoku9 question has 81 characters, got 36"),
        (text("bad.csv", f"quiz,solution\n{Q},{A}\n"), "bad.csv, line 1: a puzzle table has a column question, got"),
        (text("bad.csv", Q), "bad.csv, line 1: a puzzle table has a column question, got"),
        (text("bad.csv", f"{HEADER}x,{Q}\n"), "bad.csv, line 2: a line has 4 columns .* got 2"),
        (text("bad.csv", f"{HEADER}x,{Q},,much\n"), "bad.csv, line 2: a rating is a number, got 'much'"),
        (text("bad.csv", f"{HEADER}x,{Q},,nan\n"), "bad.csv, line 2: a rating is a number, got 'nan'"),
        (text("bad.csv", f'{HEADER}x,"{Q},,1\n'), "bad.csv, line 2: a CSV line is well formed"),
        (text("bad.csv", f"{HEADER}x,{Q},{A[::-1]},\n"), "line 2: an answer keeps what .* row 1, column 1"),
        (text("bad.csv", f"{HEADER}x,{Q},{Q},\n"), "line 2: an answer solves its question"),
        (text("bad.csv", f"{HEADER}x,{'.' * 81},{'1' * 81},\n"), "line 2: .* two 1s in row 1"),
        (text("bad.csv", f"{HEADER}x,{Q},{A[:80]},\n"), "line 2: in the answer, .* got 80"),
        (text("bad.csv.gz", "plain text"), "bad.csv.gz is no whole gzip file"),
        (text("bad.csv", gzip.compress(b"x")), "bad.csv, line 1: .* end in .gz"),
        (cut_gzip, "bad.csv.gz is no whole gzip file"),
        (cut_parquet, "bad.parquet is no whole Parquet file"),
        (other_parquet, "bad.parquet: a puzzle table has a column question, got 'puzzle'"),
        (text("bad.txt", b"." * (MAX_LINE + CHUNK)), "bad.txt, line 1 .* a line has at most"),
        (text("bad.txt", "S#G######"), "bad.txt, line 1: .* no way from the start to the goal"),
    ],
)
def test_bad_input_is_told_in_one_sentence(tmp_path: Path, make: Callable[[Path], str], says: str):
    with pytest.raises(InputError, match=says) as caught:
        list(read_puzzles(make(tmp_path)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_endless_line_is_refused_without_being_read_whole():
    class Endless:
        served = 0

        def read(self, size: int) -> bytes:
            self.served += size
            return b"." * size

    stream = Endless()
    with pytest.raises(InputError, match="at most"):
        next(split(stream, "endless"))
    assert stream.served <= MAX_LINE + 2 * CHUNK


def test_lines_do_not_depend_on_where_chunks_end():
    lines = [b"a" * (CHUNK - 3), b"b" * 7, b"", b"c" * (2 * CHUNK), b"d"]
    assert list(split(io.BytesIO(b"\n".join(lines)), "x")) == lines


def test_a_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path: Path):
    path = put(tmp_path, "out.csv", "earlier")

    def breaks():
        yield next(generate(task("sudoku4"), 1, seed=0))
        raise InputError("the source ended badly")

    with pytest.raises(InputError, match="ended badly"):
        write_puzzles(path, breaks())
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("out.csv", "earlier")]


@pytest.mark.parametrize("name", ["out.xlsx", "missing/out.csv"])
def test_a_place_that_cannot_be_written_is_bad_input(tmp_path: Path, name: str):
    with pytest.raises(InputError, match=r"written"):
        write_puzzles(str(tmp_path / name), generate(task("sudoku4"), 1, seed=0))


@pytest.mark.parametrize(("name", "count"), [("sudoku9", 60), ("sudoku6", 200)])
def test_bundled_puzzles_are_unique_rated_and_go_from_easy_to_hard(name: str, count: int):
    records = list(read_puzzles(str(demo_path(name))))
    assert len({record.question for record in records}) == len(records) == count
    solved = solve_all(np.stack([record.puzzle.cells for record in records]), task(name).box)
    assert (solved.counts == 1).all()
    assert solved.guesses.tolist() == [record.rating for record in records] == sorted(r.rating for r in records)
    assert all(record.answer is not None for record in records)
    if name == "sudoku9":
        assert {record.source for record in records} == {"easy", "medium", "hard", "extreme"}


def test_a_task_without_bundled_puzzles_is_bad_input():
    with pytest.raises(InputError, match="sudoku6, sudoku9"):
        demo_path("sudoku16")
