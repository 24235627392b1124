"""The simulator passes the engine contract, and accounts for what it computes to the iteration."""

from __future__ import annotations

import numpy as np
from engine_contract import EngineContract, facts, slice_of

from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.types import U8, HaltRule, Status

QUESTIONS = list(np.random.default_rng(3).integers(0, 5, (6, 16), dtype=np.uint8))


class TestSimEngine(EngineContract):
    def make_engine(self) -> SimEngine:
        return SimEngine(Landscape(easy=0.3, hard_depth=6.0))

    def questions(self) -> list[U8]:
        return QUESTIONS


def test_parked_iterations_are_not_computed_again() -> None:
    engine, rows = SimEngine(), [(0, 0), (1, 0), (1, 1)]
    assert engine.run(slice_of(rows, 10, QUESTIONS)).nfe_computed == 30
    assert engine.run(slice_of(rows, 14, QUESTIONS)).nfe_computed == 12
    assert engine.run(slice_of(rows, 14, QUESTIONS)).nfe_computed == 0


def test_diverged_rows_are_reported_with_undefined_signals() -> None:
    engine = SimEngine(Landscape(easy=0.0, diverging=1.0, hard_depth=20.0))
    t = engine.run(slice_of([(p, i) for p in range(6) for i in range(4)], 400, QUESTIONS)).trajectories
    assert (t.status == Status.DIVERGED).any()
    broken = t.take(t.status == Status.DIVERGED)
    assert np.isposinf(broken.residual).all()
    assert np.isneginf(broken.q_halt).all()
    assert (broken.depth < 400).all()


def test_memory_is_given_back_for_retired_puzzles() -> None:
    engine = SimEngine()
    for first in range(0, 3000, 100):
        rows = [(p, 0) for p in range(first, first + 100)]
        engine.run(slice_of(rows, 2, QUESTIONS, retired=range(first - 100, first)))
        assert engine.n_puzzles == 100


def test_a_trajectory_that_settles_at_the_right_attractor_answers_the_solution() -> None:
    engine = SimEngine(Landscape(easy=1.0))
    rule = HaltRule(min_depth=3, residual_below=0.1, q_halt_above=0.0)
    result = engine.run(slice_of([(p, 0) for p in range(6)], 40, QUESTIONS, halt=rule))
    assert (result.trajectories.status == Status.CONVERGED).all()
    for p, key in zip(result.trajectories.puzzle.tolist(), result.trajectories.answer_key.tolist(), strict=True):
        assert np.array_equal(result.answers[key], engine.solution(QUESTIONS[p]))
    assert len(facts(result)) == 6
