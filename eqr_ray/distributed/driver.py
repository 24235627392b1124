"""The loop between a coordinator and the replicas: orders out, results in, the lost replaced, newcomers used.

Invariants, asserted in tests/ray_local: verdicts are the same for any number of replicas, lost ones included; a puzzle that kills its
replicas is set aside and the others are solved; what a slow replica does not finish is done by an idle one; an engine that always
fails ends the run with one sentence instead of a hang; no actor outlives the loop. Every wait is bounded, and what a wait could not
get is logged.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

import ray

from eqr_ray.coordinator import Coordinator
from eqr_ray.distributed.pacing import Pace, paced
from eqr_ray.distributed.replica import EngineFactory, Place, start_replica
from eqr_ray.distributed.roster import Patience, Phase, Roster
from eqr_ray.distributed.scaler import Staff
from eqr_ray.distributed.shares import Share
from eqr_ray.types import Puzzle, Slice, SliceResult, StopReason, Verdict

log = logging.getLogger(__name__)

TICK_S = 0.25
"""Longest wait for a result before the clock is looked at again."""
FETCH_S = 30.0
"""Longest wait for a result that Ray reported as ready: its node may be lost between the two."""
SURVEY_S = 2.0
"""How often nodes and the wanted number of replicas are looked at."""
REPORT_S = 15.0
"""How often a wait that brings nothing is logged."""


class GaveUp(RuntimeError):
    """The run cannot go on; the message is one sentence. What was written so far is good and can be resumed."""


@dataclass(frozen=True, slots=True)
class Staffing:
    """Who does the work."""

    factory: EngineFactory
    share: Share
    desired: Callable[[], int]
    """How many replicas to keep; asked every few seconds, so that the number may follow the cluster."""
    draining: Callable[[], frozenset[str]]
    """Ids of nodes that will be taken away."""
    living: Callable[[], frozenset[str]] | None = None
    """Ids of the nodes that are there; None where no node ever leaves."""
    run: str = ""
    """Part of the names of the actors; it must differ between runs that share a Ray namespace."""
    patience: Patience = field(default_factory=Patience)
    least_rows: int = 1
    """Rows that fill one replica's batch, and those of its first slice: fewer would compute beside empty slots."""
    most_rows: int = 8192


@dataclass(slots=True)
class Effort:
    """What the run took so far."""

    lost_replicas: int = 0
    crashed: int = 0
    """Puzzles set aside."""
    wanted: int = 0
    """Replicas that should be at work."""
    ready: int = 0
    """Replicas at work now."""
    most_ready: int = 0
    devices: set[str] = field(default_factory=set)


class _Kind(StrEnum):
    HELLO = "hello"
    SLICE = "slice"
    PING = "ping"


@dataclass(frozen=True, slots=True, eq=False)
class _Awaited:
    kind: _Kind
    replica_id: str
    slice_id: int = 0


