"""The folder of an evaluation: what is in it, who may write to it, and what earlier sessions of the same run left there.

Invariants, asserted in tests/unit/runs/test_folder.py: results of an earlier run are never overwritten, and continued only by a run that
would reach the same verdicts; a file appears whole or not at all.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields

from pyarrow import ArrowException, fs

from eqr_ray.config import EvaluateConfig, first_difference
from eqr_ray.coordinator import Ledger
from eqr_ray.evaluation.verdicts import VERDICT_SCHEMA
from eqr_ray.puzzles.opening import file_system
from eqr_ray.types import InputError

CONFIG, SUMMARY, SESSIONS, VERDICTS = "config.json", "summary.json", "sessions.json", "verdicts"


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


class Folder:
    """One evaluation's folder, local or on S3; opening it writes nothing."""

    def __init__(self, config: EvaluateConfig, checkpoint_sha256: str = "") -> None:
        """config: resolved. Raises InputError when the folder holds results that this run may not touch or go on with."""
        self.uri = config.out.rstrip("/") or config.out
        self._config = config
        self._system, self._root = file_system(self.uri)
        self._check_place()
        self.ledger = Ledger(f"{self.uri}/{VERDICTS}", VERDICT_SCHEMA)
        self.finished: set[str] = set()
        self.sessions: tuple[Session, ...] = ()
        """Earlier sessions."""
        if self.ledger.parts:
            self._check_earlier(checkpoint_sha256)
            self.finished = self.ledger.finished_ids()
            self.sessions = self._read_sessions()
        else:
            self._check_foreign()

    def begin(self) -> None:
        """Write the resolved configuration; the first thing that a run writes."""
        self.write(CONFIG, self._config.dump())

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder, whole or not at all."""
        path = f"{self._root}/{name}"
        try:
            if isinstance(self._system, fs.LocalFileSystem):
                os.makedirs(self._root, exist_ok=True)
                with open(f"{path}.writing", "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(f"{path}.writing", path)
            else:
                with self._system.open_output_stream(path) as stream:
                    stream.write(text.encode())
        except (OSError, ArrowException) as error:
            raise InputError(
                f"{self.uri}/{name} cannot be written ({_first_line(error)}); check the folder given as out"
            ) from None

    def write_sessions(self, current: Session) -> None:
        """Write what all sessions took so far."""
        sessions = [asdict(session) for session in (*self.sessions, current)]
        self.write(SESSIONS, json.dumps(sessions, indent=1) + "\n")

    def _check_place(self) -> None:
        try:
            kind = self._system.get_file_info(self._root).type
        except (OSError, ArrowException) as error:
            raise InputError(
                f"out {self.uri} cannot be used ({_first_line(error)}); check the address and its permissions"
            ) from None
        if kind == fs.FileType.File:
            raise InputError(f"out must be a folder, got the file {self.uri}; name another place")
        if isinstance(self._system, fs.LocalFileSystem):
            above = self._root
            while not os.path.exists(above):
                above = os.path.dirname(above)
            if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK):
                raise InputError(
                    f"out {self.uri} cannot be made because {above} is not a folder to write to; name another place"
                )

    def _check_foreign(self) -> None:
        """Refuse a folder without verdicts that holds somebody else's files under the names that a run writes."""
        taken = [name for name in (CONFIG, SUMMARY, SESSIONS, "report.html") if self._read(name) is not None]
        if not taken or self._earlier_config() is not None:
            return
        raise InputError(
            f"{self.uri} holds a {taken[0]} that no evaluation wrote and that this one would replace; "
            "choose another folder with --out"
        )

    def _earlier_config(self) -> EvaluateConfig | None:
        """Return the configuration that an earlier session wrote; None where there is none that can be read."""
        try:
            return EvaluateConfig.model_validate_json(self._read(CONFIG) or "")
        except ValueError:
            return None

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
        names = {field.name for field in fields(Session)}
        try:
            return tuple(
                Session(**{name: value for name, value in session.items() if name in names})
                for session in json.loads(self._read(SESSIONS) or "[]")
            )
        except (ValueError, TypeError, AttributeError):
            raise InputError(
                f"{self.uri}/{SESSIONS} is damaged; remove it to resume without what earlier sessions took"
            ) from None

    def _read(self, name: str) -> str | None:
        path = f"{self._root}/{name}"
        if self._system.get_file_info(path).type != fs.FileType.File:
            return None
        with self._system.open_input_stream(path) as stream:
            return bytes(stream.read()).decode("utf-8", "replace")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
