"""Writes verdicts down in parts and keeps the numbers of the run.

Invariants, asserted in tests/unit/runs/test_scribe.py: what is counted in `running` is written; the time between two parts grows with the
run, so that a crash costs a bounded share of it and a long run has few parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eqr_ray.evaluation.summary import SUMMARY_COLUMNS, Running
from eqr_ray.evaluation.verdicts import VerdictRow, score, to_table
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import Task
from eqr_ray.runs.folder import Folder
from eqr_ray.types import Verdict

FLUSH_SHARE = 0.02
"""A part is written after this share of the time so far: what a killed driver loses at most, between the bounds below."""
FLUSH_LEAST_S, FLUSH_MOST_S = 2.0, 300.0
PART_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Finished:
    """A verdict and the puzzle that it answers."""

    place: int
    """Of the puzzle in the input."""
    record: Record
    verdict: Verdict


class Scribe:
    """Scores verdicts, writes them to the folder and adds them up."""

    def __init__(self, folder: Folder, task: Task) -> None:
        """folder: held by this run."""
        self._folder, self._task = folder, task
        self._waiting: list[tuple[int, VerdictRow]] = []
        self._flushed_at = 0.0
        self.running = Running()
        """The numbers of everything that is written."""
        for part in folder.ledger.tables(list(SUMMARY_COLUMNS)):
            self.running.add(part)
        self._right = self._judged = 0
        for source in self.running.by_source.values():
            self._right, self._judged = self._right + source.exact, self._judged + source.scored
        self.n_done = self.running.puzzles
        """Verdicts, those that wait to be written included."""
        self.nfe = self.running.nfe_total
        """Iterations charged to them."""

    @property
    def accuracy(self) -> float | None:
        """Accuracy of all verdicts so far; None without labels."""
        return self._right / self._judged if self._judged else None

    def note(self, batch: Sequence[Finished]) -> None:
        """Take verdicts in; they are safe after the next `flush`."""
        for finished in batch:
            row = score(finished.record, finished.verdict, self._task)
            self._waiting.append((finished.place, row))
            self.n_done += 1
            self.nfe += row.nfe
            self._judged += row.exact is not None
            self._right += bool(row.exact)

    def due(self, now: float) -> bool:
        """Return whether it is time to write; `now` in seconds since the session began."""
        every = min(max(FLUSH_SHARE * now, FLUSH_LEAST_S), FLUSH_MOST_S)
        return bool(self._waiting) and (len(self._waiting) >= PART_ROWS or now - self._flushed_at >= every)

    def flush(self, now: float) -> None:
        """Write what waits as one part, in the order of the input."""
        rows = [row for _, row in sorted(self._waiting, key=lambda entry: entry[0])]
        if rows:
            verdicts = to_table(rows)
            self._folder.commit(verdicts)
            self.running.add(verdicts)
        self._waiting.clear()
        self._flushed_at = now
