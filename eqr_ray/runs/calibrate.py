"""Fitting a checkpoint's calibration on a labelled trace, and measuring what it is worth on puzzles that it did not see.

Invariants, asserted in tests/cli/test_trace_commands.py: the file names the weights and the trace that it was fitted on, and
is refused beside other weights; the quality stated is that of puzzles kept back from the fit.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from eqr_ray.evaluation.calibration import Bin, brier, expected_calibration_error, reliability
from eqr_ray.evaluation.landscape_charts import reliability_chart
from eqr_ray.policy import Calibration, Posterior, calibrated
from eqr_ray.sim.calibrating import fit
from eqr_ray.sim.replay import Playback, replay
from eqr_ray.sim.trace import Trace, read_trace
from eqr_ray.types import InputError

CALIBRATION = "calibration.json"
FOLDS = 5


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """A calibration and how well its confidences hold."""

    values: Calibration
    puzzles: int
    brier: float | None
    expected_calibration_error: float | None
    bins: tuple[Bin, ...]
    accuracy: float
    nfe_mean: float
    brier_before: float | None
    """With the fall-back in its place."""
    expected_calibration_error_before: float | None


def calibrate(trace: Trace, policy: Posterior) -> CalibrationReport:
    """Fit on all labelled puzzles; state the quality by five folds, each judged by a fit on the other four."""
    trace = trace.take(np.flatnonzero(trace.labelled))
    if len(trace) < FOLDS:
        raise InputError(f"a calibration needs at least {FOLDS} puzzles with an answer, got {len(trace)}; record more")
    rule = policy.budget.halt
    values = fit(trace, rule)
    fold = np.random.default_rng(0).permutation(len(trace)) % FOLDS
    stated, right, nfe = np.zeros(len(trace)), np.zeros(len(trace), np.bool_), np.zeros(len(trace))
    for k in range(FOLDS):
        own = np.flatnonzero(fold == k)
        judged = calibrated(policy, fit(trace.take(np.flatnonzero(fold != k)), rule))
        found = replay(judged, Playback(trace.take(own)))
        stated[own], right[own], nfe[own] = found.confidence, found.exact, found.nfe
    before = replay(policy, Playback(trace))
    return CalibrationReport(
        values=values,
        puzzles=len(trace),
        brier=brier(stated, right),
        expected_calibration_error=expected_calibration_error(stated, right),
        bins=tuple(reliability(stated, right)),
        accuracy=float(right.mean()),
        nfe_mean=float(nfe.mean()),
        brier_before=brier(before.confidence, before.exact),
        expected_calibration_error_before=expected_calibration_error(before.confidence, before.exact),
    )


def calibrate_checkpoint(trace_uri: str, out: str, policy: Posterior) -> CalibrationReport:
    """Fit on a recorded trace and write `calibration.json` and its diagram into the folder `out`, such as the checkpoint's own."""
    trace = read_trace(trace_uri)
    depth, breadth = min(policy.depth, trace.facts.depth), min(policy.breadth, trace.facts.breadth)
    if (depth, breadth) != (policy.depth, policy.breadth):
        policy = replace(policy, depth=depth, breadth=breadth, nfe=None)
    report = calibrate(trace, policy)
    rule = policy.budget.halt
    contents = {
        "version": 1,
        "checkpoint_sha256": trace.facts.checkpoint_sha256,
        "values": report.values.as_dict(),
        "fitted_on": {
            **asdict(trace.facts), "puzzles": report.puzzles, "min_depth": rule.min_depth, "residual_below": rule.residual_below,
            "q_halt_above": rule.q_halt_above, "stable_for": rule.stable_for,
        },
        "held_out": {
            "folds": FOLDS, "puzzles": report.puzzles, "brier": report.brier, "accuracy": report.accuracy, "nfe_mean": report.nfe_mean,
            "expected_calibration_error": report.expected_calibration_error, "bins": [asdict(own) for own in report.bins],
        },
    }  # fmt: skip
    write_text(Path(out) / CALIBRATION, json.dumps(contents, indent=1) + "\n")
    write_text(Path(out) / "calibration.svg", str(reliability_chart(report.bins)) + "\n")
    return report


def write_text(path: Path, text: str) -> None:
    """Write a local file, whole or not at all; InputError where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); name another folder with --out"
        ) from None
