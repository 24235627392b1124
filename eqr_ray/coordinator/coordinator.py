"""The coordinator: a state machine that says who works next and what the work so far means.

A driver submits puzzles, asks for slices, hands results in and gets verdicts out. A puzzle goes in rounds: the policy grants trajectories
or depth, replicas report, and only when every order of the puzzle has been reported is the policy asked again, so the order of reports
cannot matter. Orders longer than a leg travel in several slices, of which the policy sees nothing.

Invariants, asserted in tests/unit/coordinator and tests/sim: every puzzle gets exactly one verdict, the same for any number of replicas,
order, loss or repetition of reports; an extension goes to the replica that holds the latents while that lives; memory follows the open
puzzles; a puzzle that kills its replicas is set aside (trials.py) and no other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eqr_ray.coordinator.checks import align
from eqr_ray.coordinator.counters import Counters
from eqr_ray.coordinator.dispatch import CONTROL, Dispatch
from eqr_ray.coordinator.queues import RowQueue
from eqr_ray.coordinator.replicas import Flight, Replica, Replicas
from eqr_ray.coordinator.rounds import Rounds
from eqr_ray.coordinator.table import Table
from eqr_ray.coordinator.trials import DEATH, LOST_MACHINE, Trials
from eqr_ray.policy import Policy
from eqr_ray.types import I64, Puzzle, Slice, SliceResult, Status, StopReason, Verdict

SLICE_ROWS = 256
"""Most rows of a slice. More keep a device busier between two messages; fewer spread a short run over more replicas."""
LEG = 64
"""Most iterations that a row advances in one slice. Longer legs send fewer messages; shorter ones lose less and keep slices alike."""
OPEN_LIMIT = 4096
"""Most puzzles open at once. More keep many replicas busy through the last rounds of hard puzzles; memory follows it."""
FAIR_SHARE_FLOOR = 8
"""A slice of shared rows is at least a full slice divided by this. Larger spreads the end of a run more evenly, in smaller slices."""
PUZZLE_TRIES = 3
"""How many replicas a puzzle may kill, alone, before it is set aside."""


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
        puzzle_tries: int = PUZZLE_TRIES,
    ) -> None:
        given = {"slice_rows": slice_rows, "leg": leg, "open_limit": open_limit, "puzzle_tries": puzzle_tries}
        for name, value in given.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {name}={value}")
        self._policy, self._slice_rows, self._open_limit = policy, slice_rows, open_limit
        self._table = Table(policy.budget.breadth)
        self._replicas = Replicas()
        self._rounds = Rounds(policy, self._table, self._replicas)
        self._dispatch = Dispatch(self._table, self._replicas, seed, leg, policy.budget.halt)
        self._trials = Trials(puzzle_tries, policy.budget.breadth)
        if self._rounds.cohorts is not None:
            # A cohort that does not fit would wait for its last members for ever.
            self._open_limit = max(open_limit, self._rounds.cohorts.size)
        self._condemned: set[int] = set()
        """Slots to be closed without an answer as soon as nobody works on them."""
        self._aside: list[Verdict] = []
        self._lost_slice_ids: set[int] = set()
        self._nfe_computed = 0
        self._slices_done = self._rows_done = self._lost_slices = self._copied_slices = self._ignored_results = 0

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
    def lost_slices(self) -> int:
        """Slices given out again because their replica was lost or failed them."""
        return self._lost_slices

    @property
    def backlog_iterations(self) -> int:
        """Iterations that the policy has ordered and that are not yet reported."""
        return self._table.backlog()

    @property
    def rows_free(self) -> int:
        """Rows that wait for whichever replica asks first."""
        return sum(map(len, self._rounds.queues))

    @property
    def trials(self) -> Trials:
        """What is suspected; its counts tell whether the engine is at fault rather than a puzzle."""
        return self._trials

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
            self._rounds.decide_ready(self._table.open(puzzles))

    def end_input(self) -> None:
        """Say that no puzzle will be submitted any more: a cohort of a pool policy that waits for more begins as it is."""
        self._rounds.end_input()

    def join(self, replica_id: str) -> None:
        """Take in a replica whose engine has seen nothing; raises ValueError for a name that is in use."""
        if self._replicas.get(replica_id) is not None:
            raise ValueError(f"replica {replica_id} has joined already; report it lost before it joins again")
        self._replicas.add(replica_id)

    def leave(self, replica_id: str) -> None:
        """Give a replica no more slices; what is in flight may be reported, what it has parked starts again elsewhere."""
        replica = self._known(replica_id)
        replica.leaving = True
        self._rounds.returned.push(replica.waiting.pop(len(replica.waiting)))
        self._forget_home(replica)
        self._dismiss(replica)

    def next_slice(self, replica_id: str, rows_at_most: int | None = None, leg: int | None = None) -> Slice | None:
        """Return the next orders for a replica, None when it has nothing to do now; raises ValueError for a stranger.

        rows_at_most: a bound below `slice_rows`, as the replica's pace may ask for. leg: another leg for this slice, as a longer
        way to the replica may ask for.
        """
        replica = self._known(replica_id)
        most = min(self._slice_rows, max(rows_at_most or self._slice_rows, 1))
        if replica.leaving or replica.is_trying:
            return None
        if self._reserve(replica):
            return None if replica.flights else self._next_trial(replica, most)
        rows = self._take(replica, most)
        return self._dispatch.send(replica, rows, leg=leg).orders if len(rows) else None

    def copy_slice(self, replica_id: str, slice_id: int) -> Slice | None:
        """Order the rows of a slice that another replica is slow with a second time; whichever reports first counts. None when nobody
        waits for the slice any more, or when it has a copy or tries suspects."""
        replica, flight = self._known(replica_id), self._replicas.flight(slice_id)
        if flight is None or flight.void or flight.twin or flight.group or flight.is_control:
            return None
        if replica.leaving or replica.is_trying or slice_id in replica.flights:
            return None
        copy = self._dispatch.send(replica, flight.rows)
        copy.twin, flight.twin = flight, copy
        self._copied_slices += 1
        return copy.orders

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
        if flight.void:
            self._ignored_results += 1
            self._end_flight(replica, flight, result)
            return []
        table, rows = self._table, flight.rows
        reported = align(flight, result)
        self._end_flight(replica, flight, result)
        self._trials.controls_failed = 0
        if flight.is_control:
            replica.retired.append(CONTROL)
            return []
        answers = np.fromiter(map(result.answers.__getitem__, reported.answer_key.tolist()), object, len(rows))
        table.report(rows, reported, answers)
        stays = not replica.leaving
        table.home[rows] = replica.number if stays else 0
        if flight.twin is not None:
            flight.twin.void = True
        if flight.group is not None:
            self._rounds.returned.push(self._trials.passed(flight.group))
        else:
            self._trials.losses_in_a_row = 0

        reached = (reported.status != Status.RUNNING) | (reported.depth >= table.target[rows])
        (replica.waiting if stays else self._rounds.returned).push(rows[~reached])
        slots = table.slot_of(rows[reached])
        np.subtract.at(table.pending, slots, 1)
        slots = np.unique(slots)
        found = self._rounds.decide_ready(slots[table.pending[slots] == 0])
        self._settle()
        return found

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
        self._blame(flight, 0)
        self._give_back(flight)
        self._dismiss(replica)
        return True

    def on_lost(self, replica_id: str, suspect: int | None = None, machine_lost: bool = False) -> int:
        """Forget a replica and give out again what it had; returns the number of slices lost, 0 for a stranger.

        suspect: the slice that it was at, if its puzzles may be to blame; ask `take_aside` afterwards. machine_lost: whether
        the machine went with it. What the replica reported stays true: a trajectory is a function of its seed, so another replica
        brings it to the same state.
        """
        replica = self._replicas.get(replica_id)
        if replica is None:
            return 0
        self._forget_home(replica)
        self._replicas.remove(replica)
        weight = LOST_MACHINE if machine_lost else DEATH
        for flight in replica.flights.values():
            self._blame(flight, weight if flight.orders.slice_id == suspect else 0)
            self._give_back(flight)
        self._rounds.returned.push(replica.waiting.pop(len(replica.waiting)))
        self._settle()
        return sum(not flight.void for flight in replica.flights.values())

    def take_aside(self) -> list[Verdict]:
        """Return, once, the verdicts that no report brought: of puzzles set aside, and of those that only waited for them."""
        found, self._aside = self._aside, []
        return found

    def conclude(self, stop: StopReason) -> list[Verdict]:
        """Close every open puzzle with what has been reported of it; the coordinator orders nothing more for them.

        A puzzle of which nothing was reported is dropped without a verdict, for it has no answer. Raises ValueError
        while a slice is in flight.
        """
        if any(replica.flights for replica in self._replicas):
            raise ValueError("puzzles can be concluded between slices only; report or fail the slices in flight first")
        for queue in (*self._rounds.queues, *(replica.waiting for replica in self._replicas)):
            queue.pop(len(queue))
        table = self._table
        slots = np.flatnonzero(table.breadth > 0)
        slots = slots[np.argsort(table.number[slots])]
        self._trials.forget(slots.tolist())
        rows, start = table.rows_of(slots)
        known = np.logical_or.reduceat(table.depth[rows] > 0, start[:-1]) if len(slots) else np.zeros(0, np.bool_)
        self._rounds.retire(slots[~known])
        return self._rounds.close(slots[known], [stop] * int(known.sum())) if known.any() else []

    def counters(self) -> Counters:
        """Return how the run stands."""
        replicas = tuple(replica.counters() for replica in self._replicas)
        return Counters(
            puzzles_submitted=self._table.n_seen,
            puzzles_open=self._table.n_open,
            puzzles_done=self._rounds.puzzles_done,
            nfe=self._rounds.nfe,
            nfe_computed=self._nfe_computed,
            rows_in_flight=sum(replica.rows_in_flight for replica in replicas),
            backlog_iterations=self._table.backlog(),
            slices_done=self._slices_done,
            rows_done=self._rows_done,
            lost_slices=self._lost_slices,
            copied_slices=self._copied_slices,
            ignored_results=self._ignored_results,
            replicas=replicas,
        )

    def _known(self, replica_id: str) -> Replica:
        replica = self._replicas.get(replica_id)
        if replica is None:
            raise ValueError(f"replica {replica_id} has not joined; known are {', '.join(self.replica_ids) or 'none'}")
        return replica

    def _take(self, replica: Replica, most: int) -> I64:
        """Take rows for one slice: its own, then those that wait for anybody."""
        rows = self._pop(replica.waiting, most)
        room = most - len(rows)
        shared = sum(map(len, self._rounds.queues))
        room = min(room, max(-(-shared // max(self._replicas.n_staying, 1)), -(-most // FAIR_SHARE_FLOOR)))
        source = [rows]
        for queue in self._rounds.queues:
            source.append(self._pop(queue, room))
            room -= len(source[-1])
        return np.concatenate(source)

    def _pop(self, queue: RowQueue, most: int) -> I64:
        """Take rows from a queue, those of suspects kept back."""
        rows = queue.pop(most)
        kept = self._trials.divert(rows)
        while len(kept) < len(rows) and len(queue):
            rows = np.concatenate([kept, queue.pop(most - len(kept))])
            kept = self._trials.divert(rows)
        return kept

    def _reserve(self, replica: Replica) -> bool:
        """Return whether the replica is the one, or one of those, that try suspects next."""
        reserved = sum(own.reserved for own in self._replicas if own is not replica)
        replica.reserved = bool(self._trials) and self._trials.n_ready > reserved
        return replica.reserved

    def _next_trial(self, replica: Replica, most: int) -> Slice | None:
        if not replica.n_slices:
            # Only a replica that has worked can tell a puzzle that kills from an engine that does not work.
            return self._dispatch.send_control(replica).orders
        found = self._trials.take(most)
        if found is None:
            return None
        replica.reserved = False
        return self._dispatch.send(replica, found[1], found[0]).orders

    def _end_flight(self, replica: Replica, flight: Flight, result: SliceResult) -> None:
        """Count what a replica did and take its slice off the books."""
        n_rows = len(result.trajectories)
        self._nfe_computed += result.nfe_computed
        self._slices_done += 1
        self._rows_done += n_rows
        replica.nfe_computed += result.nfe_computed
        replica.n_slices += 1
        replica.n_rows += n_rows
        replica.elapsed_s += result.elapsed_s
        del replica.flights[flight.orders.slice_id]
        self._dismiss(replica)

    def _blame(self, flight: Flight, weight: int) -> None:
        """Suspect the puzzles of a slice that a lost replica was at; one that has done enough is condemned. Weight 0 blames nobody."""
        slot = None
        if flight.is_control:
            self._trials.controls_failed += weight == DEATH
        elif flight.group is not None:
            slot = self._trials.failed(flight.group, weight)
        elif weight and not flight.void:
            self._trials.losses_in_a_row += weight == DEATH
            slot = self._trials.suspect(np.unique(self._table.slot_of(flight.rows)).tolist(), weight)
        if slot is not None:
            self._condemned.add(slot)

    def _settle(self) -> None:
        """Close the condemned puzzles on which nobody works any more, and clear suspects that have their verdict."""
        for slot in sorted(self._condemned):
            first, last = self._table.span(slot)
            if self._replicas.works_on(first, last):
                continue
            self._condemned.remove(slot)
            self._trials.forget([slot])
            for queue in (*self._rounds.queues, *(replica.waiting for replica in self._replicas)):
                queue.drop(first, last)
            self._aside += self._rounds.close_crashed(slot)
        # A copy that came back may have finished a puzzle that its first slice made suspect; its slot will hold another one.
        self._trials.forget([slot for slot in self._trials.suspects if self._table.puzzle[slot] is None])

    def _give_back(self, flight: Flight) -> None:
        """Queue the rows of a slice that will not be answered, unless a copy of it is under way; anyone may take them."""
        self._lost_slice_ids.add(flight.orders.slice_id)
        if flight.void:
            return
        self._lost_slices += 1
        if flight.twin is not None:
            flight.twin.twin = None
        else:
            self._rounds.returned.push(self._trials.divert(flight.rows))

    def _forget_home(self, replica: Replica) -> None:
        self._table.home[self._table.home == replica.number] = 0

    def _dismiss(self, replica: Replica) -> None:
        """Forget a leaving replica once nothing of it is in flight."""
        if replica.leaving and not replica.flights:
            self._replicas.remove(replica)
