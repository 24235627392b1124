"""When a trajectory counts as settled: the reference evaluation of `HaltRule`, which every engine must equal.

Invariants, asserted in tests/unit/policy/test_halting.py: a row halts at the first depth >= min_depth at which both
bounds have held `stable_for` iterations in a row; iterations before min_depth count towards the row of iterations; an
infinite bound is not looked at.
"""

from __future__ import annotations

import math

import numpy as np

from eqr_ray.types import F32, I32, Bool, HaltRule

RESIDUAL_BELOW = 0.1
"""Bound on the 3-iteration residual, on latents of rms 1. Lower halts later and loses rows whose noise keeps them above
it; higher halts on states that are still moving. The floor depends on the evaluation noise of a checkpoint, so a
checkpoint may state its own."""
Q_HALT_ABOVE = 0.0
"""Bound on the halting logit: 0 is the decision boundary the q head was trained with. Higher halts fewer wrong states,
and later."""
STABLE_FOR = 2
"""Checks in a row. Either signal alone over-halts and one check catches a passing dip; every further check costs one
iteration a row."""
MIN_DEPTH = 3
"""The residual is a mean over three iterations and undefined before."""


def holds(rule: HaltRule, residual: F32, q_halt: F32) -> Bool:
    """Return, elementwise, whether both bounds of the rule hold (any shape; NaN never holds)."""
    within = (residual < np.float32(rule.residual_below)) | (rule.residual_below == math.inf)
    sure = (q_halt > np.float32(rule.q_halt_above)) | (rule.q_halt_above == -math.inf)
    return np.asarray(within & sure, dtype=np.bool_)


def halted_at(rule: HaltRule, residual: F32, q_halt: F32, first_depth: int | I32 = 1, streak: I32 | None = None) -> I32:
    """Return the depth at which each row halts, 0 for a row that does not.

    residual, q_halt: (N, T) float32, column t is the iteration at depth `first_depth + t`; first_depth is one number or
    (N,). streak: (N,) iterations in a
    row that the rule had held before the first column; zeros when left out.
    """
    held = holds(rule, residual, q_halt)
    n_rows, n_steps = held.shape
    if n_steps == 0 or rule.never:
        return np.zeros(n_rows, np.int32)
    before = np.zeros(n_rows, np.int32) if streak is None else streak
    step = np.arange(1, n_steps + 1, dtype=np.int32)
    first = np.broadcast_to(np.asarray(first_depth, np.int32), n_rows)
    # The last column that broke the rule, up to each column; a row unbroken so far carries its earlier streak.
    broken = np.maximum.accumulate(np.where(held, 0, step), axis=1)
    run = step - broken + np.where(broken == 0, before[:, None], 0)
    halts = held & (run >= rule.stable_for) & (first[:, None] + step - 1 >= rule.min_depth)
    return np.where(halts.any(axis=1), first + halts.argmax(axis=1), 0).astype(np.int32)
