"""What a policy would cost: a trace, or a made landscape, played on a cluster with a virtual clock.

Invariants, asserted in tests/cli/test_trace_commands.py: accuracy and iterations are those of a replay of the same
puzzles; more puzzles than the trace holds repeat it in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from eqr_ray.coordinator import Coordinator
from eqr_ray.distributed.pacing import Pace, paced
from eqr_ray.evaluation.scoring import wilson
from eqr_ray.policy import Policy
from eqr_ray.sim.cluster import Cluster, ClusterRun, Pacer, play
from eqr_ray.sim.flow import flow, stages_of
from eqr_ray.sim.replay import Playback, ReplayEngine, check_fits, replay
from eqr_ray.sim.trace import Trace
from eqr_ray.types import Puzzle, SliceResult

LEAST_OPEN, MOST_OPEN = 1024, 65_536
"""Bounds on the puzzles that one driver has open, as in `runs.evaluate`."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would take."""

    puzzles: int
    labelled: int
    exact_accuracy: float | None
    exact_accuracy_ci95: tuple[float, float] | None
    """Of the distinct puzzles of the trace: repeats add no knowledge."""
    nfe_mean: float
    wall_s: float
    replica_hours: float
    busy_share: float
    """Share of the paid time in which a slice was at work."""
    cost: float
    preemptions: int
    lost_slices: int
    nfe_computed: int


def forecast(
    trace: Trace,
    policy: Policy,
    cluster: Cluster,
    n_puzzles: int | None = None,
    most_rows: int = 256,
    open_limit: int | None = None,
) -> Forecast:
    """Play `n_puzzles`, as many as the trace has if left out, on a cluster; InputError where the policy does not fit the trace.

    most_rows: rows of the largest slice, as the device takes them. open_limit: puzzles in work at a time; what keeps the replicas busy
    if left out.
    """
    check_fits(trace, policy)
    n = len(trace) if n_puzzles is None else n_puzzles
    engine = ReplayEngine(trace)
    right_key = {
        puzzle.puzzle_id: int(keys[code]) if code >= 0 else None
        for puzzle, keys, code in zip(trace.puzzles, trace.keys, trace.right.tolist(), strict=True)
        if code > -2
    }
    open_limit = open_limit or min(max(2 * cluster.in_flight * cluster.replicas * most_rows, LEAST_OPEN), MOST_OPEN)
    coordinator = Coordinator(policy, trace.facts.seed, slice_rows=most_rows, open_limit=open_limit)
    labelled = exact = 0
    last = ClusterRun()
    for run, verdicts in play(cluster, coordinator, engine.sibling, _repeated(trace, n), pacer(most_rows)):
        for verdict in verdicts:
            name = verdict.puzzle_id.rpartition("~")[0]
            if name in right_key:
                labelled += 1
                exact += verdict.ballot[0].answer_key == right_key[name]
        last = run
    distinct = min(labelled, len(right_key))
    accuracy = exact / labelled if labelled else None
    return Forecast(
        puzzles=last.puzzles,
        labelled=labelled,
        exact_accuracy=accuracy,
        exact_accuracy_ci95=None if accuracy is None else wilson(round(accuracy * distinct), distinct),
        nfe_mean=last.nfe / max(last.puzzles, 1),
        wall_s=last.wall_s,
        replica_hours=last.paid_s / 3600,
        busy_share=last.busy_s / last.paid_s if last.paid_s else 0.0,
        cost=last.cost,
        preemptions=last.preemptions,
        lost_slices=last.lost_slices,
        nfe_computed=last.nfe_computed,
    )


def forecast_in_bulk(trace: Trace, policy: Policy, cluster: Cluster, n_puzzles: int, most_rows: int = 256) -> Forecast:
    """Forecast 10^7 puzzles and more by their flow alone; InputError for preemption and for policies of a pool.

    Every driver feeds at most MOST_OPEN open puzzles, as in a real run: give a cluster of its own to each shard.
    """
    stages = stages_of(trace, policy)

    def pace(rows: int, had: int, took_s: float) -> int:
        return paced(Pace(rows), had, took_s, 1, most_rows).rows

    open_limit = min(max(2 * cluster.in_flight * cluster.replicas * most_rows, LEAST_OPEN), MOST_OPEN)
    took = flow(cluster, stages, n_puzzles, most_rows, open_limit, pace)
    reached = replay(policy, Playback(trace))
    rounds, rest = divmod(n_puzzles, len(trace))
    right = int(reached.exact.sum()) * rounds + int(reached.exact[:rest].sum())
    labelled = reached.n_labelled * rounds + int(trace.labelled[:rest].sum())
    distinct = min(labelled, reached.n_labelled)
    accuracy = right / labelled if labelled else None
    return Forecast(
        puzzles=took.puzzles,
        labelled=labelled,
        exact_accuracy=accuracy,
        exact_accuracy_ci95=None if accuracy is None else wilson(round(accuracy * distinct), distinct),
        nfe_mean=took.nfe / max(took.puzzles, 1),
        wall_s=took.wall_s,
        replica_hours=took.paid_s / 3600,
        busy_share=took.busy_s / took.paid_s if took.paid_s else 0.0,
        cost=took.cost,
        preemptions=0,
        lost_slices=0,
        nfe_computed=took.nfe_computed,
    )


def pacer(most_rows: int) -> Pacer:
    """Return the pace that the driver keeps with real replicas."""

    def pace(rows: int, result: SliceResult | None, took_s: float) -> int:
        return rows if result is None else paced(Pace(rows), len(result.trajectories), took_s, 1, most_rows).rows

    return pace


def _repeated(trace: Trace, n: int) -> Iterator[Puzzle]:
    for k in range(n):
        puzzle = trace.puzzles[k % len(trace)]
        yield Puzzle(f"{puzzle.puzzle_id}~{k // len(trace)}", puzzle.task, puzzle.cells)
