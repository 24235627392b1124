"""`eqr-ray checkpoint measure`: figures of a card from a trace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from eqr_ray import Solver
from eqr_ray.config.trace import load_trace_config
from eqr_ray.model.checkpoint import bundled
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.task import task
from eqr_ray.runs.measure import as_markdown, measure_checkpoint
from eqr_ray.runs.trace import run_trace
from eqr_ray.types import InputError

LIMIT = 12


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("measure") / "trace"
    asked = {
        "puzzles": str(demo_path("sudoku6")),
        "out": str(out),
        "depth": 6,
        "breadth": 3,
        "limit": LIMIT,
        "address": "none",
    }
    run_trace(load_trace_config(None, (), asked))
    return str(out)


def test_a_row_agrees_with_a_live_run(trace: str) -> None:
    (measured,) = measure_checkpoint([trace], "the demo set")
    rows = {row.options: row for row in measured.rows}
    row = rows["--policy fixed --depth 4 --breadth 1"]
    records = list(read_puzzles(str(demo_path("sudoku6")), limit=LIMIT))
    solver = Solver("sudoku6", policy="fixed", depth=4, breadth=1, threads=1)
    solved = [
        answer.text == task(record.puzzle.task).format(record.answer)
        for answer, record in zip(solver.solve_records(iter(records)), records, strict=True)
    ]
    assert row.n == LIMIT
    assert row.exact_accuracy == pytest.approx(sum(solved) / LIMIT)
    assert row.nfe_mean == 4
    assert sum(n for _, n in row.by_source.values()) == LIMIT
    assert row.ci95[0] <= row.exact_accuracy <= row.ci95[1]
    assert as_markdown(measured).count("\n| --policy") == len(measured.rows)


def test_the_card_gets_the_figures_and_keeps_the_rest(trace: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(bundled()["sudoku6"], folder)
    before = json.loads((folder / "card.json").read_text())
    measure_checkpoint([trace], "the demo set", str(folder))
    after = json.loads((folder / "card.json").read_text())
    assert after["measured_on_traces"][:-1] == before["measured_on_traces"]
    assert after["measured_on_traces"][-1]["puzzles"] == "the demo set"
    assert after["measured_on_traces"][-1]["n"] == LIMIT
    measure_checkpoint([trace], "the demo set", str(folder))
    assert json.loads((folder / "card.json").read_text()) == after
    assert {key: after[key] for key in after if key != "measured_on_traces"} == {
        key: before[key] for key in before if key != "measured_on_traces"
    }


def test_figures_of_other_weights_are_refused(trace: str, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(bundled()["sudoku9"], folder)
    card = (folder / "card.json").read_bytes()
    with pytest.raises(InputError, match="recorded with other weights"):
        measure_checkpoint([trace], "the demo set", str(folder))
    assert (folder / "card.json").read_bytes() == card
