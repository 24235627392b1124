"""What a checkpoint reaches by depth, by breadth and by policy, measured on recorded trajectories and written into its card.

A figure of a trace is that of a live run: every row is a policy replayed, and `eqr-ray evaluate` with the row's options gives it again.
Invariants, asserted in tests/cli/test_measure.py: a row has its n, interval and sources and agrees with a live run; figures of other
weights are refused; what the card said otherwise stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eqr_ray.evaluation.calibration import brier, expected_calibration_error
from eqr_ray.evaluation.landscape import landscape_of
from eqr_ray.evaluation.scoring import wilson
from eqr_ray.evaluation.separation import auroc
from eqr_ray.model.calibration import calibration_of
from eqr_ray.model.checkpoint import CARD, bundled, fetch
from eqr_ray.policy import Policy, calibrated, policy_from, shipped_policies
from eqr_ray.policy.fixed import Fixed
from eqr_ray.runs.calibrate import write_text
from eqr_ray.runs.landscape import ends_of
from eqr_ray.sim.replay import Playback, replay
from eqr_ray.sim.trace import Trace, read_trace
from eqr_ray.types import Bool, InputError


@dataclass(frozen=True, slots=True)
class Row:
    """One measured setting."""

    policy: str
    options: str
    """What to give to `eqr-ray evaluate`."""
    n: int
    exact_accuracy: float
    ci95: tuple[float, float]
    nfe_mean: float
    by_source: dict[str, tuple[int, int]]
    """source -> (solved, puzzles)"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one trace says about its checkpoint."""

    puzzles: str
    """Where they come from, in words."""
    n: int
    seed: int
    depth: int
    breadth: int
    checkpoint_sha256: str
    rows: tuple[Row, ...]
    agreeing_pairs: float | None
    """Chance that two restarts of a puzzle decode to one answer at full depth; None for breadth 1."""
    residual_auroc: float | None
    """Of the residual at full depth against correctness, over trajectories; None where all or none are right."""
    q_halt_brier: float | None
    q_halt_calibration_error: float | None
    """Of sigmoid(q_halt) at full depth against correctness, over trajectories."""


def measure(trace: Trace, puzzles: str, checkpoint: str | None = None) -> Measured:
    """Measure the labelled puzzles of a trace; InputError without any.

    checkpoint: where the calibration is read that policies use; a bundled one is found by its name in the trace, and without any the
    policies do without.
    """
    trace = trace.take(np.flatnonzero(trace.labelled))
    if not len(trace):
        raise InputError("the trace holds no puzzle with an answer, and accuracy needs them; record a labelled file")
    playback, facts = Playback(trace), trace.facts
    named = checkpoint or (facts.checkpoint if facts.checkpoint in bundled() else None)
    calibration = None if named is None else calibration_of(fetch(named))
    rows = [_row(trace, playback, policy, options) for policy, options in _fixed(facts.depth, facts.breadth)]
    rows += [
        _row(trace, playback, calibrated(policy, calibration), options)
        for policy, options in _adaptive(facts.depth, facts.breadth)
    ]
    landscape = landscape_of(ends_of(trace))
    last = (trace.depth - 1)[:, :, None]
    right = ends_of(trace).is_right[:, :, -1].reshape(-1)
    residual = np.take_along_axis(trace.residual, last, axis=2).reshape(-1).astype(np.float64)
    q_halt = np.take_along_axis(trace.q_halt, last, axis=2).reshape(-1).astype(np.float64)
    stated = np.where(np.isfinite(q_halt), 1 / (1 + np.exp(-np.clip(q_halt, -50, 50))), 0.0)
    return Measured(
        puzzles=puzzles,
        n=len(trace),
        seed=facts.seed,
        depth=facts.depth,
        breadth=facts.breadth,
        checkpoint_sha256=facts.checkpoint_sha256,
        rows=tuple(rows),
        agreeing_pairs=landscape.agree[-1],
        residual_auroc=auroc(-np.where(np.isfinite(residual), residual, np.inf), right),
        q_halt_brier=brier(stated, right),
        q_halt_calibration_error=expected_calibration_error(stated, right),
    )


