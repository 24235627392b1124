from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from eqr_ray.coordinator import Coordinator
from eqr_ray.policy import policy_from
from eqr_ray.runs.simulate import forecast, pacer
from eqr_ray.sim import Landscape
from eqr_ray.sim.cluster import Cluster, ClusterRun, play
from eqr_ray.sim.made import made_trace
from eqr_ray.sim.replay import Playback, ReplayEngine, replay

TRACE = made_trace(120, 32, 6, Landscape(hard_depth=10.0))
POLICY = policy_from("adaptive", depth=32, breadth=6)
ROUGH = Cluster(
    replicas=5,
    iterations_per_s=50.0,
    start_s=20.0,
    preemptions_per_hour=60.0,
    straggler_share=0.4,
    price_per_hour=2.0,
    seed=3,
)
STEADY = Cluster(replicas=2, iterations_per_s=200.0, speed_spread=0.0)


def run(cluster: Cluster) -> tuple[ClusterRun, dict[str, tuple[object, ...]]]:
    found: dict[str, tuple[object, ...]] = {}
    whole = ClusterRun()
    coordinator = Coordinator(POLICY, 0, slice_rows=32)
    for so_far, verdicts in play(cluster, coordinator, ReplayEngine(TRACE).sibling, TRACE.puzzles, pacer(32)):
        found |= {v.puzzle_id: (v.nfe, v.stop, v.confidence) for v in verdicts}
        whole = so_far
    return whole, found


def test_verdicts_are_those_of_an_undisturbed_run_whatever_is_taken_away() -> None:
    rough, found = run(ROUGH)
    fast = replay(POLICY, Playback(TRACE))
    assert rough.preemptions > 0
    assert rough.lost_slices > 0
    assert found == {p.puzzle_id: (fast.nfe[n], fast.stop[n], fast.confidence[n]) for n, p in enumerate(TRACE.puzzles)}
    assert rough.nfe_computed > rough.nfe == int(fast.nfe.sum())


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    first, again, other = run(ROUGH)[0], run(ROUGH)[0], run(replace(ROUGH, seed=4))[0]
    assert asdict(first) == asdict(again)
    assert first.wall_s != other.wall_s


def test_work_and_time_add_up_on_a_steady_cluster() -> None:
    steady, _ = run(replace(STEADY, slice_overhead_s=0.0))
    assert steady.busy_s == pytest.approx(steady.nfe / 200.0)
    assert steady.paid_s == pytest.approx(2 * steady.wall_s)
    assert steady.busy_s / 2 <= steady.wall_s < steady.busy_s
    assert run(replace(STEADY, replicas=4))[0].wall_s < steady.wall_s


def test_starting_is_paid_for() -> None:
    late, soon = run(replace(STEADY, start_s=100.0, start_spread=0.0))[0], run(STEADY)[0]
    # Who starts first decides who gets which rows, so the rest of the run may differ by a slice.
    assert late.wall_s == pytest.approx(100 + soon.wall_s, abs=1.0)
    assert late.paid_s == pytest.approx(200 + soon.paid_s, abs=2.0)


def test_a_forecast_repeats_the_trace_and_keeps_its_interval() -> None:
    once, thrice = forecast(TRACE, POLICY, STEADY), forecast(TRACE, POLICY, STEADY, n_puzzles=360)
    assert (once.puzzles, thrice.puzzles) == (120, 360)
    assert once.exact_accuracy == thrice.exact_accuracy == replay(POLICY, Playback(TRACE)).accuracy
    assert once.exact_accuracy_ci95 == thrice.exact_accuracy_ci95
    assert thrice.nfe_mean == pytest.approx(once.nfe_mean)
    assert thrice.wall_s > 2 * once.wall_s


def test_a_cluster_without_replicas_is_refused() -> None:
    with pytest.raises(ValueError, match="replicas must be at least 1"):
        Cluster(replicas=0)
