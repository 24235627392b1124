"""What a run tells while it goes on: `log.jsonl`, and TensorBoard event files where its package is installed.

Invariant, asserted in tests/unit/training/test_journal.py: a resumed run's log has every step once, as that of an undisturbed one.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
EVENTS = "events"
"""Folder of the TensorBoard files."""


class Journal:
    """Appends lines to `log.jsonl` and the numbers in them to TensorBoard."""

    def __init__(self, folder: Path, steps_done: int = 0) -> None:
        """Go on with the log of a folder after `steps_done` steps: what was written of later ones will come again."""
        self.file = folder / "log.jsonl"
        if self.file.exists():
            self._forget_after(steps_done)
        self.events = _event_writer(folder / EVENTS, steps_done)

    def note(self, step: int, values: dict[str, Any]) -> None:
        """Write one line; nested numbers become TensorBoard scalars named like `exact_accuracy_by_depth/16`."""
        with self.file.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self.events is not None:
            for name, value in _numbers(values):
                self.events.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still in memory."""
        if self.events is not None:
            self.events.close()

    def _forget_after(self, steps_done: int) -> None:
        kept = []
        for line in self.file.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= steps_done:
                    kept.append(line + "\n")
            except ValueError:
                break  # a line that a kill cut off is the last one
        partial = self.file.with_name(f".{self.file.name}.partial")
        partial.write_text("".join(kept))
        os.replace(partial, self.file)


def _numbers(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            found.append((prefix + name, float(value)))
    return found


def _event_writer(folder: Path, steps_done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info("no TensorBoard files: `pip install 'eqr-ray[tensorboard]'` writes them beside log.jsonl")
        return None
    # With purge_step TensorBoard drops what an earlier, killed session wrote of later steps.
    return SummaryWriter(str(folder), purge_step=steps_done + 1 if steps_done else None)
