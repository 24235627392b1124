"""The folder of an evaluation: what is in it, who may write to it, and what earlier sessions of the same run left there.

Invariants, asserted in tests/unit/runs/test_folder.py: results of an earlier run are never overwritten, and continued only by a run that
would reach the same verdicts; one run writes at a time; a verdict is in one part, whatever was cut off when; a file appears whole or not
at all.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pyarrow as pa

from eqr_ray.config import EvaluateConfig, first_difference
from eqr_ray.coordinator.ledger import Ledger, PartTaken
from eqr_ray.evaluation.verdicts import VERDICT_SCHEMA
from eqr_ray.puzzles.ids import PuzzleIds
from eqr_ray.runs.logs import of_run
from eqr_ray.runs.manifest import MANIFEST, Manifest, Part, Register, Superseded, part_of
from eqr_ray.storage import Kind, Place, RunLock
from eqr_ray.types import InputError, StorageError

log = logging.getLogger(__name__)

CONFIG, SUMMARY, SESSIONS, REPORT = "config.json", "summary.json", "sessions.json", "report.html"
VERDICTS, SHARDS = "verdicts", "shards"
GIT_REVISION = "EQR_GIT_REVISION"
"""Environment of a submitted job: the revision that it was submitted from."""


@dataclass(frozen=True, slots=True)
class Session:
    """What one session of a run took; a run that was resumed has several."""

    wall_s: float = 0.0
    """Time from the first replica's start to the last verdict."""
    nfe_computed: int = 0
    lost_slices: int = 0
    replicas: int = 0
    """The most that worked at once."""
    device: str = ""
    checkpoint_sha256: str = ""
    replica_s: float = 0.0
    """Time of all replicas, added up."""
    lost_replicas: int = 0
    storage_retries: int = 0
    """Times that the storage refused something and was asked again."""
    done: int = 0
    """Verdicts of this session."""


