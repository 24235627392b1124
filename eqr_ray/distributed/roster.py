"""Who works for a run and what is to be done about each: a pure record, told what happened and when, asked what to do next.

Invariants, asserted in tests/unit/distributed/test_roster.py: a replica never holds more orders than allowed; only a ready one gets work; a
silent replica is probed before it is declared lost, and a replica that answers is given up only after `hang_s`; a name is never
used twice; a run gives up only when nothing was heard for `give_up_s` or when replicas keep dying whatever they are given; a slice is
slow only against the pace of the whole crew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

SMOOTHING = 0.1
"""Weight of the newest slice in the mean duration: dozens of slices, so that one that hung moves it little."""


class Phase(StrEnum):
    """Where a replica stands."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    """Finishes the orders it has and gets no more: it is surplus, or its node is being drained."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and for what; every figure trades a false alarm against lost time."""

    in_flight: int = 2
    """Slices that a replica holds: one runs while the next waits, so that the device never idles; four measured worse."""
    quiet_s: float = 30.0
    """A replica with orders that was not heard for this long is pinged."""
    ping_s: float = 15.0
    """A ping that takes longer means that the process or its node is gone."""
    hang_s: float = 900.0
    """A slice that runs this long is given up although the replica answers pings: its device hangs."""
    give_up_s: float = 600.0
    """With no replica ready for this long the run fails; an autoscaler needs a few minutes to bring a machine."""
    tries: int = 5
    """How many replicas in a row may die before they can work, or on a blank board: more means that the engine is at fault, not the
    machines or a puzzle."""
    slow_s: float = 3.0
    """A slice younger than this is never ordered a second time."""
    slow_factor: float = 5.0
    """A slice is slow, and is ordered a second time where a replica idles, when it takes so many times what slices of this run take:
    smaller pays for more work done twice, larger waits longer for a machine in trouble."""


@dataclass(slots=True)
class _Member:
    phase: Phase
    heard_at: float
    node_id: str | None = None
    orders: dict[int, float] = field(default_factory=dict)
    """slice_id -> when it became the replica's turn, at the earliest."""
    n_results: int = 0
    probed_at: float | None = None
    idle_at: float = 0.0
    """When it last had nothing to do, if it has no orders."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What the clock asks for."""

    probe: tuple[str, ...]
    lost: tuple[str, ...]