def measure_checkpoint(traces: Sequence[str], puzzles: str, into: str | None = None) -> list[Measured]:
    """Measure traces of one checkpoint; `into`, a checkpoint folder, gets them as `measured_on_traces` in its card.

    What the card says of the same weights on other puzzles, or to another depth or breadth, stays.
    """
    found = [measure(read_trace(uri), puzzles, into) for uri in traces]
    if into is None:
        return found
    files = fetch(into)
    for uri, measured in zip(traces, found, strict=True):
        if measured.checkpoint_sha256 != files.sha256:
            raise InputError(
                f"{uri} was recorded with other weights (sha256 {measured.checkpoint_sha256[:12]}) than {into} holds "
                f"({files.sha256[:12]}); record it again"
            )
    entries = [asdict(measured) for measured in found]
    same = {_what(entry) for entry in entries}
    before = files.card.get("measured_on_traces")
    kept = [
        entry
        for entry in (before if isinstance(before, list) else [])
        if isinstance(entry, dict) and entry.get("checkpoint_sha256") == files.sha256 and _what(entry) not in same
    ]
    card = {**files.card, "measured_on_traces": kept + entries}
    write_text(Path(into) / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return found


def _what(entry: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(str(entry.get(name)) for name in ("puzzles", "n", "seed", "depth", "breadth"))


def as_markdown(measured: Measured) -> str:
    """Return the figures as a table for a document."""
    sources = sorted({source for row in measured.rows for source in row.by_source})
    lines = [
        f"n = {measured.n:,}, seed {measured.seed}, weights sha256 {measured.checkpoint_sha256[:12]}",
        "",
        f"| `eqr-ray evaluate` with | exact | 95 % interval | NFE a puzzle | {' | '.join(sources)} |",
        "|---|---|---|---|" + "---|" * len(sources),
    ]
    for row in measured.rows:
        shares = [_share(*row.by_source[source]) if source in row.by_source else "–" for source in sources]
        lines.append(
            f"| {row.options} | {100 * row.exact_accuracy:.1f} % | {100 * row.ci95[0]:.1f} to {100 * row.ci95[1]:.1f} "
            f"| {row.nfe_mean:,.1f} | {' | '.join(shares)} |"
        )
    told = (
        f"Pairs of restarts that agree at full depth: {_percent(measured.agreeing_pairs)}. AUROC of the residual against "
        f"correctness: {_number(measured.residual_auroc)}. sigmoid(q_halt) against correctness: Brier "
        f"{_number(measured.q_halt_brier)}, calibration error {_number(measured.q_halt_calibration_error)}."
    )
    return "\n".join([*lines, "", told])


def _fixed(depth: int, breadth: int) -> Iterable[tuple[Policy, str]]:
    for d in _steps(depth, 4):
        yield Fixed(d, 1), f"--policy fixed --depth {d} --breadth 1"
    for b in _steps(breadth, 2)[1:]:
        yield Fixed(depth, b), f"--policy fixed --depth {depth} --breadth {b}"
        top1 = Fixed(depth, b, select_by="top1_residual")
        yield top1, f"--policy fixed --depth {depth} --breadth {b} --set policy.params.select_by=top1_residual"


def _adaptive(depth: int, breadth: int) -> Iterable[tuple[Policy, str]]:
    """Yield the default policy and the tuned ones within what was recorded."""
    for name in ("adaptive", *shipped_policies()):
        own = policy_from(name)
        d, b = min(own.budget.depth, depth), min(own.budget.breadth, breadth)
        if (d, b) == (own.budget.depth, own.budget.breadth):
            yield own, f"--policy {name}"
        elif breadth > 1:
            yield policy_from(name, d, b), f"--policy {name} --depth {d} --breadth {b}"


def _steps(most: int, factor: int) -> list[int]:
    steps = [1]
    while steps[-1] * factor <= most:
        steps.append(steps[-1] * factor)
    return steps if steps[-1] == most else [*steps, most]


def _row(trace: Trace, playback: Playback, policy: Policy, options: str) -> Row:
    found = replay(policy, playback)
    exact: Bool = found.exact
    sources = np.array(trace.source)
    solved = int(exact.sum())
    return Row(
        policy=policy.name,
        options=options,
        n=len(trace),
        exact_accuracy=solved / len(trace),
        ci95=wilson(solved, len(trace)) or (0.0, 1.0),
        nfe_mean=found.nfe_mean,
        by_source={
            name: (int(exact[sources == name].sum()), int((sources == name).sum()))
            for name in sorted(set(trace.source))
        },
    )


def _share(solved: int, puzzles: int) -> str:
    return f"{100 * solved / puzzles:.1f} % of {puzzles}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
