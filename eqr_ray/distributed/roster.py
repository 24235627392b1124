"""Who works for a run and what is to be done about each: a pure record, told what happened and when, asked what to do next.

Invariants, asserted in tests/unit/distributed/test_roster.py: a replica never holds more orders than allowed; only a ready one gets work; a
silent replica is probed before it is declared lost, and a replica that answers is given up only after `hang_s`; a name is never
used twice; a run gives up only when nothing was heard for `give_up_s` or when replicas keep dying before their first result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


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
    """How often in a row the orders of one puzzle may be lost, and how many replicas in a row may die before any result arrives: more
    means that the engine or the orders are at fault, not the machines."""


@dataclass(slots=True)
class _Member:
    phase: Phase
    heard_at: float
    node_id: str | None = None
    orders: dict[int, float] = field(default_factory=dict)
    """slice_id -> when it became the replica's turn, at the earliest."""
    n_results: int = 0
    probed_at: float | None = None


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
        member.node_id, member.heard_at, self._served_at = node_id, now, now
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
        member.orders.pop(slice_id, None)
        member.orders = dict.fromkeys(member.orders, now)
        member.n_results += 1
        member.heard_at, self._served_at = now, now
        self._n_stillborn = 0

    def answered(self, replica_id: str, now: float) -> None:
        """A ping came back."""
        member = self._members[replica_id]
        member.probed_at, member.heard_at = None, now

    def gone(self, replica_id: str, why: str) -> None:
        """The replica is lost; its name is struck off."""
        member = self._members.pop(replica_id)
        self.last_loss = why
        if member.n_results == 0:
            self._n_stillborn += 1

    def left(self, replica_id: str) -> None:
        """The replica finished its orders and was let go."""
        del self._members[replica_id]

    def retire(self, desired: int, draining: frozenset[str]) -> tuple[str, ...]:
        """Let replicas on draining nodes and those beyond `desired` leave, starting ones first; returns their names."""
        active = [(name, m) for name, m in self._members.items() if m.phase is not Phase.LEAVING]
        staying = [(name, m) for name, m in active if m.node_id not in draining]
        staying.sort(key=lambda entry: entry[1].phase is Phase.STARTING)
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

    def why_give_up(self, now: float) -> str | None:
        """Return a sentence when the run has no hope of going on, else None."""
        if self._n_stillborn >= self._patience.tries:
            return (
                f"{self._n_stillborn} replicas in a row died before their first result; the last one: {self.last_loss}"
            )
        if self.count(Phase.READY) or self.count(Phase.LEAVING):
            self._served_at = now
        if now - self._served_at > self._patience.give_up_s:
            waited = round(self._patience.give_up_s)
            cause = self.last_loss or "no node has the CPUs or GPUs that a replica asks for"
            return f"no replica could be had for {waited} s ({cause})"
        return None
