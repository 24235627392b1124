"""How a run stands, from its folder alone: running, stopped, dead or done.

Invariants, asserted in tests/unit/runs/test_status.py: no verdict is read, only the manifest, the lock and what sessions took; a run whose
driver is gone is not called running; what is not known is None.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from enum import StrEnum

from eqr_ray.evaluation.scoring import wilson
from eqr_ray.runs.folder import CONFIG, SHARDS, SUMMARY, Session, read_config, read_sessions
from eqr_ray.runs.manifest import Manifest, read_manifest
from eqr_ray.storage import Kind, LockState, Place, read_lock
from eqr_ray.types import InputError, StorageError


class RunState(StrEnum):
    """What a run is at."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    """It gave its lock back before its end, and can be resumed."""
    DEAD = "dead"
    """It has not been heard of for longer than its lock lasts, or its process is no more; it can be resumed."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a run stands."""

    folder: str
    run_id: str
    state: RunState
    done: int
    """Verdicts that are written; of a running one, those that are reached."""
    total: int | None
    exact_accuracy: float | None
    exact_accuracy_ci95: tuple[float, float] | None
    nfe: int
    puzzles_per_s: float | None
    """Of the session that runs, or of all of them."""
    left_s: float | None
    replicas: int
    wall_s: float
    replica_hours: float
    cost: float | None
    """At the price given."""
    lost_replicas: int
    lost_slices: int
    storage_retries: int
    sessions: int
    owner: str | None
    """Who writes, or wrote last."""
    heard_s: float | None
    """Since its last heartbeat."""
    git_revision: str
    policy: str


def statuses(folder: str, price_per_hour: float | None = None) -> list[Status]:
    """Return the status of a run, and of each of its shards; InputError where there is no run.

    price_per_hour: of one replica.
    """
    place = Place(folder)
    try:
        shards = place.at(SHARDS).names(Kind.FOLDER)
        places = [place.at(f"{SHARDS}/{name}") for name in sorted(shards, key=_shard_order)]
        whole = read_config(place)
        if whole is None and not places:
            raise InputError(f"{folder} holds no {CONFIG} of an evaluation; give the --out folder of one")
        return [_status(own, price_per_hour) for own in ([place] if whole is not None else []) + places]
    except StorageError as error:
        raise InputError(str(error)) from None


def _shard_order(name: str) -> tuple[int, str]:
    first = name.partition("-")[0]
    return (int(first) if first.isdigit() else 0, name)


def _status(place: Place, price_per_hour: float | None) -> Status:
    config = read_config(place)
    lock = read_lock(place)
    manifest = read_manifest(place)
    sessions = list(read_sessions(place))
    if manifest is None:
        manifest = _of_summary(place)
    state = _state(lock, manifest)
    live = _live(lock, sessions) if state is RunState.RUNNING else None
    took = Session(**{
        name: sum(getattr(session, name) for session in sessions)
        for name in ("wall_s", "lost_slices", "replica_s", "lost_replicas", "storage_retries", "done")
    })  # fmt: skip
    wall_s, replica_s, retries = took.wall_s, took.replica_s, took.storage_retries
    done = manifest.rows
    rate = took.done / took.wall_s if took.done and took.wall_s else None
    total, replicas = manifest.total, max((session.replicas for session in sessions), default=0)
    if live is not None:
        done, total, replicas = max(done, live.done), live.total if live.total is not None else total, live.replicas
        wall_s, replica_s, retries = wall_s + live.elapsed_s, replica_s + live.replica_s, retries + live.storage_retries
        rate = (live.done - live.done_before) / live.elapsed_s if live.elapsed_s > 0 else None
    left = None if total is None else total - done
    interval = wilson(manifest.exact, manifest.scored)
    return Status(
        folder=place.uri,
        run_id=manifest.run_id,
        state=state,
        done=done,
        total=total,
        exact_accuracy=manifest.exact / manifest.scored if manifest.scored else None,
        exact_accuracy_ci95=interval,
        nfe=manifest.nfe,
        puzzles_per_s=rate,
        left_s=left / rate if live is not None and rate and left is not None else None,
        replicas=replicas,
        wall_s=wall_s,
        replica_hours=replica_s / 3600,
        cost=None if price_per_hour is None else replica_s / 3600 * price_per_hour,
        lost_replicas=took.lost_replicas,
        lost_slices=took.lost_slices,
        storage_retries=retries,
        sessions=len(sessions),
        owner=None if lock is None else f"process {lock.owner.pid} on {lock.owner.host}",
        heard_s=None if lock is None else lock.age_s,
        git_revision=manifest.git_revision,
        policy="" if config is None else config.policy.name,
    )


def _state(lock: LockState | None, manifest: Manifest) -> RunState:
    if lock is not None:
        return RunState.DEAD if lock.is_free else RunState.RUNNING
    return RunState.DONE if manifest.complete else RunState.STOPPED


@dataclass(frozen=True, slots=True)
class _Live:
    """What the owner of a lock says of its work."""

    done: int = 0
    done_before: int = 0
    total: int | None = None
    elapsed_s: float = 0.0
    replicas: int = 0
    replica_s: float = 0.0
    storage_retries: int = 0


def _live(lock: LockState | None, sessions: list[Session]) -> _Live | None:
    """Return what a running session says of itself; its own entry among the sessions, written with each part, is left out."""
    if lock is None or not lock.note:
        return None
    known = {column.name for column in fields(_Live)}
    live = _Live(**{key: value for key, value in lock.note.items() if key in known})  # type: ignore[arg-type]
    before = lock.note.get("sessions_before")
    if isinstance(before, int):
        del sessions[before:]
    return live


def _of_summary(place: Place) -> Manifest:
    """Return the state of a folder of a version without manifests."""
    try:
        summary = json.loads(place.read(SUMMARY) or b"{}")
    except ValueError:
        summary = {}
    rows = int(summary.get("puzzles") or 0)
    return Manifest("", (), rows or None, bool(summary))
