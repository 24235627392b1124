"""The calibration kept beside a checkpoint: read as plain values, refused beside other weights.

Invariant, asserted in tests/cli/test_trace_commands.py: what `eqr-ray calibrate` wrote for these weights is what is read.
"""

from __future__ import annotations

from collections.abc import Mapping

from eqr_ray.model.checkpoint import CALIBRATION, CheckpointFiles
from eqr_ray.policy import Calibration, Policy, reads_calibration
from eqr_ray.types import InputError


def calibration_for(policy: Policy, files: CheckpointFiles) -> Calibration | None:
    """Return what a policy is to know of a checkpoint: None for a policy that reads no calibration, so that one of other weights does
    not stand in its way."""
    return calibration_of(files) if reads_calibration(policy) else None


def calibration_of(files: CheckpointFiles) -> Calibration | None:
    """Return the calibration of a checkpoint, None where there is none; InputError for one of other weights."""
    if files.calibration is None:
        return None
    where, found = f"{files.name}/{CALIBRATION}", files.calibration
    if found.get("checkpoint_sha256") != files.sha256:
        fitted = str(found.get("checkpoint_sha256"))[:12]
        raise InputError(
            f"{where} was fitted for weights with sha256 {fitted}, and these have {files.sha256[:12]}; "
            "fit it again with `eqr-ray calibrate`, or remove it"
        )
    values = found.get("values")
    if not isinstance(values, Mapping):
        raise InputError(f"{where} holds no values; fit it again with `eqr-ray calibrate`")
    return Calibration.from_values(values, where)
