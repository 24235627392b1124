"""Pieces of work with the mishaps that a test asks for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Doubling:
    """Builds a function that doubles, fails on `bad` and kills its process on `deadly`, each time or the first time only."""

    bad: int = -1
    deadly: int = -1
    marker: str = ""
    """A file that makes the death happen once; empty for each time."""

    def __call__(self) -> Callable[[int], int]:
        def double(task: int) -> int:
            if task == self.bad:
                raise ValueError(f"{task} cannot be doubled")
            if task == self.deadly and not (self.marker and Path(self.marker).exists()):
                if self.marker:
                    Path(self.marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return 2 * task

        return double
