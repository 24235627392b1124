from __future__ import annotations

import numpy as np

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.policy import policy_from
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.sim.engine import digests_of
from eqr_ray.sim.landscape import attractor_key
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
    # On few blanks two attractors may decode to one board, so the label is told by its key.
    keys = attractor_key(digests_of([puzzle.cells for puzzle in TRACE.puzzles]), np.zeros(len(TRACE), np.int64))
    for own, key, code in zip(TRACE.keys, keys.tolist(), TRACE.right.tolist(), strict=True):
        assert (key in own.tolist()) == (code >= 0)
        assert code < 0 or int(own[code]) == key
    assert np.mean(TRACE.right >= 0) > 0.5


def test_what_ends_at_the_right_attractor_is_right() -> None:
    surely_right = (TRACE.q_halt[:, :, -1] > LANDSCAPE.q_right - 0.6) & ~TRACE.diverged
    assert surely_right.any()
    assert (TRACE.code[:, :, -1] == TRACE.right[:, None])[surely_right].all()
