"""Fitting a checkpoint's calibration on a labelled trace, and measuring what it is worth on puzzles that it did not see.

Invariants, asserted in tests/cli/test_trace_commands.py: the file names the weights and the trace that it was fitted on, and
is refused beside other weights; the quality stated is that of puzzles kept back from the fit.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eqr_ray.evaluation.calibration import Bin, brier, expected_calibration_error, reliability
from eqr_ray.evaluation.landscape_charts import reliability_chart
from eqr_ray.policy import Calibration, Posterior, calibrated, spec_of
from eqr_ray.sim.calibrating import best_rule, fit
from eqr_ray.sim.replay import Playback, held_to, replay
from eqr_ray.sim.trace import Trace, TraceFacts, read_facts, read_trace
from eqr_ray.types import HaltRule, InputError

CALIBRATION = "calibration.json"
FOLDS = 5


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """A calibration and how well its confidences hold."""

    values: Calibration
    rule: HaltRule
    """The halting rule that was chosen."""
    puzzles: int
    brier: float | None
    expected_calibration_error: float | None
    bins: tuple[Bin, ...]
    accuracy: float
    nfe_mean: float
    brier_before: float | None
    """This and the following with the fall-back in its place."""
    expected_calibration_error_before: float | None
    accuracy_before: float
    nfe_mean_before: float


def calibrate(trace: Trace, policy: Posterior) -> CalibrationReport:
    """Fit on all labelled puzzles, under the halting rule that is worth most to the policy; state the quality by five folds, each
    judged by a fit on the other four."""
    trace = trace.take(np.flatnonzero(trace.labelled))
    if len(trace) < FOLDS:
        raise InputError(f"a calibration needs at least {FOLDS} puzzles with an answer, got {len(trace)}; record more")
    rule = best_rule(trace, policy)
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
        rule=rule,
        puzzles=len(trace),
        brier=brier(stated, right),
        expected_calibration_error=expected_calibration_error(stated, right),
        bins=tuple(reliability(stated, right)),
        accuracy=float(right.mean()),
        nfe_mean=float(nfe.mean()),
        brier_before=brier(before.confidence, before.exact),
        expected_calibration_error_before=expected_calibration_error(before.confidence, before.exact),
        accuracy_before=before.accuracy,
        nfe_mean_before=before.nfe_mean,
    )


def calibrate_checkpoint(trace_uri: str, out: str, policy: Posterior) -> CalibrationReport:
    """Fit on a recorded trace and write `calibration.json` and its diagram into the folder `out`, such as the checkpoint's own."""
    trace = read_trace(trace_uri)
    held = held_to(policy, trace.facts)
    assert isinstance(held, Posterior)
    policy = held
    report = calibrate(trace, policy)
    rule = report.rule
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
            "policy": spec_of(policy).as_dict(), "expected_calibration_error": report.expected_calibration_error,
            "bins": [asdict(own) for own in report.bins],
        },
    }  # fmt: skip
    write_text(Path(out) / CALIBRATION, json.dumps(contents, indent=1) + "\n")
    write_text(Path(out) / "calibration.svg", str(reliability_chart(report.bins)) + "\n")
    return report


def folder_of(trace_uri: str, checkpoint: str | None) -> str:
    """Return the local folder of the checkpoint that a trace was recorded with; InputError where its weights are other ones."""
    from eqr_ray.model.checkpoint import bundled, fetch

    facts = read_facts(trace_uri)
    if facts is None:
        raise InputError(f"{trace_uri} holds no trace.json; give the --out folder of `eqr-ray trace`")
    name = checkpoint or facts.checkpoint
    folder = str(bundled().get(name, name))
    if not Path(folder).is_dir():
        raise InputError(f"{name} is no local folder that a calibration can be written into; name one with --out")
    if fetch(name).sha256 != facts.checkpoint_sha256:
        raise InputError(
            f"{trace_uri} was recorded with other weights than {folder} holds; record it again, or name another folder with --out"
        )
    return folder


def known_of(facts: TraceFacts, checkpoint: str | None = None) -> Calibration | None:
    """Return the calibration of the checkpoint that recorded a trace, None where there is none, or it is not at hand.

    checkpoint: where it is, if not under the name in the trace; InputError if that holds other weights.
    """
    from eqr_ray.model.calibration import calibration_of
    from eqr_ray.model.checkpoint import bundled, fetch

    if checkpoint is None and facts.checkpoint not in bundled():
        return None
    files = fetch(checkpoint or facts.checkpoint)
    if files.sha256 == facts.checkpoint_sha256:
        return calibration_of(files)
    if checkpoint is None:
        return None
    raise InputError(
        f"the trace was recorded with weights {facts.checkpoint_sha256[:12]}, and {checkpoint} holds {files.sha256[:12]}; "
        "name the checkpoint that recorded it"
    )


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
