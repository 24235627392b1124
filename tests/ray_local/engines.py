"""Engines for the tests of the Ray layer: quick, a pure function of the orders, with the mishaps that a test asks for."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eqr_ray.types import Engine, Slice, SliceResult, Status, Trajectories


class HashEngine:
    """Every trajectory settles at a depth, and on an answer, that its seed alone decides."""

    device = "hash"

    def __init__(self, row_s: float = 0.0) -> None:
        self._row_s = row_s
        self._cells: dict[int, np.ndarray] = {}

    def run(self, orders: Slice) -> SliceResult:
        started = time.perf_counter()
        for number in orders.retired.tolist():
            self._cells.pop(number, None)
        self._cells.update(orders.cells)
        time.sleep(self._row_s * len(orders))
        rows = [self._settle(*row) for row in zip(orders.puzzle.tolist(), orders.seed.tolist(), strict=True)]
        settles = np.array([row.at for row in rows], np.int32)
        depth = np.minimum(settles, orders.until).astype(np.int32)
        halted = (depth >= settles) & np.array([not orders.halts[rule].never for rule in orders.halt.tolist()])
        depth = np.where(halted, depth, orders.until).astype(np.int32)
        trajectories = Trajectories(
            puzzle=orders.puzzle,
            index=orders.index,
            depth=depth,
            residual=(0.5 / depth).astype(np.float32),
            logit_delta=(0.25 / depth).astype(np.float32),
            q_halt=np.where(halted, 4.0, -4.0).astype(np.float32),
            answer_key=np.array([row.key for row in rows], np.uint64),
            status=np.where(halted, Status.CONVERGED, Status.RUNNING).astype(np.uint8),
        )
        answers = {row.key: row.answer for row in rows}
        return SliceResult(
            orders.slice_id, orders.replica_id, trajectories, answers, int(depth.sum()), time.perf_counter() - started
        )

    def _settle(self, number: int, seed: int) -> _Settled:
        cells = self._cells[number]
        draw = int.from_bytes(hashlib.blake2b(seed.to_bytes(8, "little"), digest_size=8).digest(), "little")
        answer = np.where(cells == 0, 1 + (draw >> 8) % 3, cells).astype(np.uint8)
        key = int.from_bytes(hashlib.blake2b(answer.tobytes(), digest_size=8).digest(), "little")
        return _Settled(2 + draw % 40, key, answer)


@dataclass(frozen=True, slots=True)
class _Settled:
    at: int
    key: int
    answer: np.ndarray


@dataclass(frozen=True)
class Hashing:
    """Builds a `HashEngine`."""

    row_s: float = 0.0

    def __call__(self) -> Engine:
        return HashEngine(self.row_s)


@dataclass(frozen=True)
class Dying:
    """Builds engines of which the first to reach its `after`-th slice kills its process; a marker file says that it happened."""

    inner: Callable[[], Engine]
    marker: str
    after: int = 2

    def __call__(self) -> Engine:
        return _DyingEngine(self)


class _DyingEngine:
    def __init__(self, plan: Dying) -> None:
        self._plan, self._inner, self._n = plan, plan.inner(), 0

    def run(self, orders: Slice) -> SliceResult:
        self._n += 1
        if self._n == self._plan.after:
            try:
                Path(self._plan.marker).touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
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
class Hanging:
    """Builds engines of which the first to get a slice never returns."""

    inner: Callable[[], Engine]
    marker: str

    def __call__(self) -> Engine:
        return _HangingEngine(self)


class _HangingEngine:
    def __init__(self, plan: Hanging) -> None:
        self._plan, self._inner = plan, plan.inner()

    def run(self, orders: Slice) -> SliceResult:
        try:
            Path(self._plan.marker).touch(exist_ok=False)
        except FileExistsError:
            return self._inner.run(orders)
        while True:
            time.sleep(1.0)
