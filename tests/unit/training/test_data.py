"""Which puzzles of a file a run trains on and is judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eqr_ray.puzzles.arrays import read_arrays
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.generator import generate
from eqr_ray.puzzles.task import task
from eqr_ray.puzzles.writing import write_puzzles
from eqr_ray.training.data import load_evaluation, load_pairs, load_sets
from eqr_ray.training.settings import EvaluationSettings, SourceSettings
from eqr_ray.types import InputError


@pytest.fixture(params=["puzzles.csv", "puzzles.npz"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Thirty puzzles, rated 0 to 29; the first twenty are of source `old`, the others of `new`."""
    lines = ["source,question,answer,rating"]
    rules = task("sudoku4")
    for n, record in enumerate(generate(rules, 30, seed=1)):
        assert record.answer is not None
        lines.append(f"{'old' if n < 20 else 'new'},{record.question},{rules.format(record.answer)},{n}")
    (tmp_path / "puzzles.csv").write_text("\n".join(lines) + "\n")
    path = str(tmp_path / request.param)
    if path.endswith(".npz"):
        write_puzzles(path, read_puzzles(str(tmp_path / "puzzles.csv")))
        assert read_arrays(path, rules).source is not None
    return path


@pytest.mark.parametrize(
    ("settings", "limit", "kept"),
    [
        ({}, None, range(30)),
        ({"skip": 4}, 3, range(4, 7)),
        ({"only": ["new"]}, None, range(20, 30)),
        ({"only": ["new"], "skip": 2}, 5, range(22, 27)),
        ({"min_rating": 5, "max_rating": 8}, None, range(5, 9)),
    ],
)
def test_settings_choose_the_puzzles(file: str, settings: dict[str, object], limit: int | None, kept: range) -> None:
    pairs = load_pairs(SourceSettings.model_validate({"path": file, **settings}), "sudoku4", limit)
    assert pairs.rating.tolist() == list(kept)
    assert all(task("sudoku4").is_valid(q, a) for q, a in zip(pairs.question, pairs.answer, strict=True))
    assert {pairs.names[k] for k in np.unique(pairs.source)} == {"old" if n < 20 else "new" for n in kept}


def test_sources_of_one_file_are_what_each_is_alone(file: str) -> None:
    sources = [SourceSettings(path=file, only=("new",), skip=2), SourceSettings(path=file, max_rating=8)]
    for together, source in zip(load_sets(sources, "sudoku4"), sources, strict=True):
        alone = load_pairs(source, "sudoku4")
        assert together.rating.tolist() == alone.rating.tolist()
        assert (together.question == alone.question).all()


def test_a_run_is_judged_by_the_first_puzzles_or_the_first_of_each_source(file: str) -> None:
    first = load_evaluation(EvaluationSettings(path=file, puzzles=7), "sudoku4")
    each = load_evaluation(EvaluationSettings(path=file, per_source=3), "sudoku4")
    assert first is not None
    assert each is not None
    assert first.rating.tolist() == list(range(7))
    assert each.rating.tolist() == [0, 1, 2, 20, 21, 22]
    assert load_evaluation(EvaluationSettings(), "sudoku4") is None


def test_a_file_of_which_nothing_is_left_is_refused(file: str) -> None:
    with pytest.raises(InputError, match="is left of"):
        load_pairs(SourceSettings(path=file, min_rating=99), "sudoku4")
