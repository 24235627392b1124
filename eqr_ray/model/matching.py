"""Which checkpoint answers which puzzles.

Invariants, asserted in tests/unit/model/test_matching.py: a checkpoint answers its own task; one whose weights do not depend on the
size of the field answers smaller mazes as well, and none larger than it was trained on; everything else is an InputError that names both.
"""

from __future__ import annotations

import dataclasses

from eqr_ray.model.checkpoint import CheckpointFiles, bundled, fetch
from eqr_ray.model.spec import ModelSpec
from eqr_ray.puzzles.maze import MazeTask
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.types import InputError

_SIZELESS = ("none", "rope2d", "grid")
"""Position codes without weights of their own for each cell."""


def checkpoint_for(task: str, reference: str | None = None, where: str = "the input") -> CheckpointFiles:
    """Read the checkpoint for the puzzles of a task: the one named, or the bundled one that answers them.

    where: what holds the puzzles, for the message. Raises InputError when the one named answers other puzzles, or none is bundled.
    """
    if reference is not None:
        files = fetch(reference)
        spec = fitted(files.spec, task)
        if spec is None:
            raise InputError(
                f"checkpoint {files.name} answers {files.spec.task} puzzles, and {where} holds {task}; name another checkpoint"
            )
        return dataclasses.replace(files, spec=spec)
    have = {name: fetch(name) for name in bundled()}
    # Its own size first: a checkpoint made for the task beats one that merely can.
    for files in sorted(have.values(), key=lambda files: files.spec.task != task):
        spec = fitted(files.spec, task)
        if spec is not None:
            return dataclasses.replace(files, spec=spec)
    listed = ", ".join(f"{name} ({files.spec.task})" for name, files in have.items()) or "none"
    raise InputError(f"no bundled checkpoint answers the task {task} (bundled: {listed}); name one with --checkpoint")


def fitted(spec: ModelSpec, task: str) -> ModelSpec | None:
    """Return the spec with which a network answers a task: its own, that of a smaller field, or None."""
    if spec.task == task:
        return spec
    own, asked = find_task(spec.task), find_task(task)
    if not (isinstance(own, MazeTask) and isinstance(asked, MazeTask)):
        return None
    if spec.mixer != "attention" or spec.position not in _SIZELESS or not spec.random_init:
        return None
    if asked.rows > own.rows or asked.cols > own.cols:
        return None
    return dataclasses.replace(spec, task=task, rows=asked.rows, cols=asked.cols)
