from __future__ import annotations

from dataclasses import replace

import pytest

from eqr_ray.model.checkpoint import fetch
from eqr_ray.training.speed import WARM_UP, Way, step_costs, trainer_for
from eqr_ray.types import InputError


def test_every_way_takes_the_steps_it_is_timed_for() -> None:
    ways = [Way("float32", False), Way("bfloat16", False)]
    trainers = [(way, trainer_for(fetch("sudoku6"), 4, "cpu", way)) for way in ways]
    costs = step_costs(trainers, steps=2, rounds=3)
    assert [trainer.steps_done for _, trainer in trainers] == [WARM_UP + 6] * 2
    assert [cost.way for cost in costs] == ways
    assert all(cost.seconds > 0 for cost in costs)
    assert costs[0].ratio == 1


def test_a_network_that_would_be_timed_as_another_is_refused() -> None:
    files = fetch("sudoku6")
    published = replace(files, spec=replace(files.spec, prefix_tokens=16))
    with pytest.raises(InputError, match="a training recipe cannot describe"):
        trainer_for(published, 4, "cpu", Way("float32", False))
    with pytest.raises(InputError, match="puzzles are bundled for"):
        trainer_for(fetch("maze"), 4, "cpu", Way("float32", False))
