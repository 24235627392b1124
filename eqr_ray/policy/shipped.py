"""Tuned policies by name: what `eqr-ray tune` chose, as JSON values of a kind of policy.

Invariant, asserted in tests/unit/policy/test_registry.py: each builds, and equals its file in configs/policy.
docs/allocation.md says on which traces they were chosen, by which rule, and what they reached. What they leave out, the halting rule
among it, is the checkpoint's own where it has a calibration.
"""

from __future__ import annotations

SHIPPED: dict[str, tuple[str, dict[str, int | float | str | None]]] = {
    "economy": ("posterior", {"depth": 128, "breadth": 8, "nfe": 256, "delta": 0.05, "price": 0.001, "first_depth": 8}),
    "balanced": ("posterior", {"depth": 256, "breadth": 64, "nfe": 4096, "delta": 0.01, "price": 0.001}),
    "max": (
        "posterior",
        {"depth": 256, "breadth": 128, "nfe": 16384, "delta": 0.0001, "least_votes": 3, "first_breadth": 4},
    ),
}
"""Name -> (kind, parameters). `max` ignores cost: it asks for near certainty and gives nothing up."""