class Driver:
    """Runs a coordinator's work on Ray actors."""

    def __init__(self, coordinator: Coordinator, staffing: Staffing) -> None:
        self.effort = Effort()
        self._coordinator = coordinator
        self._staffing = staffing
        self._roster = Roster(staffing.patience, time.monotonic())
        self._actors: dict[str, Any] = {}
        self._pace: dict[str, Pace] = {}
        self._awaited: dict[ray.ObjectRef, _Awaited] = {}
        self._aside: list[Verdict] = []
        self._surveyed_at = -SURVEY_S
        self._reported_at = time.monotonic()
        self._factory = ray.put(staffing.factory)

    def drive(self, puzzles: Iterator[Puzzle]) -> Generator[list[Verdict], None, None]:
        """Yield verdicts as they are reached, an empty list when a tick brought none; raise GaveUp.

        Puzzles are taken from the iterator as the coordinator admits them. Closing the generator ends every actor.
        """
        more = True
        try:
            while True:
                while more and self._coordinator.can_admit():
                    batch = list(islice(puzzles, self._coordinator.room))
                    more = bool(batch)
                    self._coordinator.submit(batch)
                    if not more:
                        self._coordinator.end_input()
                if not more and self._coordinator.done and not self._aside:
                    return
                now = time.monotonic()
                self._staff(now)
                self._check(now)
                self._hand_out(now)
                verdicts = self._collect() + self._aside
                self._aside = []
                yield verdicts
        finally:
            for replica_id in self._roster:
                self._dismiss(replica_id)

    def staff(self, idle_s: float) -> Staff:
        """Return who is there; a ready replica without orders counts as busy for `idle_s`."""
        roster, now = self._roster, time.monotonic()
        ready, starting = roster.count(Phase.READY), roster.count(Phase.STARTING)
        return Staff(ready, starting, roster.n_busy(now, idle_s), roster.n_nodes())

    def _staff(self, now: float) -> None:
        trials = self._coordinator.trials
        why = self._roster.why_give_up(now, trials.controls_failed, trials.losses_in_a_row)
        if why is not None:
            raise GaveUp(why)
        if now - self._surveyed_at >= SURVEY_S:
            self._surveyed_at = now
            desired = self.effort.wanted = self._staffing.desired()
            for replica_id in self._roster.retire(desired, self._staffing.draining()):
                log.info("%s leaves: its node is drained or fewer replicas are wanted", replica_id)
                if replica_id in self._coordinator.replica_ids:
                    self._coordinator.leave(replica_id)
            for _ in range(self._roster.missing(desired)):
                replica_id = self._roster.enlist(now)
                self._actors[replica_id] = start_replica(
                    self._factory, self._staffing.share, replica_id, self._staffing.run
                )
                self._await(_Kind.HELLO, replica_id, self._actors[replica_id].ping.remote())
        for replica_id in self._roster.leavers():
            self._roster.left(replica_id)
            self._dismiss(replica_id)

    def _check(self, now: float) -> None:
        checks = self._roster.checks(now)
        for replica_id in checks.probe:
            log.info("%s has been quiet for %.0f s; pinging it", replica_id, self._staffing.patience.quiet_s)
            self._await(_Kind.PING, replica_id, self._actors[replica_id].ping.remote())
        for replica_id in checks.lost:
            self._lose(replica_id, "it neither finished its slice nor answered in time")

    def _hand_out(self, now: float) -> None:
        # Second slices go out after every replica has its first, so that scarce work spreads.
        for _ in range(self._staffing.patience.in_flight):
            for replica_id in self._roster.takers():
                orders = self._coordinator.next_slice(replica_id, self._pace[replica_id].rows)
                if orders is not None:
                    self._send(replica_id, orders, now)
                elif self._roster.is_idle(replica_id):
                    self._help_out(replica_id, now)

    def _help_out(self, replica_id: str, now: float) -> None:
        """Let a replica that has nothing to do do what another one is slow with."""
        for slice_id in self._roster.slow(now):
            copy = self._coordinator.copy_slice(replica_id, slice_id)
            if copy is not None:
                self._roster.copied(slice_id)
                log.info("slice %d is slow; %s does it a second time", slice_id, replica_id)
                self._send(replica_id, copy, now)
                return

    def _send(self, replica_id: str, orders: Slice, now: float) -> None:
        self._roster.sent(replica_id, orders.slice_id, now)
        reference = self._actors[replica_id].run.options(name="eqr.slice").remote(orders)
        self._awaited[reference] = _Awaited(_Kind.SLICE, replica_id, orders.slice_id)

    def _collect(self) -> list[Verdict]:
        if not self._awaited:
            time.sleep(TICK_S)
            return []
        ready, _ = ray.wait(list(self._awaited), num_returns=1, timeout=TICK_S)
        now = time.monotonic()
        if not ready:
            if now - self._reported_at >= REPORT_S:
                self._reported_at = now
                starting, working = self._roster.count(Phase.STARTING), self._roster.count(Phase.READY)
                log.info(
                    "waiting: %d replicas starting, %d ready, %d answers due", starting, working, len(self._awaited)
                )
            return []
        self._reported_at = now
        ready, _ = ray.wait(list(self._awaited), num_returns=len(self._awaited), timeout=0)
        verdicts: list[Verdict] = []
        failed: list[tuple[_Awaited, ray.exceptions.RayError]] = []
        for reference in ready:
            awaited = self._awaited.pop(reference, None)
            if awaited is None:
                continue
            try:
                value = ray.get(reference, timeout=FETCH_S)
            except ray.exceptions.RayError as error:
                failed.append((awaited, error))
                continue
            verdicts += self._receive(awaited, value, time.monotonic())
        # After the results that arrived with them, so that the slice blamed is the one that the replica was at.
        for awaited, problem in failed:
            if awaited.replica_id in self._roster:
                raised = awaited.kind is _Kind.SLICE and isinstance(problem, ray.exceptions.RayTaskError)
                self._lose(awaited.replica_id, _reason(problem), awaited.slice_id if raised else None)
        return verdicts

    def _receive(self, awaited: _Awaited, value: SliceResult | Place, now: float) -> list[Verdict]:
        replica_id = awaited.replica_id
        if isinstance(value, SliceResult):
            try:
                verdicts = self._coordinator.on_result(value)
            except ValueError as error:
                self._lose(replica_id, f"its report was wrong: {error}", awaited.slice_id)
                return []
            self._aside += self._coordinator.take_aside()
            self._roster.returned(replica_id, awaited.slice_id, now)
            self._pace[replica_id] = paced(
                self._pace[replica_id],
                len(value.trajectories),
                value.elapsed_s,
                self._staffing.least_rows,
                self._staffing.most_rows,
            )
            return verdicts
        if awaited.kind is _Kind.PING:
            self._roster.answered(replica_id, now)
            return []
        log.info("%s is ready on %s (process %d)", replica_id, value.device, value.pid)
        self._roster.ready(replica_id, value.node_id, now)
        self._pace[replica_id] = Pace(self._staffing.least_rows)
        self._coordinator.join(replica_id)
        self.effort.devices.add(value.device)
        self.effort.ready = len(self._pace)
        self.effort.most_ready = max(self.effort.most_ready, self.effort.ready)
        return []

    def _await(self, kind: _Kind, replica_id: str, reference: ray.ObjectRef) -> None:
        self._awaited[reference] = _Awaited(kind, replica_id)

    def _lose(self, replica_id: str, why: str, suspect: int | None = None) -> None:
        """Give the replica's work back to the coordinator; `_staff` starts another under a new name.

        suspect: the slice that did it; None for the one that it was at.
        """
        living = self._staffing.living() if self._staffing.living else None
        node_id = self._roster.node_of(replica_id)
        gone = living is not None and node_id is not None and node_id not in living
        machine_lost = gone or "node has died" in why
        log.warning("%s is lost%s: %s", replica_id, " with its machine" if machine_lost else "", why)
        suspect = self._roster.oldest(replica_id) if suspect is None else suspect
        self._roster.gone(replica_id, why, machine_lost)
        self._coordinator.on_lost(replica_id, suspect, machine_lost)
        for verdict in (aside := self._coordinator.take_aside()):
            if verdict.stop is StopReason.CRASHED:
                self.effort.crashed += 1
                log.warning("%s is set aside: replicas die of it; the last time: %s", verdict.puzzle_id, why)
        self._aside += aside
        self._dismiss(replica_id)
        self._surveyed_at = -SURVEY_S
        self.effort.lost_replicas += 1

    def _dismiss(self, replica_id: str) -> None:
        self._awaited = {ref: awaited for ref, awaited in self._awaited.items() if awaited.replica_id != replica_id}
        self._pace.pop(replica_id, None)
        self.effort.ready = len(self._pace)
        actor = self._actors.pop(replica_id, None)
        if actor is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)


def _reason(error: Exception) -> str:
    """Return what went wrong in one line: the engine's own exception where there is one."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return f"{type(cause).__name__}: {cause}"[:300]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = isinstance(error, ray.exceptions.ActorDiedError) and "creation task" in str(error)
    return (lines[-1] if raised else lines[0])[:300] if lines else type(error).__name__
