"""Replay of a trace: an engine whose trajectories were recorded, and whole policies played on them.

Trajectories are deterministic, so a policy replayed on a trace reaches exactly the verdicts of a live run.
Invariants, asserted in tests/contract/test_replay_engine.py and tests/unit/sim/test_replay.py: the replay passes the engine
contract; a live run and its replay agree verdict by verdict; `replay` and a coordinator on a `ReplayEngine` agree.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eqr_ray.coordinator import trajectory_seeds
from eqr_ray.policy import Policy, PoolPolicy, spec_of
from eqr_ray.policy.halting import halted_at
from eqr_ray.sim.trace import Trace, TraceFacts
from eqr_ray.types import (
    F32,
    F64,
    I32,
    I64,
    U8,
    U64,
    Bool,
    HaltRule,
    InputError,
    Slice,
    SliceResult,
    Status,
    StopReason,
    Tallies,
    Trajectories,
)


class Playback:
    """A trace as columns over rows `p * B + i`, looked up at any depth under any halting rule."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        _, self.breadth, self.depth = trace.residual.shape
        n_rows = len(trace) * self.breadth
        self._residual = trace.residual.reshape(n_rows, -1)
        self._logit_delta = trace.logit_delta.reshape(n_rows, -1)
        self._q_halt = trace.q_halt.reshape(n_rows, -1)
        self._code = trace.code.reshape(n_rows, -1)
        self._recorded = trace.depth.reshape(-1)
        self._diverged = trace.diverged.reshape(-1)
        self._any_diverged = bool(self._diverged.any())
        sizes = np.array([len(own) for own in trace.keys], np.int64)
        self._first_key = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        self._keys = np.concatenate(trace.keys) if trace.keys else np.zeros(0, np.uint64)
        self._answers = np.concatenate(trace.answers) if trace.answers else np.zeros((0, 0), np.uint8)
        self._halts: dict[HaltRule, I32] = {}

    def halts(self, rule: HaltRule) -> I32:
        """Return (P * B,) the depth at which each trajectory halts under the rule, 0 for one that does not."""
        if rule not in self._halts:
            at = halted_at(rule, self._residual, self._q_halt)
            # The iteration that diverged was never looked at by the rule.
            self._halts[rule] = np.where(self._diverged & (at >= self._recorded), 0, at).astype(np.int32)
        return self._halts[rule]

    def reach(self, rows: I64, until: I32 | I64, rule: HaltRule) -> tuple[I32, U8]:
        """Return depth and status with which rows end that are brought to `until`; ValueError beyond what was recorded."""
        if len(rows) and int(until.max()) > self.depth:
            raise ValueError(f"the trace was recorded to depth {self.depth}, got an order to depth {int(until.max())}")
        at = self.halts(rule)[rows]
        halted = (at > 0) & (at <= until)
        settled = Status.Q_HALTED if rule.residual_below == math.inf else Status.CONVERGED
        depth = np.where(halted, at, until).astype(np.int32, copy=False)
        status = np.where(halted, np.uint8(settled), np.uint8(Status.RUNNING))
        if self._any_diverged:
            broken = self._diverged[rows] & (self._recorded[rows] <= until) & ~halted
            depth[broken], status[broken] = self._recorded[rows[broken]], Status.DIVERGED
        return depth, status

    def observe(self, rows: I64, depth: I32) -> tuple[F32, F32, F32, U64]:
        """Return residual, logit change, halting logit and answer key of rows at their depths."""
        return *self.signals(rows, depth), self.keys(self.answered(rows, depth))

    def signals(self, rows: I64, depth: I32) -> tuple[F32, F32, F32]:
        """Return residual, logit change and halting logit of rows at their depths."""
        column = depth - 1
        return self._residual[rows, column], self._logit_delta[rows, column], self._q_halt[rows, column]

    def answered(self, rows: I64, depth: I32) -> I64:
        """Return the number, within the whole trace, of the answer that rows decode to at their depths."""
        numbers: I64 = self._first_key[rows // self.breadth] + self._code[rows, depth - 1]
        return numbers

    def keys(self, numbers: I64) -> U64:
        """Return the keys of answers by these numbers."""
        return self._keys[numbers]

    def answers(self, numbers: I64) -> dict[int, U8]:
        """Return the decoded answers of these numbers by key."""
        distinct = np.fromiter(dict.fromkeys(numbers.tolist()), np.int64)
        return dict(zip(self._keys[distinct].tolist(), self._answers[distinct], strict=True))

    def key_of(self, puzzle: I64, code: I32) -> U64:
        """Return the keys of answers by puzzle and code; 0 for a code below 0."""
        place = self._first_key[puzzle] + np.maximum(code, 0)
        return np.where(code >= 0, self._keys[np.minimum(place, len(self._keys) - 1)], np.uint64(0))


class ReplayEngine:
    """Implements `types.Engine` from a trace."""

    device = "trace"

    def __init__(self, trace: Trace, s_per_iteration: float = 0.0) -> None:
        """s_per_iteration: what an iteration of one row is reported to have taken; nothing waits for it."""
        self._playback, self._trace = Playback(trace), trace
        self._s_per_iteration = s_per_iteration
        self._place = {puzzle.cells.tobytes(): p for p, puzzle in enumerate(trace.puzzles)}
        keys = np.array([puzzle.draw_key for puzzle in trace.puzzles], np.uint64)
        breadth = self._playback.breadth
        index = np.tile(np.arange(breadth, dtype=np.int32), len(trace))
        self._seed = trajectory_seeds(trace.facts.seed, np.repeat(keys, breadth), index)
        self._slot: dict[int, int] = {}
        self._free: list[int] = []
        self._place_of = np.zeros(0, np.int64)
        """Puzzle of the trace in each slot."""
        self._done = np.zeros((0, breadth), np.int32)
        """Depth at which each trajectory of each slot is parked."""

    def sibling(self) -> ReplayEngine:
        """Return a fresh engine on the same trace: another replica, at no cost of memory."""
        other = copy(self)
        other._slot, other._free = {}, []
        other._place_of, other._done = np.zeros(0, np.int64), np.zeros((0, self._playback.breadth), np.int32)
        return other

    def run(self, orders: Slice) -> SliceResult:
        """Report every trajectory as it was recorded.

        Raises KeyError for a puzzle whose cells were not sent, or are not of the trace; ValueError for another seed, more
        breadth or more depth than was recorded.
        """
        self._retire(orders.retired)
        self._learn(orders.cells)
        breadth = self._playback.breadth
        if len(orders) and int(orders.index.max()) >= breadth:
            raise ValueError(
                f"the trace has {breadth} trajectories a puzzle, got an order for number {orders.index.max()}"
            )
        slots = np.fromiter(map(self._slot.__getitem__, orders.puzzle.tolist()), np.int64, len(orders))
        rows = self._place_of[slots] * breadth + orders.index
        if not np.array_equal(self._seed[rows], orders.seed):
            raise ValueError(
                f"the trace was recorded with run seed {self._trace.facts.seed}, and the orders have another; run with that seed"
            )
        playback = self._playback
        if len(orders.halts) == 1:
            depth, status = playback.reach(rows, orders.until, orders.halts[0])
        else:
            depth, status = np.zeros(len(orders), np.int32), np.zeros(len(orders), np.uint8)
            for n, rule in enumerate(orders.halts):
                own = np.flatnonzero(orders.halt == n)
                depth[own], status[own] = playback.reach(rows[own], orders.until[own], rule)
        residual, logit_delta, q_halt = playback.signals(rows, depth)
        numbers = playback.answered(rows, depth)
        known = self._done[slots, orders.index]
        # A row parked beyond its order starts again.
        nfe = int(np.where(known <= depth, depth - known, depth).sum())
        self._done[slots, orders.index] = depth
        return SliceResult(
            slice_id=orders.slice_id,
            replica_id=orders.replica_id,
            trajectories=Trajectories(
                orders.puzzle, orders.index, depth, residual, logit_delta, q_halt, playback.keys(numbers), status
            ),
            answers=playback.answers(numbers),
            nfe_computed=nfe,
            elapsed_s=nfe * self._s_per_iteration,
        )

    def _learn(self, cells: dict[int, U8]) -> None:
        new = {number: self._place[own.tobytes()] for number, own in cells.items() if number not in self._slot}
        if len(self._free) < len(new):
            old, more = len(self._place_of), max(len(self._place_of), len(new), 64)
            self._place_of = np.concatenate([self._place_of, np.zeros(more, np.int64)])
            self._done = np.concatenate([self._done, np.zeros((more, self._done.shape[1]), np.int32)])
            self._free.extend(range(old + more - 1, old - 1, -1))
        slots = [self._free.pop() for _ in new]
        self._slot.update(zip(new, slots, strict=True))
        self._place_of[slots] = list(new.values())
        self._done[slots] = 0

    def _retire(self, numbers: I64) -> None:
        gone = [self._slot.pop(number) for number in numbers.tolist() if number in self._slot]
        self._free.extend(gone)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a policy reached on P puzzles of a trace."""

    answer_key: U64
    """(P,)"""
    exact: Bool
    """(P,) False where the puzzle has no label."""
    confidence: F64
    votes: I64
    breadth: I64
    depth: I32
    nfe: I64
    residual: F32
    rounds: I32
    stop: tuple[StopReason, ...]
    n_labelled: int

    @property
    def accuracy(self) -> float:
        """Share of the labelled puzzles that are right; NaN without labels."""
        return float(self.exact.sum() / self.n_labelled) if self.n_labelled else math.nan

    @property
    def nfe_mean(self) -> float:
        """Iterations a puzzle."""
        return float(self.nfe.mean())


def check_fits(trace: Trace, policy: Policy) -> None:
    """Raise InputError where a policy may ask for more than was recorded."""
    budget, facts = policy.budget, trace.facts
    for name in ("depth", "breadth"):
        wanted, have = getattr(budget, name), getattr(facts, name)
        if wanted > have:
            raise InputError(
                f"policy {policy.name} may use {name} {wanted}, and the trace was recorded with {name} {have}; "
                f"give --{name} {have} or record a larger trace"
            )


def held_to(policy: Policy, facts: TraceFacts, *, depth: bool = True, breadth: bool = True) -> Policy:
    """Return the policy with depth, breadth or both cut to what was recorded."""
    budget = policy.budget
    deep = min(budget.depth, facts.depth) if depth else budget.depth
    broad = min(budget.breadth, facts.breadth) if breadth else budget.breadth
    if (deep, broad) == (budget.depth, budget.breadth):
        return policy
    return spec_of(policy).within(deep, broad, min(budget.nfe, deep * broad)).build()


def replay(policy: Policy, playback: Playback) -> Outcome:
    """Play a policy on every puzzle at once, round by round, without coordinator, slices or verdicts.

    Raises InputError where the policy may ask for more depth or breadth than was recorded.
    """
    check_fits(playback.trace, policy)
    n_puzzles, breadth = len(playback.trace), playback.breadth
    state = _State(n_puzzles, breadth, playback)
    stop = np.full(n_puzzles, None, object)
    cohort = policy.cohort if isinstance(policy, PoolPolicy) else max(n_puzzles, 1)
    for first in range(0, n_puzzles, cohort):
        _play(policy, state, np.arange(first, min(first + cohort, n_puzzles), dtype=np.int64), stop)
    tallies, _ = state.tallies(np.arange(n_puzzles, dtype=np.int64))
    choices = policy.select(tallies)
    deepest = (
        np.maximum.reduceat(tallies.trajectories.depth, tallies.start[:-1]) if n_puzzles else np.zeros(0, np.int32)
    )
    right = playback.key_of(np.arange(n_puzzles, dtype=np.int64), playback.trace.right)
    exact = (playback.trace.right >= 0) & (choices.answer_key == right)
    return Outcome(
        choices.answer_key, exact, choices.confidence, choices.votes, tallies.breadth, deepest, tallies.nfe,
        choices.ballots.best_residual[choices.start[:-1]], state.rounds, tuple(stop.tolist()), int(playback.trace.labelled.sum()),
    )  # fmt: skip


def _play(policy: Policy, state: _State, open_: I64, stop: NDArray[np.object_]) -> None:
    """Play puzzles until each has stopped; `stop` (P,) takes the reasons."""
    rule = policy.budget.halt
    while len(open_):
        tallies, rows = state.tallies(open_)
        granted = policy.allocate(tallies)
        stopped = np.array([reason is not None for reason in granted.stop], np.bool_)
        for puzzle, reason in zip(open_[stopped].tolist(), [r for r in granted.stop if r is not None], strict=True):
            stop[puzzle] = reason
        extended = granted.extend_to > 0
        state.advance(rows[extended], granted.extend_to[extended].astype(np.int64), rule)
        state.spawn(open_, granted.spawn.astype(np.int64), granted.spawn_to.astype(np.int64), rule)
        state.rounds[open_] += 1
        open_ = open_[~stopped]


class _State:
    """Where every trajectory of a replay stands."""

    def __init__(self, n_puzzles: int, breadth: int, playback: Playback) -> None:
        self._breadth, self._playback = breadth, playback
        self.started = np.zeros(n_puzzles, np.int64)
        self.rounds = np.zeros(n_puzzles, np.int32)
        self.depth = np.zeros(n_puzzles * breadth, np.int32)
        self.status = np.zeros(n_puzzles * breadth, np.uint8)

    def tallies(self, puzzles: I64) -> tuple[Tallies, I64]:
        """Return the tallies of puzzles, ascending, and the row of each of their trajectories."""
        count = self.started[puzzles]
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
        index = np.arange(start[-1], dtype=np.int64) - np.repeat(start[:-1], count)
        rows = np.repeat(puzzles * self._breadth, count) + index
        depth = self.depth[rows]
        residual, logit_delta, q_halt, key = self._playback.observe(rows, depth)
        trajectories = Trajectories(
            np.repeat(puzzles, count),
            index.astype(np.int32),
            depth,
            residual,
            logit_delta,
            q_halt,
            key,
            self.status[rows],
        )
        return Tallies(puzzles, start, trajectories, self.rounds[puzzles]), rows

    def advance(self, rows: I64, until: I64, rule: HaltRule) -> None:
        """Bring rows to a depth."""
        self.depth[rows], self.status[rows] = self._playback.reach(rows, until, rule)

    def spawn(self, puzzles: I64, count: I64, until: I64, rule: HaltRule) -> None:
        """Start new trajectories of puzzles."""
        total = int(count.sum())
        within = np.arange(total, dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)
        rows = np.repeat(puzzles * self._breadth + self.started[puzzles], count) + within
        self.started[puzzles] += count
        self.advance(rows, np.repeat(until, count), rule)
