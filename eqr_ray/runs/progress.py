"""How far a run is, on standard error: a bar in a terminal, a line every few seconds elsewhere.

Invariants, asserted in tests/unit/runs/test_progress.py: nothing that is not known is shown as a number; the rate and the time left are of
this session, the accuracy is of all verdicts so far.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TextIO

from tqdm import tqdm

from eqr_ray.runs.logs import say

LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands."""

    done: int
    """Verdicts, earlier sessions included."""
    done_before: int
    """Verdicts of earlier sessions."""
    total: int | None
    """Puzzles of the run; None where counting them would take long."""
    elapsed_s: float
    accuracy: float | None
    nfe: int
    replicas: int
    wanted: int = 0
    """Replicas that should be at work; more than there are while machines are waited for."""
    lost_slices: int = 0

    @property
    def puzzles_per_s(self) -> float | None:
        """Verdicts a second in this session; None before the first."""
        fresh = self.done - self.done_before
        return fresh / self.elapsed_s if fresh and self.elapsed_s > 0 else None

    @property
    def left_s(self) -> float | None:
        """Seconds to go at the rate so far."""
        rate = self.puzzles_per_s
        return (self.total - self.done) / rate if rate and self.total is not None else None


def facts(standing: Standing) -> list[str]:
    """Return what is known besides the count: rate, accuracy, iterations, replicas, time left."""
    known = []
    if standing.puzzles_per_s is not None:
        known.append(f"{standing.puzzles_per_s:.1f} puzzles/s")
    if standing.accuracy is not None:
        known.append(f"accuracy {100 * standing.accuracy:.1f} %")
    if standing.done:
        known.append(f"NFE {standing.nfe / standing.done:.1f} a puzzle")
    if standing.wanted > standing.replicas:
        known.append(f"{standing.replicas} of {standing.wanted} replicas, waiting for room")
    else:
        known.append(f"{standing.replicas} replica{'' if standing.replicas == 1 else 's'}")
    if standing.lost_slices:
        known.append(f"{standing.lost_slices} slice{'' if standing.lost_slices == 1 else 's'} lost and done again")
    if standing.left_s is not None and standing.left_s >= 0.5:
        known.append(f"{clock(standing.left_s)} left")
    return known


def line(standing: Standing) -> str:
    """Return the line for a log."""
    if standing.total is None:
        count = f"{standing.done} puzzles"
    else:
        share = f" ({100 * standing.done / standing.total:.1f} %)" if standing.total else ""
        count = f"{standing.done}/{standing.total} puzzles{share}"
    return ", ".join([count, *facts(standing)])


def clock(seconds: float) -> str:
    """Return a duration as `45 s`, `3:20` or `1:02:03`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Shows how a run stands; `show` may be called as often as one likes."""

    def __init__(self, total: int | None, done: int, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._said_at = 0.0
        self._bar = tqdm(
            total=total,
            initial=done,
            file=self._stream,
            disable=True if quiet else None,
            unit="puzzle",
            dynamic_ncols=True,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )

    def show(self, standing: Standing, last: bool = False) -> None:
        """Bring the display up to date; `last` writes a line however recent the one before is."""
        if not self._bar.disable:
            self._bar.set_postfix_str(", ".join(facts(standing)), refresh=False)
            self._bar.update(standing.done - self._bar.n)
            self._bar.refresh()
        elif not self._quiet and (last or standing.elapsed_s - self._said_at >= LINE_EVERY_S):
            self._said_at = standing.elapsed_s
            say(line(standing), asdict(standing), self._stream)

    def close(self) -> None:
        """End the bar, leaving its last state on the screen."""
        self._bar.close()
