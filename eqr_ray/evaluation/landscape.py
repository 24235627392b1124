"""What a trace says about the landscape of a checkpoint: where depth helps, where breadth does, and where nothing will.

Invariants, asserted in tests/unit/evaluation/test_landscape.py: every curve's last point agrees with the map's corner; the
four modes add up to the labelled puzzles; a puzzle that is never solved is right at no trajectory's end; every share has its denominator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from eqr_ray.evaluation.calibration import Bin
from eqr_ray.evaluation.scoring import wilson
from eqr_ray.types import F32, F64, I32, Bool

ALIGNED_SHARE = 0.9
"""A puzzle of which so many trajectories end right is well aligned: depth alone settles it."""
RESIDUAL_EDGES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Columns of a trace over P labelled puzzles, B trajectories, D iterations."""

    code: I32
    """(P, B, D) decoded answers, numbered within a puzzle."""
    right: I32
    """(P,) code of the right answer, -1 where none of them is right."""
    residual: F32
    """(P, B, D)"""
    depth: I32
    """(P, B) iterations recorded."""
    rating: F64
    """(P,) NaN where unknown."""

    @property
    def is_right(self) -> Bool:
        """(P, B, D) whether the answer after an iteration is right; one that diverged keeps its last answer."""
        columns = np.minimum(np.arange(self.code.shape[2])[None, None, :], self.depth[:, :, None] - 1)
        held = np.take_along_axis(self.code, columns, axis=2)
        return np.asarray((held == self.right[:, None, None]) & (self.right >= 0)[:, None, None], dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Group:
    """Puzzles of about one difficulty."""

    name: str
    puzzles: int
    solved: int
    """Whose majority at full depth and breadth is right."""
    median_iterations: float | None
    """Median depth from which a trajectory stays right, over trajectories that end right; None without any."""


@dataclass(frozen=True, slots=True)
class Landscape:
    """The diagnostics of a trace."""

    puzzles: int
    depths: tuple[int, ...]
    breadths: tuple[int, ...]
    majority: tuple[tuple[float, ...], ...]
    """[b][d] accuracy of the majority of the first B trajectories at depth D."""
    top1: tuple[float, ...]
    """[b] accuracy of the smallest residual at full depth."""
    any_right: tuple[float, ...]
    """[b] the oracle at full depth."""
    single: tuple[float, ...]
    """[d] share of all trajectories that are right at depth D."""
    agree: tuple[float | None, ...]
    """[d] chance that two trajectories of a puzzle decode to one answer at depth D; None for breadth 1."""
    by_residual: tuple[Bin, ...]
    """Share of trajectories that end right by residual at the end; `stated` is the geometric middle of the bin."""
    groups: tuple[Group, ...]
    modes: tuple[tuple[str, str, int], ...]
    """(letter, meaning, puzzles)"""
    never: tuple[int, ...]
    """Places of the puzzles that no trajectory ends right on."""


def landscape_of(ends: Ends) -> Landscape:
    """Return the diagnostics; raises ValueError without puzzles."""
    n_puzzles, breadth, depth = ends.code.shape
    if not n_puzzles:
        raise ValueError("a landscape needs labelled puzzles, got none")
    depths, breadths = _steps(depth), _steps(breadth)
    right = ends.is_right
    last = right[:, :, -1]
    majority = [[float(_majority_right(ends, b, d).mean()) for d in depths] for b in breadths]
    solved = _majority_right(ends, breadth, depth)
    end_residual = np.take_along_axis(ends.residual, (ends.depth - 1)[:, :, None], axis=2)[:, :, 0]
    clean = np.where(np.isfinite(end_residual), end_residual, np.inf)
    top1 = [float(np.take_along_axis(last, clean[:, :b].argmin(axis=1)[:, None], axis=1).mean()) for b in breadths]
    return Landscape(
        puzzles=n_puzzles,
        depths=tuple(depths),
        breadths=tuple(breadths),
        majority=tuple(tuple(row) for row in majority),
        top1=tuple(top1),
        any_right=tuple(float(last[:, :b].any(axis=1).mean()) for b in breadths),
        single=tuple(float(right[:, :, d - 1].mean()) for d in depths),
        agree=tuple(_agreement(ends, d) for d in depths),
        by_residual=_by_residual(clean.reshape(-1), last.reshape(-1)),
        groups=_groups(ends, right, solved),
        modes=_modes(ends, last, clean),
        never=tuple(np.flatnonzero(~last.any(axis=1)).tolist()),
    )


def _steps(most: int) -> list[int]:
    return sorted({2**k for k in range(most.bit_length()) if 2**k <= most} | {most})


def _codes_at(ends: Ends, breadth: int, depth: int) -> I32:
    column = np.minimum(depth, ends.depth[:, :breadth]) - 1
    found: I32 = np.take_along_axis(ends.code[:, :breadth], column[:, :, None], axis=2)[:, :, 0]
    return found


def _majority_right(ends: Ends, breadth: int, depth: int) -> Bool:
    """Return (P,) whether the most frequent answer is right; a tie goes to the answer of the earliest trajectory."""
    codes = _codes_at(ends, breadth, depth)
    votes = (codes[:, :, None] == codes[:, None, :]).sum(axis=2)
    leader = np.take_along_axis(codes, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.asarray((leader == ends.right) & (ends.right >= 0), dtype=np.bool_)


def _agreement(ends: Ends, depth: int) -> float | None:
    codes = _codes_at(ends, ends.code.shape[1], depth)
    b = codes.shape[1]
    if b < 2:
        return None
    same = (codes[:, :, None] == codes[:, None, :]).sum(axis=(1, 2)) - b
    return float((same / (b * (b - 1))).mean())


def _by_residual(residual: F32, right: Bool) -> tuple[Bin, ...]:
    found = []
    for low, high in pairwise(RESIDUAL_EDGES):
        own = (residual >= low) & (residual < high) if np.isfinite(high) else residual >= low
        n, hits = int(own.sum()), int(right[own].sum())
        if n:
            middle = float(np.sqrt(max(low, 0.0025) * (high if np.isfinite(high) else 2.0)))
            found.append(Bin(float(low), float(high), n, middle, hits / n, wilson(hits, n) or (0.0, 1.0)))
    return tuple(found)


def _groups(ends: Ends, right: Bool, solved: Bool) -> tuple[Group, ...]:
    """Return puzzles by quarter of their rating, or all of them where it is unknown."""
    known = np.isfinite(ends.rating)
    cuts: Sequence[tuple[str, Bool]]
    if known.sum() >= 8:
        edges = np.quantile(ends.rating[known], [0, 0.25, 0.5, 0.75, 1.0])
        place = np.clip(np.searchsorted(edges[1:-1], ends.rating, side="left"), 0, 3)
        cuts = [(f"rating up to {edges[k + 1]:g}", known & (place == k)) for k in range(4)]
    else:
        cuts = [("all puzzles", np.ones(len(solved), np.bool_))]
    wrong_last = np.where(right.all(axis=2), 0, right.shape[2] - (~right)[:, :, ::-1].argmax(axis=2))
    found = []
    for name, own in cuts:
        if own.any():
            ends_right = right[own][:, :, -1]
            iterations = wrong_last[own][ends_right] + 1
            median = float(np.median(iterations)) if iterations.size else None
            found.append(Group(name, int(own.sum()), int(solved[own].sum()), median))
    return tuple(found)


def _modes(ends: Ends, last: Bool, residual: F32) -> tuple[tuple[str, str, int], ...]:
    """Count the landscape modes of arXiv 2605.21488 by what the trajectories end in at full depth."""
    codes = _codes_at(ends, ends.code.shape[1], ends.code.shape[2])
    share = last.mean(axis=1)
    same = codes[:, :, None] == codes[:, None, :]
    shared_mistake = ((same.sum(axis=2) > 1) & ~last).any(axis=1)
    none = share == 0
    aligned = share >= ALIGNED_SHARE
    spurious = ~none & ~aligned & shared_mistake
    narrow = ~none & ~aligned & ~shared_mistake
    return (
        ("a", "no trajectory ends right: neither depth nor breadth helped", int(none.sum())),
        ("b", "right and shared wrong answers: breadth decides", int(spurious.sum())),
        ("c", "right but narrow, wrong answers all differ: breadth finds it, depth keeps it", int(narrow.sum())),
        ("d", f"well aligned, {ALIGNED_SHARE:.0%} or more end right: depth settles it", int(aligned.sum())),
    )
