"""What an endpoint lists: models with puzzles to try, policies, limits."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from eqr_ray import __version__
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.maze import MARKS, MazeTask
from eqr_ray.puzzles.maze_making import default_lengths, make_maze
from eqr_ray.puzzles.sudoku import SYMBOLS, SudokuTask
from eqr_ray.puzzles.task import Task
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.serving.schemas import ModelOut, ModelsResponse, PolicyLimits
from eqr_ray.serving.service import Service
from eqr_ray.serving.shelf import Model
from eqr_ray.types import InputError

N_EXAMPLES = 6


def models_response(service: Service) -> ModelsResponse:
    """Return everything that can be asked for."""
    shelf = service.shelf
    policies = []
    for name in shelf.policy_names:
        try:
            budget = shelf.policy(name).budget
        except InputError:
            # Beyond this endpoint's limits unless a smaller budget is given with it.
            continue
        featured = name in shelf.featured
        policies.append(
            PolicyLimits(name=name, depth=budget.depth, breadth=budget.breadth, nfe=budget.nfe, featured=featured)
        )
    return ModelsResponse(
        models=[_model_out(model) for model in shelf.models.values()],
        policies=policies,
        default_policy=shelf.default_policy,
        limits={key: float(value) for key, value in service.config.limits.model_dump().items()},
        version=__version__,
    )


def _model_out(model: Model) -> ModelOut:
    task = find_task(model.task)
    box = task.box if isinstance(task, SudokuTask) else None
    return ModelOut(
        name=model.name,
        task=model.task,
        family=task.family,
        rows=task.rows,
        cols=task.cols,
        box_rows=box.rows if box else 0,
        box_cols=box.cols if box else 0,
        symbols="." + SYMBOLS[: task.vocab - 1] if box else MARKS,
        parameters=model.parameters,
        sha256=model.sha256,
        nle_per_iteration=model.nle_per_iteration,
        examples=list(examples(task.name)),
    )


@lru_cache
def examples(task_name: str) -> tuple[str, ...]:
    """Return questions to try, easiest first: bundled ones, or mazes made with fixed seeds; none for other boards."""
    task: Task = find_task(task_name)
    try:
        if isinstance(task, MazeTask):
            return tuple(_maze(task, seed) for seed in range(N_EXAMPLES))
        records = list(read_puzzles(str(demo_path(task_name))))
    except InputError:
        return ()
    places = np.linspace(0, len(records) - 1, N_EXAMPLES).round().astype(int)
    return tuple(records[place].question for place in places.tolist())


def _maze(task: MazeTask, seed: int) -> str:
    return task.format(make_maze(task, np.random.default_rng(seed), *default_lengths(task)).question)
