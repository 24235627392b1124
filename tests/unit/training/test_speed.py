from __future__ import annotations

from eqr_ray.model.checkpoint import fetch
from eqr_ray.training.speed import WARM_UP, Way, step_costs, trainer_for


def test_every_way_takes_the_steps_it_is_timed_for() -> None:
    ways = [Way("float32", False), Way("bfloat16", False)]
    trainers = [(way, trainer_for(fetch("sudoku6"), 4, "cpu", way)) for way in ways]
    costs = step_costs(trainers, steps=2, rounds=3)
    assert [trainer.steps_done for _, trainer in trainers] == [WARM_UP + 6] * 2
    assert [cost.way for cost in costs] == ways
    assert all(cost.seconds > 0 for cost in costs)
    assert costs[0].ratio == 1
