"""Distributed test-time scaling of Equilibrium Reasoners on Ray."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("eqr-ray")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["Solver", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Solver` on first use, so that `import eqr_ray` stays free of torch."""
    if name == "Solver":
        return import_module("eqr_ray.solver").Solver
    raise AttributeError(f"module 'eqr_ray' has no attribute {name!r}")
