"""Tuned policies by name: what `eqr-ray tune` chose, as JSON values of a kind of policy.

Invariant, asserted in tests/unit/policy/test_registry.py: each builds, and equals its file in configs/policy.
docs/allocation.md says on which trace they were chosen, by which rule, and what they reached.
"""

from __future__ import annotations

SHIPPED: dict[str, tuple[str, dict[str, int | float | str | None]]] = {
    "economy": (
        "posterior",
        {
            "depth": 57,
            "breadth": 3,
            "nfe": 171,
            "delta": 0.02399,
            "price": 1.853e-05,
            "first_depth": 58,
            "first_breadth": 1,
            "growth": 1.891,
            "patience": 5,
            "abandon_above": 0.5,
            "min_depth": 3,
            "residual_below": 0.2975,
            "q_halt_above": 1.817,
            "stable_for": 4,
        },
    ),
    "balanced": (
        "adaptive",
        {
            "depth": 57,
            "breadth": 5,
            "nfe": 285,
            "first_depth": 14,
            "first_breadth": 1,
            "growth": 1.301,
            "accept_q": 2.869,
            "agree": 3,
            "widen_after": 24,
            "patience": 15,
            "abandon_above": 0.5,
            "min_depth": 3,
            "residual_below": 0.2053,
            "q_halt_above": 1.174,
            "stable_for": 1,
        },
    ),
    "max": ("posterior", {"depth": 256, "breadth": 128, "nfe": 16384, "delta": 0.0001, "first_breadth": 4}),
}
"""Name -> (kind, parameters). `max` ignores cost: it asks for near certainty and gives nothing up."""
