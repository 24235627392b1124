"""One writer to a folder: a lock with an owner and a heartbeat.

The rule: the lock belongs to whoever created it, for as long as it is renewed. It is free when its owner is a process of this machine that
is no more, or when it was not renewed for `LEASE_S`, by the storage's clock. Invariants, asserted in tests/storage/test_lock.py: of several
that want it one gets it; a lock whose owner died is taken over by exactly one; an owner that was taken over learns of it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType

from eqr_ray.storage.place import Place, Versioned
from eqr_ray.types import InputError, StorageError

log = logging.getLogger(__name__)

LOCK = "lock.json"
LEASE_S = 60.0
"""How long a lock holds without a heartbeat: shorter frees a dead owner's folder sooner, longer bears a longer silence of the storage."""
BEATS = 4
"""Heartbeats in a lease."""
POLL_S = 1.0


class Held(InputError):
    """Somebody else writes to the folder; the message says who and what can be done."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock."""

    token: str
    """Of this one acquisition."""
    host: str
    machine: str
    """Boot and process namespace: where `pid` means something."""
    pid: int
    born: str
    """The process's start, which tells it from a later one with its number."""
    since: str

    @property
    def is_dead(self) -> bool:
        """Whether it was a process of this machine and is no more; False where nobody here can know."""
        return self.machine == _machine() and self.born != _born(self.pid)


def this_process() -> Owner:
    """Return this process as an owner."""
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Owner(uuid.uuid4().hex, socket.gethostname(), _machine(), os.getpid(), _born(os.getpid()), since)


@dataclass(frozen=True, slots=True)
class LockState:
    """What a reader sees of a lock."""

    owner: Owner
    note: dict[str, object]
    """What the owner says of its work."""
    age_s: float
    """Since the last heartbeat."""

    @property
    def is_free(self) -> bool:
        """Whether its owner is gone."""
        return self.owner.is_dead or self.age_s > LEASE_S


def read_lock(place: Place) -> LockState | None:
    """Return the lock of a folder, None where nobody holds one."""
    seen = place.versioned(LOCK)
    return None if seen is None else _state(seen)


class RunLock:
    """The lock of one folder; a context that holds it."""

    def __init__(self, place: Place, wait: bool = False, note: Callable[[], dict[str, object]] = dict) -> None:
        """wait: whether to wait for the end of a silent owner's lease. note: asked at each heartbeat, readable by others."""
        self._place, self._wait, self._note = place, wait, note
        self._owner = this_process()
        self._version = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="eqr-lock", daemon=True)
        self.lost = False
        """Whether another run has taken the folder over."""

    def __enter__(self) -> RunLock:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        try:
            now = self._place.versioned(LOCK)
            if now is not None and now.version == self._version:
                self._place.remove(LOCK)
        except StorageError as problem:
            log.warning("the lock could not be given back, it lapses in %.0f s: %s", LEASE_S, problem)

    def _acquire(self) -> None:
        try:
            self._contend()
        except StorageError as error:
            raise InputError(f"{error}; the folder is what out names") from None

    def _contend(self) -> None:
        told = False
        while True:
            version = self._place.create(LOCK, self._content())
            seen = None if version else self._place.versioned(LOCK)
            if seen is not None:
                state = _state(seen)
                if state is None or state.is_free:
                    version = self._place.replace(LOCK, self._content(), seen.version)
                    if version and state is not None:
                        log.warning("the lock of %s is taken over: its owner is gone", _name(state.owner))
                elif not self._wait or state.age_s < LEASE_S / BEATS:
                    # A heartbeat that recent is that of a living owner, unless it died a moment ago.
                    self._refuse_unless_silent(state, seen)
                elif not told:
                    told = True
                    log.warning(
                        "%s has been silent for %.0f s; its lock lapses after %.0f s",
                        _name(state.owner), state.age_s, LEASE_S,
                    )  # fmt: skip
            if version:
                self._version = version
                return
            time.sleep(POLL_S if seen is not None else 0.05)

    def _refuse_unless_silent(self, state: LockState, seen: Versioned) -> None:
        """Raise Held, after waiting for another heartbeat where waiting was asked for."""
        if self._wait:
            ends = time.monotonic() + LEASE_S / BEATS * 2
            while time.monotonic() < ends:
                time.sleep(POLL_S)
                now = self._place.versioned(LOCK)
                if now is None:
                    return
                if now.version != seen.version:
                    break
            else:
                return
        raise Held(
            f"{self._place.uri} is being written by {_name(state.owner)} since {state.owner.since}; wait for it, stop it, "
            "take a share of the work with --shard i/n, or choose another folder with --out"
        )

    def _content(self) -> bytes:
        beat = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return (
            json.dumps({"owner": asdict(self._owner), "beat": beat, "note": self._note()}, indent=1) + "\n"
        ).encode()

    def _beat_on(self) -> None:
        while not self._ended.wait(LEASE_S / BEATS):
            try:
                version = self._place.replace(LOCK, self._content(), self._version)
            except StorageError as error:
                # The storage is silent. Whether the folder still is ours, the next heartbeat tells.
                log.warning("no heartbeat: %s", error)
                continue
            if version is None:
                log.error("another run has taken %s over", self._place.uri)
                self.lost = True
                return
            self._version = version


def _state(seen: Versioned) -> LockState | None:
    """Return what a lock file says, None for one that nobody can read."""
    try:
        values = json.loads(seen.content)
        known = {field.name for field in fields(Owner)}
        owner = Owner(**{key: value for key, value in values["owner"].items() if key in known})
        return LockState(owner, dict(values.get("note") or {}), seen.age_s)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _name(owner: Owner) -> str:
    return f"process {owner.pid} on {owner.host}"


def _machine() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        # Without /proc a process number proves nothing, so nobody's death is ever concluded from it.
        return uuid.uuid4().hex


def _born(pid: int) -> str:
    """Return when a process of this machine was started; empty for one that is no more."""
    try:
        fields_after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields_after_name[0] == "Z" else fields_after_name[19]
