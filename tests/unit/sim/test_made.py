from __future__ import annotations

import numpy as np

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.policy import policy_from
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.sim.made import made_trace
from eqr_ray.sim.replay import ReplayEngine

LANDSCAPE = Landscape(hard_depth=8.0, diverging=0.2)
TRACE = made_trace(40, 24, 4, LANDSCAPE)


def test_the_trace_replays_what_the_simulator_runs() -> None:
    policy = policy_from("adaptive", depth=24, breadth=4)
    live = {
        v.puzzle_id: (v.nfe, v.stop, v.confidence, v.answer.tobytes())
        for v in drive_local(Coordinator(policy, 0), SimEngine(LANDSCAPE), TRACE.puzzles)
    }
    again = {
        v.puzzle_id: (v.nfe, v.stop, v.confidence, v.answer.tobytes())
        for v in drive_local(Coordinator(policy, 0), ReplayEngine(TRACE), TRACE.puzzles)
    }
    assert live == again
    assert TRACE.diverged.any()


def test_the_label_is_the_right_attractor() -> None:
    engine = SimEngine(LANDSCAPE)
    for puzzle, answers, code in zip(TRACE.puzzles, TRACE.answers, TRACE.right.tolist(), strict=True):
        same = (answers == engine.solution(puzzle.cells)).all(axis=1)
        assert same.any() == (code >= 0)
        assert code < 0 or same[code]
    assert np.mean(TRACE.right >= 0) > 0.5
