"""Small training runs for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from eqr_ray.training.settings import TrainSettings
from eqr_ray.types import U8


def solved_grids(n: int, seed: int = 0) -> tuple[U8, U8]:
    """Return questions and answers of 4x4 Sudoku: relabellings of one grid with half of the cells blank."""
    rng = np.random.default_rng(seed)
    base = np.array([0, 1, 2, 3, 2, 3, 0, 1, 1, 0, 3, 2, 3, 2, 1, 0])
    answer = np.stack([rng.permutation(4)[base] + 1 for _ in range(n)]).astype(np.uint8)
    return np.where(rng.random(answer.shape) < 0.5, answer, 0).astype(np.uint8), answer


def settings(puzzles: Path, **changes: object) -> TrainSettings:
    """Return a run of 30 steps of a tiny network."""
    values: dict[str, object] = {
        "task": "sudoku4",
        "sources": [{"path": str(puzzles)}],
        "network": {"hidden": 16, "layers": 1, "heads": 2, "ff_width": 16, "position": "rope2d"},
        "evaluation": {"path": str(puzzles), "puzzles": 8, "depths": [1, 2], "every": 10},
        "batch": 8,
        "steps": 30,
        "segments": 4,
        "warmup": 5,
        "log_every": 5,
        "save_every": 10,
        "dtype": "float32",
    }
    return TrainSettings.model_validate(values | changes)


def written(settings: TrainSettings, path: Path) -> Path:
    """Write settings as a configuration file."""
    path.write_text(json.dumps(settings.model_dump(mode="json")))
    return path
