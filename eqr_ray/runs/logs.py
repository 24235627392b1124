"""Log lines of a run on standard error, each with the run's id; as text for people, or as JSON for programs that collect logs.

`EQR_LOG=json` asks for one JSON object a line, `EQR_LOG_LEVEL` for `debug`, `info`, `warning` (default) or `error`; in a Ray job it is
`info`. Invariants, asserted in tests/unit/runs/test_logs.py: every line of a JSON log is one object with `time`, `level`, `run`, `logger`
and `message`; a line of a run's threads bears its id too.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from eqr_ray.types import InputError

FORM, LEVEL = "EQR_LOG", "EQR_LOG_LEVEL"
LEVELS = ("debug", "info", "warning", "error")
_IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray for the program of a job."""
_run_id = [""]
"""Of the run that this process works on, for lines of all its threads; a process works on one at a time."""


@contextmanager
def of_run(run_id: str) -> Iterator[None]:
    """Let all lines within bear a run's id."""
    _run_id.append(run_id)
    try:
        yield
    finally:
        _run_id.pop()


def start() -> None:
    """Send the log lines of this process to standard error, as the environment asks for; a second call changes nothing."""
    level = os.environ.get(LEVEL, "info" if _IN_JOB in os.environ else "warning").lower()
    if level not in LEVELS:
        raise InputError(f"{LEVEL} must be one of {', '.join(LEVELS)}, got {level!r}; correct the variable or unset it")
    if os.environ.get(FORM, "text") not in ("text", "json"):
        raise InputError(f"{FORM} must be text or json, got {os.environ[FORM]!r}; correct the variable or unset it")
    log = logging.getLogger("eqr_ray")
    log.setLevel(level.upper())
    if not any(isinstance(handler, _ToStderr) for handler in log.handlers):
        log.addHandler(_ToStderr())


def say(text: str, facts: Mapping[str, object], stream: TextIO) -> None:
    """Write a line that is no message of a logger, such as how far a run is."""
    print(_json("info", "progress", text, facts) if is_json() else text, file=stream, flush=True)


def is_json() -> bool:
    """Whether lines are JSON."""
    return os.environ.get(FORM) == "json"


def _json(level: str, logger: str, message: str, facts: Mapping[str, object], at: float | None = None) -> str:
    now = time.time() if at is None else at
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
    return json.dumps(
        {"time": stamp, "level": level, "run": _run_id[-1], "logger": logger, "message": message, **facts}
    )


class _ToStderr(logging.Handler):
    """Writes to whatever standard error is when the line comes."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                message += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
            if is_json():
                line = _json(record.levelname.lower(), record.name, message, {}, record.created)
            else:
                run = f" run {_run_id[-1]}" if _run_id[-1] else ""
                line = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {record.levelname.lower()}{run}: {message}"
            print(line, file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)
