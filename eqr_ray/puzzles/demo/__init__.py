"""The bundled puzzles: made by our own generator, with answer and rating, easiest first."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from eqr_ray.types import InputError


def demo_path(task_name: str) -> Path:
    """Return the bundled CSV of a task, `sudoku9` or `sudoku6`; raise InputError for another."""
    folder = Path(str(files(__name__)))
    path = folder / f"{task_name}.csv"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.csv")))
        raise InputError(f"puzzles are bundled for {known}, got {task_name}; name one of these or give a file")
    return path
