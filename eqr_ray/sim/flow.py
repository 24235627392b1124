"""A cluster on a virtual clock for 10^7 puzzles and more: columns of stages flow through replicas, without coordinator and verdicts.

What a policy grants a puzzle is a function of the puzzle alone, so each puzzle of a trace is played once and cut into *stages*: the rows
and iterations of one leg of one round. The flow then moves stage numbers only: a slice is a column of them, and what is finished follows
from a table. Left out, and refused: machines that are taken away, and pool policies, whose grants depend on other puzzles.
Invariants, asserted in tests/sim/test_flow.py: iterations and accuracy are those of a replay; the wall time is that of `sim.cluster` with
the real coordinator within a few percent; memory follows the open puzzles.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eqr_ray.coordinator.coordinator import FAIR_SHARE_FLOOR, LEG
from eqr_ray.coordinator.queues import RowQueue
from eqr_ray.policy import Policy, PoolPolicy
from eqr_ray.sim.cluster import Cluster, ClusterRun
from eqr_ray.sim.replay import Playback, _State, check_fits
from eqr_ray.sim.trace import Trace
from eqr_ray.types import I64, Bool, InputError

Pace = Callable[[int, int, float], int]
"""(rows of the last slice, rows that it had, how long it took) -> rows of the next one."""


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """K stages of P puzzles, those of one puzzle after each other."""

    rows: I64
    """(K,) trajectories that advance."""
    iterations: I64
    """(K,) of all of them."""
    stays: Bool
    """(K,) whether it goes to the replica that did the stage before."""
    ends: Bool
    """(K,) whether it is the last of its puzzle."""
    first: I64
    """(P,)"""


def stages_of(trace: Trace, policy: Policy) -> Stages:
    """Play a policy on every puzzle of a trace and return the stages; InputError where it asks for more than was recorded."""
    check_fits(trace, policy)
    if isinstance(policy, PoolPolicy):
        raise InputError(f"policy {policy.name} moves its budget between puzzles; choose another one, or fewer puzzles")
    n = len(trace)
    playback = Playback(trace)
    state = _State(n, playback.breadth, playback)
    found: list[tuple[I64, I64, I64, Bool]] = []
    open_ = np.arange(n, dtype=np.int64)
    while len(open_):
        tallies, rows = state.tallies(open_)
        granted = policy.allocate(tallies)
        before = state.depth.reshape(n, -1).astype(np.int64)
        extended = granted.extend_to > 0
        rule = policy.budget.halt
        state.advance(rows[extended], granted.extend_to[extended].astype(np.int64), rule)
        state.spawn(open_, granted.spawn.astype(np.int64), granted.spawn_to.astype(np.int64), rule)
        state.rounds[open_] += 1
        open_ = open_[np.array([reason is None for reason in granted.stop], np.bool_)]
        gone = state.depth.reshape(n, -1) - before
        goes_on = np.zeros(n, np.bool_)
        goes_on[np.unique(rows[extended] // playback.breadth)] = True
        for leg in range(-(-int(gone.max(initial=0)) // LEG)):
            part = np.clip(gone - leg * LEG, 0, LEG)
            own = np.flatnonzero(part.any(axis=1))
            found.append((own, (part[own] > 0).sum(axis=1), part[own].sum(axis=1), goes_on[own] | (leg > 0)))
    puzzle = np.concatenate([own for own, *_ in found])
    order = np.argsort(puzzle, kind="stable")
    puzzle = puzzle[order]
    return Stages(
        np.concatenate([rows for _, rows, _, _ in found])[order],
        np.concatenate([iterations for _, _, iterations, _ in found])[order],
        np.concatenate([stays for *_, stays in found])[order],
        np.append(puzzle[1:] != puzzle[:-1], True),
        np.searchsorted(puzzle, np.arange(n, dtype=np.int64)),
    )


@dataclass(slots=True, eq=False)
class _Machine:
    asked_at: float
    slowdown: float
    rows: int
    waiting: RowQueue
    slices: list[tuple[I64, float]]
    """In flight, oldest first: stages, and how long they take."""


def flow(cluster: Cluster, stages: Stages, n_puzzles: int, most_rows: int, open_limit: int, pace: Pace) -> ClusterRun:
    """Let `n_puzzles`, those of the stages over and over, flow through a cluster; InputError where machines are taken away."""
    if cluster.preemptions_per_hour > 0:
        raise InputError(
            "a simulation in bulk knows no preemption; set cluster.preemptions_per_hour=0, or simulate fewer"
        )
    return _Flow(cluster, stages, n_puzzles, most_rows, open_limit, pace).run()


class _Flow:
    def __init__(
        self, cluster: Cluster, stages: Stages, n_puzzles: int, most_rows: int, open_limit: int, pace: Pace
    ) -> None:
        self.cluster, self.stages, self.pace = cluster, stages, pace
        self.n_left, self.n_open, self.open_limit, self.most_rows = n_puzzles, 0, open_limit, most_rows
        self.rows_each = float(stages.rows.mean())
        self.rng = np.random.default_rng(cluster.seed)
        self.next_puzzle = 0
        self.shared = RowQueue()
        self.machines: dict[int, _Machine] = {}
        self.takers: dict[int, None] = {}
        """Machines with room for a slice, the longest waiting first."""
        self.events: list[tuple[float, int, int]] = []
        self.took = ClusterRun()
        self.now = 0.0
        self.last = -1

    def run(self) -> ClusterRun:
        cluster, took = self.cluster, self.took
        for number in range(cluster.replicas):
            delay = cluster.start_s * float(np.exp(cluster.start_spread * self.rng.standard_normal()))
            heapq.heappush(self.events, (delay, 0, number))
        self.admit()
        while self.n_open:
            self.now, kind, number = heapq.heappop(self.events)
            if kind == 0:
                slow = self.rng.random() < cluster.straggler_share
                self.machines[number] = _Machine(
                    0.0, cluster.straggler_slowdown if slow else 1.0, cluster.first_rows, RowQueue(), []
                )
                self.takers[number] = None
            else:
                self.finish(number)
            self.hand_out()
        took.wall_s = self.now
        took.paid_s = cluster.replicas * self.now
        took.cost = took.paid_s / 3600 * cluster.price_per_hour
        took.nfe_computed = took.nfe
        return took

    def admit(self) -> None:
        n = min(self.open_limit - self.n_open, self.n_left)
        first = self.stages.first
        self.shared.push(first[(self.next_puzzle + np.arange(n, dtype=np.int64)) % len(first)])
        self.next_puzzle = (self.next_puzzle + n) % len(first)
        self.n_open, self.n_left = self.n_open + n, self.n_left - n

    def hand_out(self) -> None:
        for number in list(self.takers):
            if not len(self.shared) and number != self.last:
                # Only the machine that has just finished something may have stages of its own.
                continue
            machine = self.machines[number]
            most = max(round(machine.rows / self.rows_each), 1)
            share = max(-(-len(self.shared) // len(self.machines)), -(-most // FAIR_SHARE_FLOOR))
            units = machine.waiting.pop(most)
            units = np.concatenate([units, self.shared.pop(min(most - len(units), share))])
            if not len(units):
                continue
            iterations = int(self.stages.iterations[units].sum())
            wobble = float(np.exp(self.cluster.speed_spread * self.rng.standard_normal()))
            takes = self.cluster.slice_overhead_s + wobble * iterations / (
                self.cluster.iterations_per_s / machine.slowdown
            )
            machine.slices.append((units, takes))
            if len(machine.slices) == 1:
                heapq.heappush(self.events, (self.now + takes, 1, number))
            if len(machine.slices) >= self.cluster.in_flight:
                del self.takers[number]

    def finish(self, number: int) -> None:
        self.last = number
        machine, stages, took = self.machines[number], self.stages, self.took
        units, takes = machine.slices.pop(0)
        took.busy_s += takes
        took.slices += 1
        took.nfe += int(stages.iterations[units].sum())
        machine.rows = self.pace(machine.rows, int(stages.rows[units].sum()), takes)
        ended = stages.ends[units]
        n_ended = int(ended.sum())
        took.puzzles += n_ended
        self.n_open -= n_ended
        following = units[~ended] + 1
        stays = stages.stays[following]
        machine.waiting.push(following[stays])
        self.shared.push(following[~stays])
        if machine.slices:
            heapq.heappush(self.events, (self.now + machine.slices[0][1], 1, number))
        self.takers[number] = None
        self.admit()