class Roster:
    """The replicas of one run."""

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._members: dict[str, _Member] = {}
        self._n_named = 0
        self._n_stillborn = 0
        self._served_at = now
        self._typical_s: float | None = None
        """Running mean of how long slices take; None before the first."""
        self._copied: set[int] = set()
        self.last_loss = ""
        """What was last said about a lost replica; part of the message when the run gives up."""

    def __contains__(self, replica_id: str) -> bool:
        return replica_id in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._members))

    def count(self, phase: Phase) -> int:
        """Return how many replicas are in a phase."""
        return sum(member.phase is phase for member in self._members.values())

    def enlist(self, now: float) -> str:
        """Add a replica that is being started; returns its name, which no other replica of the run ever has."""
        self._n_named += 1
        replica_id = f"replica-{self._n_named}"
        self._members[replica_id] = _Member(Phase.STARTING, now)
        return replica_id

    def ready(self, replica_id: str, node_id: str, now: float) -> None:
        """The replica has built its engine on a node."""
        member = self._members[replica_id]
        member.node_id, member.heard_at, member.idle_at, self._served_at = node_id, now, now, now
        if member.phase is Phase.STARTING:
            member.phase = Phase.READY

    def sent(self, replica_id: str, slice_id: int, now: float) -> None:
        """The replica was given orders."""
        member = self._members[replica_id]
        if member.phase is not Phase.READY or len(member.orders) >= self._patience.in_flight:
            raise RuntimeError(
                f"{replica_id} is {member.phase} with {len(member.orders)} orders and cannot take slice {slice_id}"
            )
        if not member.orders:
            member.heard_at = now
        member.orders[slice_id] = now

    def returned(self, replica_id: str, slice_id: int, now: float) -> None:
        """A result arrived."""
        member = self._members[replica_id]
        began = member.orders.pop(slice_id, now)
        mean = now - began if self._typical_s is None else self._typical_s
        self._typical_s = mean + SMOOTHING * (now - began - mean)
        self._copied.discard(slice_id)
        member.orders = dict.fromkeys(member.orders, now)
        member.n_results += 1
        member.idle_at = now
        member.heard_at, self._served_at = now, now
        self._n_stillborn = 0

    def answered(self, replica_id: str, now: float) -> None:
        """A ping came back."""
        member = self._members[replica_id]
        member.probed_at, member.heard_at = None, now

    def node_of(self, replica_id: str) -> str | None:
        """Return the node of a replica, None before it is ready."""
        return self._members[replica_id].node_id

    def oldest(self, replica_id: str) -> int | None:
        """Return the slice that a replica is at: slices run in the order in which they were sent."""
        return next(iter(self._members[replica_id].orders), None)

    def gone(self, replica_id: str, why: str, machine_lost: bool = False) -> None:
        """The replica is lost, with its machine or alone; its name is struck off."""
        member = self._members.pop(replica_id)
        self.last_loss = why
        if member.phase is Phase.STARTING and not machine_lost:
            self._n_stillborn += 1

    def left(self, replica_id: str) -> None:
        """The replica finished its orders and was let go."""
        del self._members[replica_id]

    def retire(self, desired: int, draining: frozenset[str]) -> tuple[str, ...]:
        """Let replicas on draining nodes and those beyond `desired` leave; returns their names.

        Starting ones leave first, then idle ones, then those with the fewest others on their node, so that nodes become free.
        """
        active = [(name, m) for name, m in self._members.items() if m.phase is not Phase.LEAVING]
        staying = [(name, m) for name, m in active if m.node_id not in draining]
        crowd = Counter(m.node_id for _, m in staying)
        staying.sort(
            key=lambda entry: (entry[1].phase is Phase.STARTING, not entry[1].orders, -crowd[entry[1].node_id])
        )
        kept = {name for name, _ in staying[: max(desired, 0)]}
        leaving = [(name, m) for name, m in active if name not in kept]
        for _, member in leaving:
            member.phase = Phase.LEAVING
        return tuple(name for name, _ in leaving)

    def missing(self, desired: int) -> int:
        """Return how many replicas to start so that `desired` are starting or ready."""
        return max(0, desired - self.count(Phase.STARTING) - self.count(Phase.READY))

    def leavers(self) -> tuple[str, ...]:
        """Return the leaving replicas that have no orders any more."""
        return tuple(name for name, m in self._members.items() if m.phase is Phase.LEAVING and not m.orders)

    def takers(self) -> tuple[str, ...]:
        """Return the replicas that can take orders, idle ones first."""
        free = [
            (len(member.orders), name)
            for name, member in self._members.items()
            if member.phase is Phase.READY
            and member.probed_at is None
            and len(member.orders) < self._patience.in_flight
        ]
        return tuple(name for _, name in sorted(free, key=lambda entry: entry[0]))

    def is_idle(self, replica_id: str) -> bool:
        """Return whether a replica is ready and has no orders."""
        member = self._members[replica_id]
        return member.phase is Phase.READY and not member.orders

    def n_busy(self, now: float, idle_s: float) -> int:
        """Return how many ready replicas have orders, or had some less than `idle_s` ago."""
        ready = [m for m in self._members.values() if m.phase is Phase.READY]
        return sum(bool(m.orders) or now - m.idle_at <= idle_s for m in ready)

    def n_nodes(self) -> int:
        """Return how many nodes hold replicas."""
        return len({m.node_id for m in self._members.values() if m.node_id is not None})

    def slow(self, now: float) -> tuple[int, ...]:
        """Return the slices that take far longer than slices of this run do and were not copied, oldest first."""
        if self._typical_s is None:
            return ()
        limit = max(self._patience.slow_s, self._patience.slow_factor * self._typical_s)
        late = [
            (since, slice_id)
            for member in self._members.values()
            for slice_id, since in member.orders.items()
            if now - since > limit and slice_id not in self._copied
        ]
        return tuple(slice_id for _, slice_id in sorted(late))

    def copied(self, slice_id: int) -> None:
        """The slice was ordered a second time, or cannot be."""
        self._copied.add(slice_id)

    def checks(self, now: float) -> Checks:
        """Return whom to ping and whom to declare lost; a replica named in `probe` counts as pinged from now on."""
        probe: list[str] = []
        lost: list[str] = []
        for name, member in self._members.items():
            if not member.orders:
                continue
            hangs = now - min(member.orders.values()) > self._patience.hang_s
            silent = member.probed_at is not None and now - member.probed_at > self._patience.ping_s
            if hangs or silent:
                lost.append(name)
            elif member.probed_at is None and now - member.heard_at > self._patience.quiet_s:
                member.probed_at = now
                probe.append(name)
        return Checks(tuple(probe), tuple(lost))

    def why_give_up(self, now: float, controls_failed: int = 0, losses_in_a_row: int = 0) -> str | None:
        """Return a sentence when the run has no hope of going on, else None.

        controls_failed: replicas in a row that died on a blank board. losses_in_a_row: ordinary slices in a row that were lost with
        their replica on a machine that lives.
        """
        tries = self._patience.tries
        if self._n_stillborn >= tries:
            return f"{self._n_stillborn} replicas in a row died before they could work; the last one: {self.last_loss}"
        if controls_failed >= tries:
            return f"{controls_failed} replicas in a row died on a blank board; the last one: {self.last_loss}"
        if losses_in_a_row >= 2 * tries + len(self._members):
            return (
                f"{losses_in_a_row} slices in a row were lost with their replicas, which only do the smallest ones; "
                f"the last one: {self.last_loss}"
            )
        if self.count(Phase.READY) or self.count(Phase.LEAVING):
            self._served_at = now
        if now - self._served_at > self._patience.give_up_s:
            waited = round(self._patience.give_up_s)
            cause = self.last_loss or "no node has the CPUs or GPUs that a replica asks for"
            return f"no replica could be had for {waited} s ({cause})"
        return None
