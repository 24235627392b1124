"""Two runs over the same puzzles, puzzle by puzzle.

Invariants, asserted in tests/unit/evaluation/test_comparison.py: won and lost change places when the runs do, and so do the ends of the
interval; puzzles of one run alone are counted and left out; p is 1 when no puzzle changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eqr_ray.evaluation.report import verdict_batches
from eqr_ray.evaluation.scoring import wilson
from eqr_ray.types import InputError

COLUMNS = ["puzzle_id", "exact", "valid", "nfe"]
SHOWN = ["puzzle_id", "source", "question", "answer", "prediction"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What B makes of the puzzles of A."""

    judged_by: str
    """`exact` against the label, or `valid` by the rules where a run has no labels."""
    paired: int
    """Puzzles of both runs that can be judged."""
    only_a: int
    only_b: int
    right_a: int
    right_b: int
    won: int
    """Wrong in A and right in B."""
    lost: int
    """Right in A and wrong in B."""
    difference: float
    """Accuracy of B less that of A, over the paired puzzles."""
    ci95: tuple[float, float]
    p_value: float
    """McNemar's exact test: two-sided, that a puzzle that changed was as likely won as lost."""
    nfe_mean_a: float
    nfe_mean_b: float


@dataclass(frozen=True, slots=True)
class Paired:
    """A comparison and the ids of the puzzles that changed."""

    comparison: Comparison
    won: frozenset[str]
    lost: frozenset[str]


def compare(run_a: str, run_b: str) -> Paired:
    """Compare two runs' folders, local or URIs; InputError where one has no verdicts or they share no puzzle."""
    a, b = _read(run_a), _read(run_b)
    both = a.join(b, keys="puzzle_id", join_type="inner", left_suffix="_a", right_suffix="_b")
    if not both.num_rows:
        raise InputError(f"{run_a} and {run_b} share no puzzle; compare runs over the same puzzles")
    labelled = pc.and_(pc.is_valid(both["exact_a"]), pc.is_valid(both["exact_b"]))
    judged_by = "exact" if pc.any(labelled).as_py() else "valid"
    if judged_by == "exact":
        both = both.filter(labelled)
    right_a, right_b = _bits(both[f"{judged_by}_a"]), _bits(both[f"{judged_by}_b"])
    won, lost = ~right_a & right_b, right_a & ~right_b
    n, n_won, n_lost = both.num_rows, int(won.sum()), int(lost.sum())
    n_both = int((right_a & right_b).sum())
    found = Comparison(
        judged_by=judged_by,
        paired=n,
        only_a=a.num_rows - _shared(a, b),
        only_b=b.num_rows - _shared(a, b),
        right_a=n_both + n_lost,
        right_b=n_both + n_won,
        won=n_won,
        lost=n_lost,
        difference=(n_won - n_lost) / n,
        ci95=paired_interval(n_both, n_won, n_lost, n - n_both - n_won - n_lost),
        p_value=mcnemar_p(n_won, n_lost),
        nfe_mean_a=float(pc.mean(both["nfe_a"]).as_py()),
        nfe_mean_b=float(pc.mean(both["nfe_b"]).as_py()),
    )
    ids = both["puzzle_id"]
    return Paired(
        found,
        frozenset(ids.filter(pa.array(won)).to_pylist()),
        frozenset(ids.filter(pa.array(lost)).to_pylist()),
    )


def changed_rows(run_a: str, run_b: str, paired: Paired) -> Iterator[dict[str, object]]:
    """Yield the puzzles that changed, in the order of B: source, question, answer, both predictions, `won` or `lost`."""
    wanted = paired.won | paired.lost
    before = {
        row["puzzle_id"]: row["prediction"] for row in _rows(run_a, ["puzzle_id", "prediction"], wanted)
    }  # fmt: skip
    for row in _rows(run_b, SHOWN, wanted):
        name = row["puzzle_id"]
        yield {
            **{key: row[key] for key in SHOWN if key != "prediction"},
            "prediction_a": before[name],
            "prediction_b": row["prediction"],
            "change": "won" if name in paired.won else "lost",
        }


def mcnemar_p(won: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test: of a fair coin tossed won + lost times.

    McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12 (1947).
    """
    n, k = won + lost, min(won, lost)
    if n == 0:
        return 1.0
    tail = np.arange(k + 1)
    logs = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in tail.tolist()])
    return min(1.0, 2 * float(np.exp(logs - n * math.log(2)).sum()))


def paired_interval(both: int, won: int, lost: int, neither: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two paired proportions; ValueError without pairs.

    Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data", Statistics in
    Medicine 17 (1998), method 10: Wilson intervals of both proportions, joined by their correlation; it stays within [-1, 1].
    """
    n = both + won + lost + neither
    a, b = wilson(both + lost, n), wilson(both + won, n)
    if a is None or b is None:
        raise ValueError("an interval needs at least one pair")
    p_a, p_b = (both + lost) / n, (both + won) / n
    margins = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    agreement = float(both * neither - won * lost)
    if agreement > 0:
        # Newcombe's continuity correction of the correlation.
        agreement = max(agreement - n / 2, 0.0)
    phi = agreement / math.sqrt(margins) if margins else 0.0

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

    difference = p_b - p_a
    return (
        max(-1.0, difference - reach(p_b - b[0], a[1] - p_a)),
        min(1.0, difference + reach(b[1] - p_b, p_a - a[0])),
    )


def _read(run: str) -> pa.Table:
    batches = list(verdict_batches(run, COLUMNS))
    if not batches:
        raise InputError(f"{run} holds no verdicts in verdicts/part-*.parquet; give the --out folder of an evaluation")
    return pa.Table.from_batches(batches)


def _rows(run: str, columns: list[str], wanted: frozenset[str]) -> Iterator[dict[str, str]]:
    ids = pa.array(sorted(wanted), pa.string())
    for batch in verdict_batches(run, columns):
        yield from batch.filter(pc.is_in(batch.column("puzzle_id"), value_set=ids)).to_pylist()


def _shared(a: pa.Table, b: pa.Table) -> int:
    return int(pc.sum(pc.is_in(a["puzzle_id"], value_set=b["puzzle_id"].combine_chunks())).as_py() or 0)


def _bits(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.fill_null(column, False).to_numpy(), np.bool_)
