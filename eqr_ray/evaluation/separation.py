"""How well a signal tells right trajectories from wrong ones.

Invariants, asserted in tests/unit/evaluation/test_separation.py: a perfect signal has 1, a constant one 0.5, and turning a signal
round turns the area round; without right or without wrong trajectories the area is undefined.
"""

from __future__ import annotations

import numpy as np

from eqr_ray.types import F64, Bool


def auroc(score: F64, right: Bool) -> float | None:
    """Return the chance that a right trajectory has a higher score than a wrong one, ties counting half; None without both kinds.

    score, right: (N,). The Mann-Whitney form of the area under the ROC curve (Hanley and McNeil, Radiology 143, 1982).
    """
    n_right = int(right.sum())
    n_wrong = len(right) - n_right
    if not n_right or not n_wrong:
        return None
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    above = float(rank[place][right].sum()) - n_right * (n_right + 1) / 2
    return above / (n_right * n_wrong)
