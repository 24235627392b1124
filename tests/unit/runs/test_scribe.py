from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from eqr_ray.config import EvaluateConfig
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import task
from eqr_ray.runs.folder import Folder
from eqr_ray.runs.manifest import read_manifest
from eqr_ray.runs.scribe import FLUSH_LEAST_S, FLUSH_MOST_S, Finished, Scribe
from eqr_ray.storage import Place
from eqr_ray.types import Puzzle, StopReason, Verdict

SOLUTION = np.array([1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1], np.uint8)


def finished(place: int, right: bool = True, labelled: bool = True) -> Finished:
    question = SOLUTION.copy()
    question[place % 16] = 0
    answer = SOLUTION if right else np.where(question == 0, SOLUTION % 4 + 1, SOLUTION).astype(np.uint8)
    puzzle = Puzzle(f"p{place}", "sudoku4", question)
    text = "".join(str(cell) for cell in question).replace("0", ".")
    record = Record(puzzle, "src", text, SOLUTION if labelled else None, None, place + 2, "f.csv")
    verdict = Verdict(puzzle.puzzle_id, answer, "majority", 0.9, 2, 1, 2, 8, 10, 0.1, StopReason.CONSENSUS, ())
    return Finished(place, record, verdict)


@contextmanager
def scribe(out: Path, resume: bool = False) -> Iterator[Scribe]:
    config = EvaluateConfig.model_validate({"puzzles": "f.csv", "out": str(out), "resume": resume})
    folder = Folder(config)
    with folder.held():
        folder.begin(None)
        yield Scribe(folder, task("sudoku4"))


def test_what_is_counted_is_written_and_a_part_is_in_the_order_of_the_input(tmp_path: Path):
    with scribe(tmp_path) as writer:
        writer.note([finished(2), finished(0, right=False), finished(1, labelled=False)])
        assert (writer.n_done, writer.nfe, writer.accuracy) == (3, 30, 0.5)
        assert writer.running.puzzles == 0
        writer.flush(1.0)
        assert writer.running.puzzles == 3
    (part,) = (tmp_path / "verdicts").glob("*.parquet")
    assert pq.read_table(part)["puzzle_id"].to_pylist() == ["p0", "p1", "p2"]
    manifest = read_manifest(Place(tmp_path))
    assert manifest is not None
    assert (manifest.rows, manifest.nfe, manifest.exact, manifest.scored) == (3, 30, 1, 2)


def test_a_flush_of_nothing_writes_no_part(tmp_path: Path):
    with scribe(tmp_path) as writer:
        writer.flush(1.0)
    assert not (tmp_path / "verdicts").exists()


def test_parts_come_at_least_seconds_and_at_most_minutes_apart(tmp_path: Path):
    with scribe(tmp_path) as writer:
        assert not writer.due(1e9)
        writer.note([finished(0)])
        assert not writer.due(FLUSH_LEAST_S - 0.1)
        assert writer.due(FLUSH_LEAST_S)
        writer.flush(1e6)
        writer.note([finished(1)])
        assert not writer.due(1e6 + FLUSH_MOST_S - 1)
        assert writer.due(1e6 + FLUSH_MOST_S)


def test_a_resumed_run_counts_what_earlier_sessions_wrote(tmp_path: Path):
    with scribe(tmp_path) as first:
        first.note([finished(0), finished(1, right=False)])
        first.flush(1.0)
    with scribe(tmp_path, resume=True) as second:
        assert (second.n_done, second.nfe, second.accuracy) == (2, 20, 0.5)
        second.note([finished(2)])
        assert second.accuracy == 2 / 3
