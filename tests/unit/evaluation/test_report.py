from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_verdicts import folder, row, unlabelled, wrong

from eqr_ray.evaluation.report import write_report
from eqr_ray.evaluation.summary import CheckpointFacts, RunFacts, Running
from eqr_ray.evaluation.verdicts import VerdictRow, to_table
from eqr_ray.puzzles.task import task
from eqr_ray.types import InputError

HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.example/x onerror=y>{{ 7*7 }}\u202e"
VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Notes every tag and attribute, and whether tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def finished(path: Path, rows: list[VerdictRow]) -> Path:
    """Write the folder of an evaluation that ended well."""
    folder(path, rows)
    running = Running()
    running.add(to_table(rows))
    facts = RunFacts(
        99, 42, 2.0, 3, 0, CheckpointFacts("sudoku4", "ab" * 32, 1000), {"name": "fixed"}, 5, "0.1.0", "cpu"
    )
    (path / "summary.json").write_text(running.summary(facts).to_json())
    (path / "config.json").write_text(json.dumps({"puzzles": HOSTILE, "seed": 5}))
    return path


def page(path: Path) -> str:
    return Path(write_report(str(path))).read_text(encoding="utf-8")


def test_the_headline_states_accuracy_interval_and_denominator(tmp_path: Path) -> None:
    text = page(finished(tmp_path, [row(n) for n in range(8)] + [wrong(8), wrong(9)]))
    assert "80.0 %" in text
    assert "exactly right: 8 of 10 puzzles" in text
    assert "95 % interval 49.0 % to 94.3 %" in text


@pytest.mark.parametrize(
    "rows",
    [
        [row()],
        [wrong()],
        [unlabelled()],
        [row(0), unlabelled(1)],
        [row(0, confidence=None, residual=None, source=None)],
    ],
    ids=["one right", "one wrong", "no label", "some labels", "nothing known"],
)
def test_a_page_of_few_verdicts_is_whole(tmp_path: Path, rows: list[VerdictRow]) -> None:
    parsed = Page(page(finished(tmp_path, rows)))
    assert parsed.tags.count("h1") == 1
    assert "svg" in parsed.tags


def test_the_page_names_no_resource_outside_itself_and_has_no_script(tmp_path: Path) -> None:
    text = page(finished(tmp_path, [row(0), wrong(1), unlabelled(2)]))
    parsed = Page(text)
    assert not {"script", "img", "iframe", "object", "embed", "form"} & set(parsed.tags)
    links = [value for name, value in parsed.attributes if name in {"src", "href", "xlink:href", "srcset", "action"}]
    assert links == ["data:,"]
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", text.replace("http://evil.example", ""))


def test_hostile_text_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    text = page(finished(tmp_path, [row(0, source=HOSTILE), wrong(1, puzzle_id=HOSTILE, source=HOSTILE, stop=HOSTILE)]))
    parsed = Page(text)
    assert not {"script", "img"} & set(parsed.tags)
    assert "&lt;script&gt;" in text
    assert "{{ 7*7 }}" in text


def test_without_labels_it_says_so_and_states_validity(tmp_path: Path) -> None:
    text = page(finished(tmp_path, [unlabelled(0), unlabelled(1, valid=False)]))
    assert "obey the rules and the clues: 1 of 2 puzzles" in text
    assert "No answers are known" in text
    assert "oracle" not in text


def test_a_run_that_was_cut_off_is_reported_as_such(tmp_path: Path) -> None:
    text = page(folder(tmp_path, [row(0), wrong(1)], parts=2))
    assert "has not finished" in text
    assert "1 of 2 puzzles" in text


def test_a_summary_of_fewer_verdicts_than_there_are_is_not_believed(tmp_path: Path) -> None:
    finished(tmp_path, [row(0)])
    write_more = folder(tmp_path / "more", [row(1)]) / "verdicts" / "part-00000.parquet"
    write_more.rename(tmp_path / "verdicts" / "part-00001.parquet")
    assert "has not finished" in page(tmp_path)


def test_a_finished_run_shows_its_facts(tmp_path: Path) -> None:
    text = page(finished(tmp_path, [row(0, nfe=10)]))
    assert "has not finished" not in text
    assert "policy fixed" in text
    assert "<dd>420.0" in text, "layers a puzzle: 10 iterations of 42 layers"


@pytest.mark.parametrize("name", ["sudoku6", "sudoku16", "maze5x5"])
def test_boards_of_every_task_are_drawn(tmp_path: Path, name: str) -> None:
    kind = task(name)
    blank = "S" + " " * 23 + "G" if kind.family == "maze" else "." * kind.n_cells
    text = page(finished(tmp_path, [unlabelled(0, question=blank, prediction=blank, valid=False, task=name)]))
    assert f'aria-label="{name} board p0"' in text


def test_many_verdicts_make_a_page_of_bounded_size(tmp_path: Path) -> None:
    rows = [
        row(n, nfe=1 + n * 7919 % 8192, source=f"source {n % 1000}", residual=1e-6 * (n + 1)) for n in range(20_000)
    ]
    text = page(finished(tmp_path, rows))
    assert len(text) < 200_000
    assert "and 960 more sources" in text


def test_all_but_one_right_is_not_rounded_to_all(tmp_path: Path) -> None:
    text = page(finished(tmp_path, [row(n) for n in range(2999)] + [wrong(2999)]))
    assert "99.97 %" in text
    assert 'class="big">100.0' not in text


def test_verdicts_of_an_interrupted_write_are_left_out(tmp_path: Path) -> None:
    folder(tmp_path, [row(0)])
    (tmp_path / "verdicts" / ".part-00001.parquet.torn-1").write_bytes(b"PAR1 half")
    assert "1 of 1 puzzles" in page(tmp_path)


def empty(path: Path) -> None:
    (path / "verdicts").mkdir()


def torn(path: Path) -> None:
    folder(path, [row(0)])
    (path / "verdicts" / "part-00000.parquet").write_bytes(b"PAR1 not really")


def foreign(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (path / "verdicts").mkdir()
    pq.write_table(pa.table({"name": ["x"]}), path / "verdicts" / "part-00000.parquet")


def bad_summary(path: Path) -> None:
    finished(path, [row(0)])
    (path / "summary.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (empty, "holds no verdicts"),
        (torn, "part-00000.parquet"),
        (foreign, "part-00000.parquet"),
        (bad_summary, "summary.json"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_by_name(tmp_path: Path, damage, words: str) -> None:  # type: ignore[no-untyped-def]
    damage(tmp_path)
    with pytest.raises(InputError, match=words):
        write_report(str(tmp_path))
    assert not (tmp_path / "report.html").exists()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no verdicts"):
        write_report(str(tmp_path / "nowhere"))


def test_a_puzzle_that_crashed_is_counted_named_and_drawn(tmp_path: Path) -> None:
    gone = replace(
        row(1), prediction=None, exact=False, valid=False, nfe=0, n_cells_right=0, residual=None, stop="crashed"
    )
    text = page(finished(tmp_path, [row(0), gone]))
    Page(text)
    assert "crashed" in text
    assert "has no prediction and counts as wrong" in text
    assert json.loads((tmp_path / "summary.json").read_text())["exact_accuracy"] == 0.5
