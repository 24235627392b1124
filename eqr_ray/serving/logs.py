"""Where the endpoint's log lines go."""

from __future__ import annotations

import logging
import sys


def log_to_stderr(level: str) -> None:
    """Let the log lines of this process's endpoint go to standard error, each with its time."""
    log = logging.getLogger("eqr_ray.serving")
    log.setLevel(level.upper())
    log.propagate = False
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
