"""From verdicts to the numbers of a run, one batch at a time.

Invariants, asserted in tests/unit/evaluation/test_summary.py: the numbers do not depend on how verdicts are cut into batches or ordered;
a run without labels has accuracy null; every key of the contract is there; the JSON is strict (no NaN, no infinity).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eqr_ray.evaluation.scoring import share, wilson

NO_SOURCE = "(no source)"
"""Name in `by_source` of puzzles whose file gives no source."""
SELECTIONS = ("any_correct", "majority_exact", "top1_residual_exact", "top1_logit_exact")
"""Columns that say what other selection rules would have scored; `any_correct` is the oracle."""
SUMMARY_COLUMNS = ("source", "exact", "valid", "nfe", "stop", "n_cells", "n_cells_right", *SELECTIONS)
"""What `Running.add` reads; a reader of large folders need not load more."""


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """Which weights made the verdicts."""

    name: str
    sha256: str
    parameters: int
    """Number of weights."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What verdicts do not tell about the run that made them; None where it is not known, as for a run that was cut off."""

    nfe_computed: int | None = None
    """Iterations that devices did, repeats and padding rows included; over all sessions of a resumed run."""
    nle_per_nfe: int | None = None
    """Layers that one iteration of the network evaluates."""
    wall_s: float | None = None
    """Time during which puzzles were worked on, over all sessions of a resumed run."""
    replicas: int | None = None
    lost_slices: int | None = None
    checkpoint: CheckpointFacts | None = None
    policy: Mapping[str, object] | None = None
    seed: int | None = None
    version: str | None = None
    device: str | None = None
    storage_retries: int | None = None
    """Times that the storage refused something for a moment and was asked again."""


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """One source of puzzles."""

    puzzles: int
    exact_accuracy: float | None
    nfe_mean: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """`summary.json`: accuracies are over all puzzles that have an answer, settled or not; None is undefined."""

    puzzles: int
    puzzles_with_answer: int
    """Denominator of every accuracy but `valid_accuracy`."""
    exact_accuracy: float | None
    exact_accuracy_ci95: list[float] | None
    """Wilson interval [low, high]."""
    valid_accuracy: float | None
    """Share of all puzzles whose answer obeys the rules and the clues; needs no label."""
    token_accuracy: float | None
    """Share of right cells, over all cells of the puzzles that have an answer, given clues included."""
    nfe_mean: float | None
    nfe_total: int
    nfe_computed: int | None
    nle_mean: float | None
    """Layers evaluated for a puzzle: nfe_mean times the layers of one iteration."""
    puzzles_per_s: float | None
    wall_s: float | None
    replicas: int | None
    lost_slices: int | None
    storage_retries: int | None
    by_source: dict[str, SourceSummary]
    stop: dict[str, int]
    selection: dict[str, float | None]
    """What other selection rules would have scored on the same trajectories; `any_correct` is the oracle."""
    checkpoint: CheckpointFacts | None
    policy: Mapping[str, object] | None
    seed: int | None
    version: str | None
    device: str | None

    def to_json(self) -> str:
        """Return strict, indented JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@dataclass(slots=True)
class _Count:
    puzzles: int = 0
    nfe: int = 0
    scored: int = 0
    exact: int = 0


@dataclass(slots=True)
class Running:
    """Adds up verdicts batch by batch; holds one counter a source, never the rows."""

    valid: int = 0
    cells: int = 0
    cells_right: int = 0
    stop: Counter[str] = field(default_factory=Counter)
    by_source: dict[str, _Count] = field(default_factory=dict)
    selection: dict[str, list[int]] = field(default_factory=lambda: {name: [0, 0] for name in SELECTIONS})

    def add(self, verdicts: pa.Table | pa.RecordBatch) -> None:
        """Add a batch of verdicts; only `SUMMARY_COLUMNS` are read."""
        if not verdicts.num_rows:
            return
        columns = _columns(verdicts)
        nfe = columns["nfe"].to_numpy(zero_copy_only=False)
        known = pc.is_valid(columns["exact"]).to_numpy(zero_copy_only=False)
        right = pc.fill_null(columns["exact"], False).to_numpy(zero_copy_only=False)
        sources = pc.dictionary_encode(pc.fill_null(columns["source"], NO_SOURCE))
        owner = sources.indices.to_numpy()
        names = sources.dictionary.to_pylist()
        puzzles = np.bincount(owner, minlength=len(names))
        sums = [np.bincount(owner, weights=column, minlength=len(names)) for column in (nfe, known, right)]
        for number, name in enumerate(names):
            count = self.by_source.setdefault(name, _Count())
            count.puzzles += int(puzzles[number])
            count.nfe += int(sums[0][number])
            count.scored += int(sums[1][number])
            count.exact += int(sums[2][number])
        self.valid += _sum(columns["valid"])
        self.cells += _sum(pc.if_else(pc.is_valid(columns["n_cells_right"]), columns["n_cells"], 0))
        self.cells_right += _sum(columns["n_cells_right"])
        for reason in pc.value_counts(columns["stop"]).to_pylist():
            self.stop[reason["values"]] += reason["counts"]
        for name, counts in self.selection.items():
            counts[0] += _sum(columns[name])
            counts[1] += len(columns[name]) - columns[name].null_count

    @property
    def puzzles(self) -> int:
        """Verdicts added so far."""
        return sum(count.puzzles for count in self.by_source.values())

    @property
    def nfe_total(self) -> int:
        """Iterations charged so far."""
        return sum(count.nfe for count in self.by_source.values())

    @property
    def exact_accuracy(self) -> float | None:
        """Accuracy so far, over the puzzles that have an answer; None if there is none."""
        return share(
            sum(count.exact for count in self.by_source.values()),
            sum(count.scored for count in self.by_source.values()),
        )

    def summary(self, facts: RunFacts) -> Summary:
        """Return the numbers of everything added so far."""
        scored = sum(count.scored for count in self.by_source.values())
        interval = wilson(sum(count.exact for count in self.by_source.values()), scored)
        nfe_mean = self.nfe_total / self.puzzles if self.puzzles else None
        return Summary(
            puzzles=self.puzzles,
            puzzles_with_answer=scored,
            exact_accuracy=self.exact_accuracy,
            exact_accuracy_ci95=list(interval) if interval else None,
            valid_accuracy=share(self.valid, self.puzzles),
            token_accuracy=share(self.cells_right, self.cells),
            nfe_mean=nfe_mean,
            nfe_total=self.nfe_total,
            nfe_computed=facts.nfe_computed,
            nle_mean=None if nfe_mean is None or facts.nle_per_nfe is None else nfe_mean * facts.nle_per_nfe,
            puzzles_per_s=self.puzzles / facts.wall_s if facts.wall_s else None,
            wall_s=facts.wall_s,
            replicas=facts.replicas,
            lost_slices=facts.lost_slices,
            storage_retries=facts.storage_retries,
            by_source={
                name: SourceSummary(count.puzzles, share(count.exact, count.scored), count.nfe / count.puzzles)
                for name, count in sorted(self.by_source.items())
            },
            stop=dict(sorted(self.stop.items())),
            selection={
                name.removesuffix("_exact"): share(right, total) for name, (right, total) in self.selection.items()
            },
            checkpoint=facts.checkpoint,
            policy=facts.policy,
            seed=facts.seed,
            version=facts.version,
            device=facts.device,
        )


def _columns(verdicts: pa.Table | pa.RecordBatch) -> dict[str, pa.Array]:
    columns = {name: verdicts.column(name) for name in SUMMARY_COLUMNS}
    return {name: c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for name, c in columns.items()}


def _sum(column: pa.Array) -> int:
    return int(pc.sum(column.cast(pa.int64())).as_py() or 0)
