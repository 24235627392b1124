"""Drawing training puzzles: mixture, symmetries, curricula, reproducibility."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from eqr_ray.puzzles.generator import generate
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.training.data import Pairs
from eqr_ray.training.sampler import Drawn, Sampler
from eqr_ray.training.settings import TrainSettings
from eqr_ray.training.symmetries import vary


def puzzles(task: str, count: int, rated: bool = True) -> Pairs:
    records = list(generate(find_task(task), count, seed=4))
    return Pairs.of(
        np.stack([record.puzzle.cells for record in records]),
        np.stack([record.answer for record in records if record.answer is not None]),
        np.arange(count, dtype=np.float32) if rated else None,
    )


def sampler(task: str, *sets: Pairs, **changes: object) -> Sampler:
    values: dict[str, object] = {"task": task, "sources": [{"path": "unread"}] * len(sets)}
    return Sampler(sets, TrainSettings.model_validate(values | changes), torch.device("cpu"))


def rows(drawn: Drawn) -> list[bytes]:
    return [row.tobytes() for row in drawn.question.numpy()]


@pytest.mark.parametrize("task", ["sudoku4", "sudoku6", "sudoku6-3x2", "sudoku9", "maze9x9", "maze7x11"])
def test_every_draw_is_a_puzzle_with_its_answer(task: str) -> None:
    rules, pairs = find_task(task), puzzles(task, 10)
    drawn = sampler(task, pairs).draw(64, 0, 0.0)
    assert drawn.question.dtype == drawn.answer.dtype == torch.uint8
    for question, answer in zip(drawn.question.numpy(), drawn.answer.numpy(), strict=True):
        assert rules.is_valid(question, answer)
    assert len(set(rows(drawn)) - {row.tobytes() for row in pairs.question}) > 10


def test_a_draw_depends_on_the_seed_and_on_what_was_drawn_before_alone() -> None:
    pairs = puzzles("sudoku4", 20)
    first, again, later = (sampler("sudoku4", pairs).draw(16, drawn, 0.0) for drawn in (5, 5, 6))
    other = sampler("sudoku4", pairs, seed=1).draw(16, 5, 0.0)
    assert rows(first) == rows(again)
    assert rows(first) != rows(later)
    assert rows(first) != rows(other)


def test_symmetries_reach_every_grid_that_symmetry_joins_and_square_fields_have_eight() -> None:
    """The 288 grids of 4x4 fall in two classes of 96 and 192 (transposition included)."""
    generator = torch.Generator().manual_seed(0)
    for task, reached in (("sudoku4", (96, 192)), ("maze9x9", (8,)), ("maze9x11", (4,))):
        pairs = puzzles(task, 1)
        question, answer = (torch.from_numpy(np.repeat(x, 6000, 0)) for x in (pairs.question, pairs.answer))
        _, varied = vary(find_task(task), question, answer, generator)
        assert len(np.unique(varied.numpy(), axis=0)) in reached


def test_sources_are_drawn_by_their_weights() -> None:
    many, few = puzzles("sudoku4", 30), puzzles("sudoku4", 3)
    for weights, share in ((({}, {}), 3 / 33), (({"weight": 1}, {"weight": 3}), 3 / 4)):
        sources = [{"path": "unread", **weight} for weight in weights]
        mixed = sampler("sudoku4", many.take(slice(3, 30)), few, sources=sources, augment=False)
        expected = share if weights != ({}, {}) else 3 / 30
        known = {row.tobytes() for row in few.question}
        seen = sum(row in known for row in rows(mixed.draw(4000, 0, 0.0))) / 4000
        assert seen == pytest.approx(expected, abs=0.04)


def test_easy_puzzles_come_first_and_all_come_in_the_end() -> None:
    pairs = puzzles("sudoku4", 40)
    shuffled = pairs.take(np.random.default_rng(0).permutation(40))
    plan = sampler("sudoku4", shuffled, augment=False, difficulty={"share": 0.25, "until": 0.5})
    easiest = {row.tobytes() for row in pairs.question[:10]}
    assert set(rows(plan.draw(400, 0, 0.0))) == easiest
    assert len(set(rows(plan.draw(2000, 0, 0.25)))) == 25
    assert len(set(rows(plan.draw(2000, 0, 0.5)))) == 40
    unrated = sampler("sudoku4", puzzles("sudoku4", 40, rated=False), augment=False, difficulty={"share": 0.25})
    assert len(set(rows(unrated.draw(2000, 0, 0.0)))) == 40


def test_without_curriculum_all_puzzles_are_drawn_alike() -> None:
    counts = Counter(rows(sampler("sudoku4", puzzles("sudoku4", 8), augment=False).draw(8000, 0, 0.0)))
    assert len(counts) == 8
    assert max(counts.values()) < 1.2 * min(counts.values())


def test_revealed_cells_are_the_answers_and_fade() -> None:
    plan = sampler("sudoku4", puzzles("sudoku4", 20), reveal={"share": [1.0, 0.0], "most": 16, "until": 0.5})
    early, late = plan.draw(64, 0, 0.0), plan.draw(64, 0, 0.5)
    assert (early.question > 0).sum() > (late.question > 0).sum()
    shown = early.question > 0
    assert (early.question[shown] == early.answer[shown]).all()
    assert (early.question == 0).any(dim=1).all()