class Folder:
    """One evaluation's folder, local or on S3; opening it writes nothing."""

    def __init__(self, config: EvaluateConfig, checkpoint_sha256: str = "") -> None:
        """config: resolved. Raises InputError when the folder holds results that this run may not touch or go on with."""
        self.place = Place(folder_of(config))
        self.uri = self.place.uri
        self._config = config
        self._check_place()
        self.ledger = Ledger(self.place.at(VERDICTS).uri, VERDICT_SCHEMA)
        self.finished = PuzzleIds()
        """Puzzles that have a verdict; known while the folder is held."""
        self.sessions: tuple[Session, ...] = ()
        """Earlier sessions."""
        if self.ledger.parts:
            self._check_earlier(checkpoint_sha256)
            self.sessions = self._read_sessions()
        else:
            self._check_foreign()
        self._register: Register | None = None

    @contextmanager
    def held(self, note: Callable[[], dict[str, object]] = dict) -> Iterator[None]:
        """Be the only run that writes here; on entry, learn what is done. Raises Held where another run writes.

        note: what status shows of the work, asked every few seconds.
        """
        if self.place.is_local:
            with _as_input_error():
                os.makedirs(self.place.root, exist_ok=True)
        with RunLock(self.place, self._config.resume, note):
            self.ledger.refresh()
            self._register = Register(self.place)
            with of_run(self.manifest.run_id):
                self._take_stock()
                yield

    @property
    def manifest(self) -> Manifest:
        """What is done; known while the folder is held."""
        assert self._register is not None, "the folder is not held"
        return self._register.manifest

    def begin(self, total: int | None) -> None:
        """Write the resolved configuration and the manifest; the first thing that a run writes."""
        with _as_input_error():
            self.write(CONFIG, self._config.dump())
            self._commit(replace(self.manifest, total=total, git_revision=os.environ.get(GIT_REVISION, "")))

    def commit(self, verdicts: pa.Table, origin: str = "") -> None:
        """Write verdicts as one part; on return they are done, whatever happens next."""
        while True:
            try:
                name = self.ledger.write(verdicts)
                break
            except PartTaken:
                # By a successor, and then this fails; or by a driver from before that does not know yet that it was taken over.
                self._commit(self.manifest)
                self.ledger.skip()
        try:
            self._commit(self.manifest.with_parts([*self.manifest.parts, part_of(name, verdicts, origin)]))
        except Superseded:
            self.ledger.remove(name)
            raise
        log.info("%s is written: %d verdicts, %d in all", name, verdicts.num_rows, self.manifest.rows)

    def complete(self) -> None:
        """Say that every puzzle has its verdict; a part that the manifest does not name holds none that is not there too."""
        self.ledger.refresh()
        for name in {*self.ledger.parts} - {part.name for part in self.manifest.parts}:
            self.ledger.remove(name)
        self._commit(replace(self.manifest, complete=True, total=self.manifest.rows))

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder, whole or not at all; StorageError where it cannot be."""
        self.place.write(name, text.encode())

    def write_sessions(self, current: Session) -> None:
        """Write what all sessions took so far."""
        sessions = [asdict(session) for session in (*self.sessions, current)]
        self.write(SESSIONS, json.dumps(sessions, indent=1) + "\n")

    def _commit(self, manifest: Manifest) -> None:
        assert self._register is not None, "the folder is not held"
        self._register.commit(manifest)

    def _take_stock(self) -> None:
        """Learn which puzzles are done. Parts that no manifest names, of a driver that was killed between the two or of a
        version without manifests, are taken in, but for verdicts that are there already."""
        known = {part.name: part for part in self.manifest.parts}
        kept: list[Part] = []
        for name in sorted(self.ledger.parts, key=lambda name: (name not in known, len(name), name)):
            ids = self.ledger.read(name, ["puzzle_id"])["puzzle_id"].to_pylist()
            fresh = np.fromiter((self.finished.add(puzzle_id) for puzzle_id in ids), np.bool_, len(ids))
            if name in known:
                kept.append(known[name])
            elif fresh.all():
                kept.append(part_of(name, self.ledger.read(name)))
            else:
                rest = self.ledger.read(name).filter(pa.array(fresh))
                self.ledger.remove(name)
                if rest.num_rows:
                    kept.append(part_of(self.ledger.write(rest), rest))
        if tuple(kept) != self.manifest.parts:
            self._commit(replace(self.manifest, parts=tuple(kept), complete=False))

    def _check_place(self) -> None:
        try:
            kind = self.place.kind()
        except StorageError as error:
            raise InputError(f"out {self.uri} cannot be used: {error}") from None
        if kind is Kind.FILE:
            raise InputError(f"out must be a folder, got the file {self.uri}; name another place")
        if self.place.is_local:
            above = self.place.root
            while not os.path.exists(above):
                above = os.path.dirname(above)
            if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):
                raise InputError(
                    f"out {self.uri} cannot be made because {above} is not a folder to write to; name another place"
                )

    def _check_foreign(self) -> None:
        """Refuse a folder without verdicts that holds somebody else's files under the names that a run writes."""
        taken = [
            name for name in (CONFIG, MANIFEST, SUMMARY, SESSIONS, REPORT) if self.place.kind(name) is not Kind.NOTHING
        ]
        if not taken or self._earlier_config() is not None:
            return
        raise InputError(
            f"{self.uri} holds a {taken[0]} that no evaluation wrote and that this one would replace; "
            "choose another folder with --out"
        )

    def _earlier_config(self) -> EvaluateConfig | None:
        """Return the configuration that an earlier session wrote; None where there is none that can be read."""
        return read_config(self.place)

    def _check_earlier(self, checkpoint_sha256: str) -> None:
        if not self._config.resume:
            raise InputError(
                f"{self.uri} holds verdicts of an earlier run; go on with it by --resume, or choose another folder with --out"
            )
        before = self._earlier_config()
        if before is None:
            raise InputError(
                f"{self.uri}/{CONFIG} is missing or of another version, so nobody knows what its verdicts mean; choose another folder"
            )
        difference = first_difference(before, self._config)
        if difference is not None:
            raise InputError(
                f"{self.uri} was begun with another configuration ({difference}); resume with the same, or choose another folder"
            )
        for session in self._read_sessions():
            if session.checkpoint_sha256 != checkpoint_sha256:
                raise InputError(
                    f"{self.uri} was begun with other weights (sha256 {session.checkpoint_sha256[:12]} -> {checkpoint_sha256[:12]}); "
                    "resume with the same checkpoint, or choose another folder"
                )

    def _read_sessions(self) -> tuple[Session, ...]:
        return read_sessions(self.place)


def folder_of(config: EvaluateConfig) -> str:
    """Return where a run writes: `out`, or the folder of its share within it."""
    if config.shard is None:
        return config.out
    index, n = config.shard.split("/")
    return Place(config.out).at(f"{SHARDS}/{int(index)}-of-{int(n)}").uri


def read_config(place: Place) -> EvaluateConfig | None:
    """Return the configuration of a run's folder; None where there is none that can be read."""
    try:
        return EvaluateConfig.model_validate_json(place.read(CONFIG) or b"")
    except ValueError:
        return None


def read_sessions(place: Place) -> tuple[Session, ...]:
    """Return what the sessions of a run's folder took; InputError where the file is damaged."""
    names = {field.name for field in fields(Session)}
    try:
        return tuple(
            Session(**{name: value for name, value in session.items() if name in names})
            for session in json.loads(place.read(SESSIONS) or b"[]")
        )
    except (ValueError, TypeError, AttributeError):
        raise InputError(
            f"{place.uri}/{SESSIONS} is damaged; remove it to resume without what earlier sessions took"
        ) from None


@contextmanager
def _as_input_error() -> Iterator[None]:
    """Let a folder that cannot be written to at all be what it is at the begin of a run: an argument to correct."""
    try:
        yield
    except StorageError as error:
        raise InputError(f"{error}; the folder is what out names") from None
    except OSError as error:
        raise InputError(f"{error.filename} cannot be made ({error.strerror}); check the folder given as out") from None
