"""The simulator with the mishaps that a test asks for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eqr_ray.sim.engine import SimEngine
from eqr_ray.types import Engine, Slice, SliceResult

Factory = Callable[[], Engine]


def first_time(marker: str) -> bool:
    """Return True to exactly one caller among all processes: the one that makes the marker file."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@dataclass(frozen=True)
class Simulated:
    """Builds a simulator that takes its time."""

    row_s: float = 0.0

    def __call__(self) -> Engine:
        return _Timed(SimEngine(), self.row_s)


class _Timed:
    device = "simulator"

    def __init__(self, inner: Engine, row_s: float) -> None:
        self._inner, self._row_s = inner, row_s

    def run(self, orders: Slice) -> SliceResult:
        time.sleep(self._row_s * len(orders))
        return self._inner.run(orders)


@dataclass(frozen=True)
class Gated:
    """Builds engines that begin no slice while the gate, a file, is not there."""

    inner: Factory
    gate: str

    def __call__(self) -> Engine:
        return _GatedEngine(self)


class _GatedEngine:
    device = "simulator"

    def __init__(self, plan: Gated) -> None:
        self._gate, self._inner = Path(plan.gate), plan.inner()

    def run(self, orders: Slice) -> SliceResult:
        while not self._gate.exists():
            time.sleep(0.02)
        return self._inner.run(orders)


@dataclass(frozen=True)
class Dying:
    """Builds engines of which the first to reach its `after`-th slice kills its process."""

    inner: Factory
    marker: str
    after: int = 2

    def __call__(self) -> Engine:
        return _DyingEngine(self)


class _DyingEngine:
    device = "simulator"

    def __init__(self, plan: Dying) -> None:
        self._plan, self._inner, self._n = plan, plan.inner(), 0

    def run(self, orders: Slice) -> SliceResult:
        self._n += 1
        if self._n == self._plan.after and first_time(self._plan.marker):
            os.kill(os.getpid(), signal.SIGKILL)
        return self._inner.run(orders)


@dataclass(frozen=True)
class Hanging:
    """Builds engines of which the first to get a slice never returns."""

    inner: Factory
    marker: str

    def __call__(self) -> Engine:
        return _HangingEngine(self)


class _HangingEngine:
    def __init__(self, plan: Hanging) -> None:
        self._plan, self._inner = plan, plan.inner()

    def run(self, orders: Slice) -> SliceResult:
        if first_time(self._plan.marker):
            time.sleep(3600.0)
        return self._inner.run(orders)


@dataclass(frozen=True)
class Failing:
    """Builds engines that raise in every slice, or that cannot be built."""

    when: str

    def __call__(self) -> Engine:
        if self.when == "built":
            raise OSError("the weights are not on this node")
        return _FailingEngine()


class _FailingEngine:
    def run(self, orders: Slice) -> SliceResult:
        raise ArithmeticError("the device computes nonsense")


@dataclass(frozen=True)
class Poisoned:
    """Builds engines whose process dies each time they are to work on one of these questions."""

    inner: Factory
    lethal: tuple[bytes, ...]
    """Encoded cells."""

    def __call__(self) -> Engine:
        return _PoisonedEngine(self)


class _PoisonedEngine:
    device = "simulator"

    def __init__(self, plan: Poisoned) -> None:
        self._plan, self._inner = plan, plan.inner()
        self._lethal: set[int] = set()

    def run(self, orders: Slice) -> SliceResult:
        self._lethal |= {number for number, cells in orders.cells.items() if cells.tobytes() in self._plan.lethal}
        if self._lethal.intersection(orders.puzzle.tolist()):
            os.kill(os.getpid(), signal.SIGKILL)
        return self._inner.run(orders)
