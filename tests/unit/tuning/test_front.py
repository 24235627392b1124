from __future__ import annotations

from eqr_ray.policy import PolicySpec
from eqr_ray.tuning.front import Candidate, chosen, front


def at(number: int, accuracy: float, nfe: float, feasible: bool = True) -> Candidate:
    return Candidate(number, PolicySpec("fixed", depth=number + 1, breadth=1), accuracy, nfe, feasible)


POINTS = [
    at(0, 0.9, 10),
    at(1, 0.99, 30),
    at(2, 0.985, 20),
    at(3, 0.98, 40),
    at(4, 0.9, 10),
    at(5, 0.991, 300),
    at(6, 1.0, 5, False),
]


def test_the_front_holds_what_nothing_dominates_cheapest_first() -> None:
    assert [own.number for own in front(POINTS)] == [0, 2, 1, 5]


def test_the_chosen_are_the_cheapest_within_their_loss() -> None:
    named = chosen(front(POINTS))
    assert {name: own.number for name, own in named.items()} == {"economy": 2, "balanced": 1, "max": 5}
    costs = [named[name].nfe_mean for name in ("economy", "balanced", "max")]
    assert costs == sorted(costs)


def test_nothing_is_chosen_from_nothing() -> None:
    assert chosen(front([at(0, 1.0, 1, False)])) == {}
