"""The replay of a trace passes the engine contract, and agrees with live runs verdict by verdict."""

from __future__ import annotations

import numpy as np
import pytest
from engine_contract import EngineContract, slice_of
from trace_builders import QUESTIONS, bundled_trace, recorded, tiny_engine, verdict_facts

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.engine.factory import EngineSpec
from eqr_ray.model.checkpoint import fetch
from eqr_ray.policy import Policy, policy_from
from eqr_ray.sim.replay import Playback, ReplayEngine, replay
from eqr_ray.sim.trace import Trace
from eqr_ray.types import U8, Engine

CONTRACT = recorded(QUESTIONS, depth=12, breadth=40, seed=7)
POLICIES = {
    "fixed": policy_from("fixed", depth=12, breadth=3),
    "fixed by residual": policy_from("fixed", depth=9, breadth=6, nfe=40, select_by="top1_residual"),
    "adaptive": policy_from("adaptive", depth=12, breadth=6, residual_below=0.6, q_halt_above=-1.0),
    "adaptive, q alone": policy_from("adaptive", depth=12, breadth=6, residual_below=float("inf"), agree=3),
}


class TestReplayEngine(EngineContract):
    any_question = False

    def make_engine(self) -> ReplayEngine:
        return ReplayEngine(CONTRACT)

    def questions(self) -> list[U8]:
        return QUESTIONS


def test_orders_that_the_trace_does_not_hold_are_refused() -> None:
    for rows, until, why in (([(0, 40)], 5, "40 trajectories"), ([(0, 0)], 13, "depth 12")):
        with pytest.raises(ValueError, match=why):
            ReplayEngine(CONTRACT).run(slice_of(rows, until, QUESTIONS))
    with pytest.raises(ValueError, match="run seed 3"):
        ReplayEngine(recorded(QUESTIONS, depth=4, breadth=2, seed=3)).run(slice_of([(0, 0)], 4, QUESTIONS))


def agree(policy: Policy, trace: Trace, live_engine: Engine) -> int:
    """Run live, by the engine of the trace and by the fast replay; returns how many different stops and costs were seen."""
    seed = trace.facts.seed
    live = {v.puzzle_id: v for v in drive_local(Coordinator(policy, seed), live_engine, trace.puzzles)}
    again = {v.puzzle_id: v for v in drive_local(Coordinator(policy, seed), ReplayEngine(trace), trace.puzzles)}
    assert {name: verdict_facts(v) for name, v in live.items()} == {name: verdict_facts(v) for name, v in again.items()}
    fast = replay(policy, Playback(trace))
    for p, puzzle in enumerate(trace.puzzles):
        verdict = live[puzzle.puzzle_id]
        assert int(fast.answer_key[p]) == verdict.ballot[0].answer_key
        assert (float(fast.confidence[p]), int(fast.votes[p]), int(fast.breadth[p])) == (
            verdict.confidence,
            verdict.votes,
            verdict.breadth,
        )
        assert (int(fast.depth[p]), int(fast.nfe[p]), fast.stop[p]) == (verdict.depth, verdict.nfe, verdict.stop)
        assert np.float32(fast.residual[p]) == np.float32(verdict.residual)
    return len({(v.nfe, v.stop) for v in live.values()})


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_a_live_run_and_its_replay_agree_verdict_by_verdict(policy: Policy) -> None:
    trace = recorded(QUESTIONS, depth=12, breadth=6, seed=7)
    agree(policy, trace, tiny_engine())


def test_live_and_replay_agree_on_trained_weights() -> None:
    trace = bundled_trace(puzzles=4, depth=16, breadth=2)
    policies = (
        policy_from("adaptive", depth=16, breadth=2, first_depth=4),
        policy_from("adaptive", depth=16, breadth=2, q_halt_above=5.5, residual_below=0.015),
    )
    seen = sum(agree(policy, trace, EngineSpec(fetch("sudoku6"), "cpu")()) for policy in policies)
    assert seen > len(policies), "the policies must have told puzzles apart"
