"""How many rows a replica gets in one slice, so that a slice lasts long enough to hide a message and short enough to lose little.

Invariants, asserted in tests/unit/distributed/test_pacing.py: the answer stays within the bounds; one step changes it by at most a
factor of two; a steady device converges to the target duration. Verdicts do not depend on it: it only cuts the same orders differently.
"""

from __future__ import annotations

from dataclasses import dataclass

TARGET_S = 2.0
"""Rows of a slice end at different depths, and towards its end slots of the batch stand empty: with slices of half a second, one row
a slot, that took 42 % on top of what 7,263 puzzles were charged. Two seconds hold several rows a slot even of a slow engine, and a lost
slice is still cheap."""
SMOOTHING = 0.3
"""Weight of the newest slice in the running mean of rows a second: a few slices to follow a change, one outlier does little."""
STEP = 2.0
LEAST_S = 1e-3
"""A slice counts as no shorter than a message, so that an engine too quick to measure has a rate at all."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of one replica."""

    rows: int
    """Rows to put into its next slice."""
    rows_per_s: float | None = None
    """Running mean over its slices; None before the first."""

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"rows must be at least 1, got rows={self.rows}")


def paced(pace: Pace, n_rows: int, elapsed_s: float, least: int, most: int) -> Pace:
    """Return the pace after a slice of `n_rows` that took `elapsed_s`; `least` and `most` bound the rows of a slice.

    A slice that was less than half full says nothing about a full one (a device runs fixed batch shapes), so it only counts
    when it took longer than the target.
    """
    if not 1 <= least <= most:
        raise ValueError(f"1 <= least <= most is needed, got least={least}, most={most}")
    if n_rows < 1 or (2 * n_rows < pace.rows and elapsed_s < TARGET_S):
        return pace
    rate = n_rows / max(elapsed_s, LEAST_S)
    mean = rate if pace.rows_per_s is None else (1.0 - SMOOTHING) * pace.rows_per_s + SMOOTHING * rate
    aim = min(max(mean * TARGET_S, pace.rows / STEP), pace.rows * STEP)
    return Pace(min(max(round(aim), least), most), mean)
