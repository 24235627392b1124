"""The coordinator: a state machine that says who works next and what the work so far means.

A driver submits puzzles, asks for slices, hands results in and gets verdicts out. A puzzle goes in rounds: the policy
grants trajectories or depth, replicas report, and only when every order of the puzzle has been reported is the policy
asked again, so the order of reports cannot matter. Orders longer than a leg travel in several slices, of which the
policy sees nothing.

Invariants, asserted in tests/unit/coordinator and tests/sim: every puzzle gets exactly one verdict, the same for any
number of replicas, order, loss or repetition of reports; an extension goes to the replica that holds the latents while
that lives; memory follows the open puzzles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eqr_ray.coordinator.checks import align
from eqr_ray.coordinator.cohorts import Cohorts
from eqr_ray.coordinator.counters import Counters, ReplicaCounters
from eqr_ray.coordinator.queues import RowQueue
from eqr_ray.coordinator.replicas import Flight, Replica, Replicas
from eqr_ray.coordinator.seeds import trajectory_seeds
from eqr_ray.coordinator.table import Table
from eqr_ray.coordinator.verdicts import reported_only, verdicts_of
from eqr_ray.policy import Policy, PoolPolicy, check_allocations
from eqr_ray.types import I64, Allocations, Puzzle, Slice, SliceResult, Status, StopReason, Tallies, Verdict

SLICE_ROWS = 256
"""Most rows of a slice. More keep a device busier between two messages; fewer spread a short run over more replicas."""
LEG = 64
"""Most iterations that a row advances in one slice. Longer legs send fewer messages; shorter ones lose less with a
replica and keep slices of equal length."""
OPEN_LIMIT = 4096
"""Most puzzles that are open at once. More keep many replicas busy through the last rounds of hard puzzles; memory
follows it."""
FAIR_SHARE_FLOOR = 8
"""A slice of shared rows is at least the full slice divided by this, however many replicas could share what is left.
Larger spreads the end of a run more evenly, in smaller slices."""


class Coordinator:
    """Orders work for replicas and closes puzzles."""

    def __init__(
        self,
        policy: Policy,
        seed: int,
        *,
        slice_rows: int = SLICE_ROWS,
        leg: int = LEG,
        open_limit: int = OPEN_LIMIT,
    ) -> None:
        for name, value in (("slice_rows", slice_rows), ("leg", leg), ("open_limit", open_limit)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {name}={value}")
        self._policy, self._seed = policy, seed
        self._slice_rows, self._leg, self._open_limit = slice_rows, leg, open_limit
        self._table = Table(policy.budget.breadth)
        self._replicas = Replicas()
        self._cohorts = Cohorts(policy.cohort) if isinstance(policy, PoolPolicy) else None
        if self._cohorts is not None:
            # A cohort that does not fit would wait for its last members for ever.
            self._open_limit = max(open_limit, self._cohorts.size)
        self._returned, self._widened, self._fresh = RowQueue(), RowQueue(), RowQueue()
        self._lost_slice_ids: set[int] = set()
        self._next_slice_id = 0
        self._puzzles_done = self._nfe = self._nfe_computed = 0
        self._slices_done = self._rows_done = self._lost_slices = self._ignored_results = 0

    @property
    def policy(self) -> Policy:
        """The policy that decides."""
        return self._policy

    @property
    def room(self) -> int:
        """How many puzzles may be submitted now."""
        return self._open_limit - self._table.n_open

    def can_admit(self, n_puzzles: int = 1) -> bool:
        """Return whether so many puzzles may be submitted now."""
        return n_puzzles <= self.room

    @property
    def done(self) -> bool:
        """Whether every submitted puzzle has its verdict."""
        return self._table.n_open == 0

    @property
    def backlog_iterations(self) -> int:
        """Iterations that the policy has ordered and that are not yet reported."""
        return self._backlog()

    @property
    def rows_free(self) -> int:
        """Rows that wait for whichever replica asks first."""
        return len(self._returned) + len(self._widened) + len(self._fresh)

    @property
    def replica_ids(self) -> tuple[str, ...]:
        """The replicas that have joined and not been forgotten."""
        return tuple(replica.replica_id for replica in self._replicas)

    def submit(self, puzzles: Sequence[Puzzle]) -> None:
        """Open puzzles; raises ValueError when there are more than `room`."""
        if not self.can_admit(len(puzzles)):
            raise ValueError(
                f"at most {self.room} more puzzles may be submitted now, got {len(puzzles)}; ask can_admit first"
            )
        if puzzles:
            self._decide_ready(self._table.open(puzzles))

    def end_input(self) -> None:
        """Say that no puzzle will be submitted any more: a cohort of a pool policy that waits for more begins as it is."""
        if self._cohorts is not None:
            self._cohorts.ended = True
            self._decide_ready(np.zeros(0, np.int64))

    def join(self, replica_id: str) -> None:
        """Take in a replica whose engine has seen nothing; raises ValueError for a name that is in use."""
        if self._replicas.get(replica_id) is not None:
            raise ValueError(f"replica {replica_id} has joined already; report it lost before it joins again")
        self._replicas.add(replica_id)

    def leave(self, replica_id: str) -> None:
        """Give a replica no more slices; what it has in flight may still be reported, what it has parked starts again
        elsewhere."""
        replica = self._known(replica_id)
        replica.leaving = True
        self._returned.push(replica.waiting.pop(len(replica.waiting)))
        self._forget_home(replica)
        self._dismiss(replica)

    def next_slice(self, replica_id: str, rows_at_most: int | None = None, leg: int | None = None) -> Slice | None:
        """Return the next orders for a replica, None when it has nothing to do now; raises ValueError for a stranger.

        rows_at_most: a bound below `slice_rows` for this slice, as the replica's pace may ask for. leg: another leg for
        this slice, as a longer way to the replica may ask for.
        """
        replica = self._known(replica_id)
        rows = self._take(replica, min(self._slice_rows, max(rows_at_most or self._slice_rows, 1)))
        if not len(rows):
            return None
        table = self._table
        slots = table.slot_of(rows)
        index = table.index_of(rows).astype(np.int32)
        new_slots = self._replicas.unseen(replica, slots)
        cells = {
            n: puzzle.cells for n, puzzle in zip(table.number[new_slots].tolist(), table.puzzle[new_slots], strict=True)
        }
        orders = Slice(
            slice_id=self._next_slice_id,
            replica_id=replica_id,
            puzzle=table.number[slots],
            index=index,
            seed=trajectory_seeds(self._seed, table.draw_key[slots], index),
            until=np.minimum(table.target[rows], table.depth[rows] + (leg or self._leg)).astype(np.int32),
            halt=np.zeros(len(rows), np.int32),
            halts=(self._policy.budget.halt,),
            cells=cells,
            # A slice that failed may name a puzzle that is sent again here; it is not to be dropped.
            retired=np.array([n for n in replica.retired if n not in cells], np.int64),
        )
        self._next_slice_id += 1
        replica.retired.clear()
        replica.flights[orders.slice_id] = Flight(orders, rows, new_slots)
        self._replicas.mark(replica, new_slots, seen=True)
        table.home[rows] = replica.number
        return orders

    def on_result(self, result: SliceResult) -> list[Verdict]:
        """Take in a report and return the verdicts of the puzzles that it finished.

        A result that nobody waits for any more is counted and ignored. Raises ValueError, naming the replica and
        changing nothing, when the report does not match its slice.
        """
        replica = self._replicas.get(result.replica_id)
        flight = None if replica is None else replica.flights.get(result.slice_id)
        if replica is None or flight is None:
            self._ignored_results += 1
            if result.slice_id in self._lost_slice_ids:
                self._lost_slice_ids.remove(result.slice_id)
                self._nfe_computed += result.nfe_computed
            return []
        table, rows = self._table, flight.rows
        reported = align(flight, result)
        del replica.flights[result.slice_id]
        answers = np.fromiter(map(result.answers.__getitem__, reported.answer_key.tolist()), object, len(rows))
        table.report(rows, reported, answers)
        self._count(replica, result)

        reached = (reported.status != Status.RUNNING) | (reported.depth >= table.target[rows])
        if replica.leaving:
            table.home[rows] = 0
            self._returned.push(rows[~reached])
            self._dismiss(replica)
        else:
            replica.waiting.push(rows[~reached])
        slots = table.slot_of(rows[reached])
        np.subtract.at(table.pending, slots, 1)
        slots = np.unique(slots)
        return self._decide_ready(slots[table.pending[slots] == 0])

    def on_failed(self, replica_id: str, slice_id: int) -> bool:
        """Give a slice out again that its replica failed without being lost; False for a slice that nobody waits for.

        Slices sent after it may lack the cells that travelled with it; the engine refuses them, and they are failed
        too.
        """
        replica = self._replicas.get(replica_id)
        flight = None if replica is None else replica.flights.pop(slice_id, None)
        if replica is None or flight is None:
            return False
        # Nobody knows whether the slice arrived: its cells are sent again when needed, and dropped there if they did arrive.
        self._replicas.mark(replica, flight.new_slots, seen=False)
        replica.retired.extend([*flight.orders.retired.tolist(), *flight.orders.cells])
        self._give_back(flight)
        self._dismiss(replica)
        return True

    def on_lost(self, replica_id: str) -> int:
        """Forget a replica and give out again what it had; returns the number of slices lost, 0 for a stranger.

        What it reported stays true: a trajectory is a function of its seed, so another replica brings it to the same
        state.
        """
        replica = self._replicas.get(replica_id)
        if replica is None:
            return 0
        lost = len(replica.flights)
        for flight in replica.flights.values():
            self._give_back(flight)
        self._returned.push(replica.waiting.pop(len(replica.waiting)))
        self._forget_home(replica)
        self._replicas.remove(replica)
        return lost

    def conclude(self, stop: StopReason) -> list[Verdict]:
        """Close every open puzzle with what has been reported of it; the coordinator orders nothing more for them.

        A puzzle of which nothing was reported is dropped without a verdict, for it has no answer. Raises ValueError
        while a slice is in flight.
        """
        if any(replica.flights for replica in self._replicas):
            raise ValueError("puzzles can be concluded between slices only; report or fail the slices in flight first")
        for queue in (self._returned, self._widened, self._fresh, *(replica.waiting for replica in self._replicas)):
            queue.pop(len(queue))
        table = self._table
        slots = np.flatnonzero(table.breadth > 0)
        slots = slots[np.argsort(table.number[slots])]
        rows, start = table.rows_of(slots)
        known = np.logical_or.reduceat(table.depth[rows] > 0, start[:-1]) if len(slots) else np.zeros(0, np.bool_)
        self._replicas.retire(slots[~known], table.number[slots[~known]])
        table.close(slots[~known])
        return self._close(slots[known], [stop] * int(known.sum())) if known.any() else []

    def counters(self) -> Counters:
        """Return how the run stands."""
        replicas = tuple(
            ReplicaCounters(
                replica_id=replica.replica_id,
                slices_in_flight=len(replica.flights),
                rows_in_flight=sum(len(flight.rows) for flight in replica.flights.values()),
                rows_waiting=len(replica.waiting),
                slices_done=replica.n_slices,
                rows_done=replica.n_rows,
                nfe_computed=replica.nfe_computed,
                elapsed_s=replica.elapsed_s,
                leaving=replica.leaving,
            )
            for replica in self._replicas
        )
        return Counters(
            puzzles_submitted=self._table.n_seen,
            puzzles_open=self._table.n_open,
            puzzles_done=self._puzzles_done,
            nfe=self._nfe,
            nfe_computed=self._nfe_computed,
            rows_in_flight=sum(replica.rows_in_flight for replica in replicas),
            backlog_iterations=self._backlog(),
            slices_done=self._slices_done,
            rows_done=self._rows_done,
            lost_slices=self._lost_slices,
            ignored_results=self._ignored_results,
            replicas=replicas,
        )

    def _known(self, replica_id: str) -> Replica:
        replica = self._replicas.get(replica_id)
        if replica is None:
            raise ValueError(f"replica {replica_id} has not joined; known are {', '.join(self.replica_ids) or 'none'}")
        return replica

    def _take(self, replica: Replica, most: int) -> I64:
        """Take rows for one slice: its own, then rows given back, then wider puzzles, then fresh ones; older puzzles
        end first."""
        if replica.leaving:
            return np.zeros(0, np.int64)
        queues = (replica.waiting, self._returned, self._widened, self._fresh)
        shared = sum(len(queue) for queue in queues[1:])
        share = max(-(-shared // max(self._replicas.n_staying, 1)), -(-most // FAIR_SHARE_FLOOR))
        rows = replica.waiting.pop(most)
        room = min(most - len(rows), share)
        source = [rows]
        for queue in queues[1:]:
            source.append(queue.pop(room))
            room -= len(source[-1])
        return np.concatenate(source)

    def _decide_ready(self, slots: I64) -> list[Verdict]:
        """Decide on puzzles of which nothing is under way; those of a pool wait for the last of their cohort."""
        if self._cohorts is None:
            return self._decide(slots)
        return [verdict for own in self._cohorts.ready(self._table, slots) for verdict in self._decide(own)]

    def _decide(self, slots: I64) -> list[Verdict]:
        """Ask the policy about puzzles of which nothing is under way."""
        if not len(slots):
            return []
        table = self._table
        slots = slots[np.argsort(table.number[slots])]
        tallies, rows = table.tallies(slots)
        granted = self._policy.allocate(tallies)
        check_allocations(tallies, granted, self._policy.budget, self._cohorts is not None)
        table.rounds[slots] += 1
        self._order(slots, rows, tallies, granted)
        stopped = np.array([reason is not None for reason in granted.stop], np.bool_)
        if not stopped.any():
            return []
        return self._close(slots[stopped], [reason for reason in granted.stop if reason is not None])

    def _order(self, slots: I64, rows: I64, tallies: Tallies, granted: Allocations) -> None:
        table = self._table
        extended = rows[granted.extend_to > 0]
        table.target[extended] = granted.extend_to[granted.extend_to > 0]
        np.add.at(table.pending, table.slot_of(extended), 1)
        home = table.home[extended]
        for number in np.unique(home).tolist():
            queue = self._returned if number == 0 else self._replicas.numbered(number).waiting
            queue.push(extended[home == number])
        table.pending[slots] += granted.spawn
        fresh = tallies.breadth == 0
        for queue, chosen in ((self._fresh, fresh), (self._widened, ~fresh)):
            count, target = granted.spawn[chosen].astype(np.int64), granted.spawn_to[chosen].astype(np.int64)
            queue.push(table.start(slots[chosen], count, target))

    def _close(self, slots: I64, stops: list[StopReason]) -> list[Verdict]:
        table = self._table
        tallies, rows = reported_only(*table.tallies(slots))
        choices = self._policy.select(tallies)
        puzzles: list[Puzzle] = table.puzzle[slots].tolist()
        answers: NDArray[np.object_] = table.answer[rows]
        found = verdicts_of(puzzles, tallies, answers, choices, self._policy.selection, stops)
        self._replicas.retire(slots, table.number[slots])
        table.close(slots)
        self._puzzles_done += len(found)
        self._nfe += int(tallies.nfe.sum())
        return found

    def _count(self, replica: Replica, result: SliceResult) -> None:
        n_rows = len(result.trajectories)
        self._nfe_computed += result.nfe_computed
        self._slices_done += 1
        self._rows_done += n_rows
        replica.nfe_computed += result.nfe_computed
        replica.n_slices += 1
        replica.n_rows += n_rows
        replica.elapsed_s += result.elapsed_s

    def _give_back(self, flight: Flight) -> None:
        """Queue the rows of a slice that will not be answered; anyone may take them."""
        self._returned.push(flight.rows)
        self._lost_slice_ids.add(flight.orders.slice_id)
        self._lost_slices += 1

    def _forget_home(self, replica: Replica) -> None:
        self._table.home[self._table.home == replica.number] = 0

    def _dismiss(self, replica: Replica) -> None:
        """Forget a leaving replica once nothing of it is in flight."""
        if replica.leaving and not replica.flights:
            self._replicas.remove(replica)

    def _backlog(self) -> int:
        table = self._table
        short = (table.status == Status.RUNNING) & (table.depth < table.target)
        under_way = np.arange(len(short)) % self._policy.budget.breadth < np.repeat(
            table.breadth, self._policy.budget.breadth
        )
        return int((table.target - table.depth)[short & under_way].sum())
