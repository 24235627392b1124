from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from eqr_ray.config.tune import TuneConfig
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.record import Record
from eqr_ray.tuning.dynamics import DynamicsPoint, run_dynamics, survivors
from eqr_ray.types import InputError


def config(out: Path, **own: object) -> TuneConfig:
    dynamics = {
        "puzzles": str(demo_path("sudoku6")),
        "first_puzzles": 2,
        "factor": 2,
        "rungs": 3,
        "depth": 4,
        "breadth": 2,
        **own,
    }
    return TuneConfig.model_validate({"out": str(out), "trials": 8, "dynamics": dynamics})


def test_later_rungs_see_the_puzzles_of_the_earlier_first(tmp_path: Path) -> None:
    seen: list[tuple[int, list[str]]] = []

    def measure(point: DynamicsPoint, records: Sequence[Record]) -> tuple[float, float]:
        seen.append((point.number, [record.puzzle.puzzle_id for record in records]))
        return 1.0 - abs(point.beta - 0.1), 10.0 + point.damping

    last = run_dynamics(config(tmp_path), measure)
    sizes = [len(ids) for _, ids in seen]
    assert sizes == [2] * 8 + [4] * 4 + [8] * 2
    longest = seen[-1][1]
    assert all(ids == longest[: len(ids)] for _, ids in seen)
    assert [point.puzzles for point in last] == [8, 8]
    assert [row["number"] for row in json.loads((tmp_path / "dynamics.json").read_text())] == [
        point.number for point in last
    ]


def test_survivors_are_not_dominated_by_those_dropped() -> None:
    points = [
        DynamicsPoint(n, 0, 1, 0, 4, accuracy, nfe)
        for n, (accuracy, nfe) in enumerate([(0.5, 5), (0.9, 50), (0.8, 60), (0.4, 6)])
    ]
    assert [point.number for point in survivors(points, 2)] == [1, 0]


def test_too_few_puzzles_for_the_last_rung_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the last rung needs"):
        run_dynamics(config(tmp_path, first_puzzles=10_000), lambda point, records: (1.0, 1.0))


def test_a_live_trial_of_the_dynamics_is_scored(tmp_path: Path) -> None:
    own = config(tmp_path, rungs=1, first_puzzles=2, depth=10)
    found = run_dynamics(own.model_copy(update={"trials": 1}))
    assert found[0].puzzles == 2
    assert 0 <= found[0].accuracy <= 1
    assert 0 < found[0].nfe_mean <= 20
