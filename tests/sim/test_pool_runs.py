"""A pool's verdicts under disturbance: replicas, order, loss and repetition change nothing."""

from __future__ import annotations

from disturbed import Disturbed

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.policy import policy_from
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.sim.made import made_trace
from eqr_ray.sim.replay import Playback, ReplayEngine, replay

LANDSCAPE = Landscape(hard_depth=12.0)
TRACE = made_trace(150, 32, 6, LANDSCAPE)
POOL = policy_from("pool", depth=32, breadth=6, mean=24, cohort=40)


def test_verdicts_do_not_depend_on_replicas_order_or_loss() -> None:
    alone = {v.puzzle_id: v.nfe for v in drive_local(Coordinator(POOL, 0), SimEngine(LANDSCAPE), TRACE.puzzles)}
    lost = 0
    for n_replicas, seed in ((1, 1), (4, 2), (9, 3)):
        # Room for one cohort and a half, so that the next one begins while the last members of the first still run.
        run = Disturbed(Coordinator(POOL, 0, slice_rows=16, open_limit=60), LANDSCAPE, seed, n_replicas, lose=0.05)
        found = run.verdicts(TRACE.puzzles)
        assert len(found) == len(TRACE)
        assert {v.puzzle_id: v.nfe for v in found} == alone
        lost += run.happened["lost"]
    assert lost > 0


def test_replay_equals_a_coordinated_run() -> None:
    found = {v.puzzle_id: v for v in drive_local(Coordinator(POOL, 0), ReplayEngine(TRACE), TRACE.puzzles)}
    fast = replay(POOL, Playback(TRACE))
    for p, puzzle in enumerate(TRACE.puzzles):
        verdict = found[puzzle.puzzle_id]
        assert (verdict.nfe, verdict.stop, verdict.confidence) == (fast.nfe[p], fast.stop[p], fast.confidence[p])
