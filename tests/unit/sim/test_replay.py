from __future__ import annotations

import numpy as np
import pytest

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.policy import policy_from
from eqr_ray.sim import Landscape
from eqr_ray.sim.made import made_trace
from eqr_ray.sim.replay import Playback, ReplayEngine, held_to, replay
from eqr_ray.sim.speed import engine_rates
from eqr_ray.types import InputError

TRACE = made_trace(80, 32, 6, Landscape(hard_depth=10.0, diverging=0.1))


@pytest.mark.parametrize("name", ["adaptive", "agreement", "balanced", "economy", "max", "fixed"])
def test_a_replay_equals_a_coordinated_run_on_the_replay_engine(name: str) -> None:
    policy = held_to(policy_from(name), TRACE.facts)
    found = {v.puzzle_id: v for v in drive_local(Coordinator(policy, 0), ReplayEngine(TRACE), TRACE.puzzles)}
    fast = replay(policy, Playback(TRACE))
    for p, puzzle in enumerate(TRACE.puzzles):
        verdict = found[puzzle.puzzle_id]
        assert (verdict.nfe, verdict.stop, verdict.confidence) == (fast.nfe[p], fast.stop[p], fast.confidence[p])


def test_a_policy_is_held_to_what_was_recorded_and_refused_beyond_it() -> None:
    held = held_to(policy_from("balanced"), TRACE.facts)
    assert (held.budget.depth, held.budget.breadth, held.budget.nfe) == (32, 6, 192)
    assert held_to(policy_from("fixed", depth=8, breadth=2), TRACE.facts) == policy_from("fixed", depth=8, breadth=2)
    with pytest.raises(InputError, match="was recorded with depth 32"):
        replay(policy_from("fixed", depth=33), Playback(TRACE))


def test_what_a_bench_times_are_the_rows_of_the_trace() -> None:
    small = TRACE.take(np.arange(6))
    assert [rate.unit for rate in engine_rates(small, (7, 64))] == ["rows", "rows"]
    assert all(rate.per_s > 0 for rate in engine_rates(small, (5,)))
