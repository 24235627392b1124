"""How cost, residual, confidence and correctness go together over a run, added up one batch of verdicts at a time.

Invariants, asserted in tests/unit/evaluation/test_distributions.py: nothing depends on how verdicts are cut into batches or ordered;
every bin's counts add up to the number of puzzles; memory grows with the number of distinct costs, never with the number of puzzles.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eqr_ray.evaluation.scoring import share
from eqr_ray.types import I64, Bool

RESIDUAL_BINS_PER_DECADE = 4
CONFIDENCE_BINS = 10
SMALLEST_RESIDUAL = 1e-12
BOARDS = 4
"""Boards kept of each kind, wrong ones and costliest ones."""
DISTRIBUTION_COLUMNS = ("puzzle_id", "nfe", "residual", "confidence", "exact", "valid")
BOARD_COLUMNS = ("source", "question", "answer", "prediction", "breadth", "depth", "task", "stop", "votes")


@dataclass(slots=True)
class Judged:
    """Counts of one bin."""

    puzzles: int = 0
    valid: int = 0
    scored: int = 0
    """Puzzles that have an answer."""
    exact: int = 0

    def add(self, other: Judged) -> None:
        """Add the counts of another bin."""
        self.puzzles += other.puzzles
        self.valid += other.valid
        self.scored += other.scored
        self.exact += other.exact

    def right(self, labelled: bool) -> int:
        """Right answers by the label, or answers that obey the rules where no label is to be had."""
        return self.exact if labelled else self.valid

    def judged(self, labelled: bool) -> int:
        """Denominator of `right`."""
        return self.scored if labelled else self.puzzles


@dataclass(frozen=True, slots=True)
class Board:
    """One puzzle to draw."""

    puzzle_id: str
    source: str | None
    question: str
    answer: str | None
    prediction: str | None
    task: str
    nfe: int
    breadth: int
    depth: int
    votes: int
    confidence: float | None
    residual: float | None
    stop: str
    valid: bool
    exact: bool | None


@dataclass(slots=True)
class Distributions:
    """Everything that the charts of a report show."""

    by_nfe: dict[int, Judged] = field(default_factory=dict)
    """Iterations charged -> counts."""
    by_residual: dict[int, Judged] = field(default_factory=dict)
    """floor(log10(residual) * RESIDUAL_BINS_PER_DECADE) -> counts."""
    without_residual: Judged = field(default_factory=Judged)
    by_confidence: dict[int, Judged] = field(default_factory=dict)
    """floor(confidence * CONFIDENCE_BINS), 1.0 in the last bin -> counts."""
    confidence_sums: dict[int, list[float]] = field(default_factory=dict)
    """The same bins -> sum of the stated confidence over [all, labelled] puzzles."""
    wrong: list[Board] = field(default_factory=list)
    """The costliest puzzles whose prediction is wrong (without an answer: breaks the rules)."""
    costly: list[Board] = field(default_factory=list)
    """The costliest of the others."""

    def add(self, verdicts: pa.Table | pa.RecordBatch) -> None:
        """Add a batch of verdicts; reads `DISTRIBUTION_COLUMNS`, and `BOARD_COLUMNS` for the rows worth drawing."""
        if not verdicts.num_rows:
            return
        table = pa.table(verdicts) if isinstance(verdicts, pa.RecordBatch) else verdicts
        exact = table.column("exact")
        valid = _numpy(pc.fill_null(table.column("valid"), False))
        known = _numpy(pc.is_valid(exact))
        right = _numpy(pc.fill_null(exact, False))
        marks = (valid, known, right)

        nfe = _numpy(table.column("nfe")).astype(np.int64)
        _add_bins(self.by_nfe, nfe, marks)

        residual = _numpy(table.column("residual").cast(pa.float64())).astype(np.float64)
        seen = np.isfinite(residual)
        clipped = np.log10(np.maximum(residual[seen], SMALLEST_RESIDUAL))
        bins = np.floor(clipped * RESIDUAL_BINS_PER_DECADE).astype(np.int64)
        _add_bins(self.by_residual, bins, tuple(mark[seen] for mark in marks))
        unseen: dict[int, Judged] = {}
        _add_bins(unseen, np.zeros(int((~seen).sum()), np.int64), tuple(mark[~seen] for mark in marks))
        self.without_residual.add(unseen.get(0, Judged()))

        confidence = _numpy(table.column("confidence").cast(pa.float64())).astype(np.float64)
        stated = np.isfinite(confidence)
        levels = np.clip((confidence[stated] * CONFIDENCE_BINS).astype(np.int64), 0, CONFIDENCE_BINS - 1)
        _add_bins(self.by_confidence, levels, tuple(mark[stated] for mark in marks))
        for level in np.unique(levels):
            sums = self.confidence_sums.setdefault(int(level), [0.0, 0.0])
            sums[0] += float(confidence[stated][levels == level].sum())
            sums[1] += float(confidence[stated][(levels == level) & known[stated]].sum())

        failed = np.where(known, ~right, ~valid)
        self.wrong = _costliest(self.wrong, table, failed)
        self.costly = _costliest(self.costly, table, ~failed)

    @property
    def labelled(self) -> bool:
        """Whether any puzzle has an answer."""
        return any(judged.scored for judged in self.by_nfe.values())

    @property
    def total(self) -> Judged:
        """Counts over all puzzles."""
        total = Judged()
        for judged in self.by_nfe.values():
            total.add(judged)
        return total

    def nfe_quantiles(self, shares: Sequence[float]) -> list[int]:
        """Return, for each share, the smallest cost within which at least that share of the puzzles was settled."""
        costs = sorted(self.by_nfe)
        reached = np.cumsum([self.by_nfe[cost].puzzles for cost in costs])
        places = [int(np.searchsorted(reached, q * reached[-1] - 1e-9)) for q in shares]
        return [costs[min(place, len(costs) - 1)] for place in places]

    def mean_confidence(self, labelled: bool) -> float | None:
        """Return the mean stated confidence, over labelled puzzles or over all."""
        total = sum(judged.judged(labelled) for judged in self.by_confidence.values())
        if share(0, total) is None:
            return None
        return sum(sums[int(labelled)] for sums in self.confidence_sums.values()) / total


def _numpy(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy())


def _add_bins(bins: dict[int, Judged], keys: I64, marks: tuple[Bool, ...]) -> None:
    """Add rows to the bins that their keys name; `marks` are (valid, known, right)."""
    names, owner, puzzles = np.unique(keys, return_inverse=True, return_counts=True)
    sums = [np.bincount(owner, weights=mark, minlength=len(names)).astype(np.int64) for mark in marks]
    for number, name in enumerate(names.tolist()):
        bins.setdefault(name, Judged()).add(
            Judged(int(puzzles[number]), int(sums[0][number]), int(sums[1][number]), int(sums[2][number]))
        )


def _costliest(kept: list[Board], table: pa.Table, mask: Bool) -> list[Board]:
    """Return the BOARDS costliest of the kept boards and the masked rows; ties go to the smaller puzzle_id."""
    rows = np.flatnonzero(mask)
    if not len(rows):
        return kept
    keys = table.select(["nfe", "puzzle_id"]).take(pa.array(rows))
    best = pc.select_k_unstable(keys, BOARDS, sort_keys=[("nfe", "descending"), ("puzzle_id", "ascending")])
    chosen = table.select([*DISTRIBUTION_COLUMNS, *BOARD_COLUMNS]).take(pa.array(rows[best.to_numpy()]))
    boards = kept + [Board(**row) for row in chosen.to_pylist()]
    return heapq.nsmallest(BOARDS, boards, key=lambda board: (-board.nfe, board.puzzle_id))
