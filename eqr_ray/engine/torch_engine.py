"""The torch engine: brings the trajectories of a slice to their depths with a few lanes of fixed tiles.

A report is a function of (weights, device type, dtype, compiled or not, tile, question, trajectory seed, halting rule, depth). How many
lanes there are, what else is in the slice, how a trajectory is cut into slices and whether it was parked or restarted
in between make no difference; the contract suite in tests/contract says so.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from eqr_ray.engine.lane import Lane, Order, Report
from eqr_ray.engine.rows import Pool
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.types import U8, InputError, Slice, SliceResult, Trajectories

CPU_TILE = 4
"""Rows that one CPU core iterates together: enough to fill its vector units, few enough to waste little on the last
rows of a slice.
"""
CUDA_TILE = 1024
SYNC_EVERY = 8
"""Iterations between two host synchronisations on an accelerator: each costs a launch gap, and rows that finish in
between stand still.
"""
VARIANTS = 64
"""Compiled networks and tiles that one process may hold."""
PARK_BYTES = 1 << 30
"""Memory for parked latents. A trajectory pushed out of it restarts from its seed: slower, never different."""


def batch_rows(device: str, threads: int, tile: int | None = None) -> int:
    """Return how many rows an engine iterates at once: a slice of fewer leaves slots empty."""
    if device == "cpu":
        return threads * (tile or CPU_TILE)
    return tile or CUDA_TILE


class TorchEngine:
    """Implements `types.Engine` on CPU, CUDA or MPS."""

    def __init__(self, model: EquilibriumReasoner, *, device: str = "cpu", dtype: str = "float32", tile: int | None = None,
                 threads: int = 1, beta: float | None = None, park_bytes: int = PARK_BYTES,
                 sync_every: int | None = None, compiled: bool = False) -> None:  # fmt: skip
        """Hold `model` on `device`.

        `beta` overrides the path noise of the checkpoint; `threads` counts CPU lanes; `sync_every` is how many
        iterations pass between two looks at which rows are done (default 1 on the CPU, 8 elsewhere, where a look stalls
        the device). `compiled` fuses the layers with torch.compile before the first row comes; InputError where this
        machine cannot.
        """
        self.device = torch.device(device)
        on_cpu = self.device.type == "cpu"
        kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
        self.model = model.to(self.device, kind).eval().requires_grad_(False)
        spec = model.spec
        tile = tile or (CPU_TILE if on_cpu else CUDA_TILE)
        row_bytes = 4 * (spec.latents * spec.tokens * spec.hidden + spec.cells * spec.vocab)
        self.pool = Pool(spec, max(tile, park_bytes // row_bytes), self.device, kind)
        beta = spec.noise if beta is None else beta
        sync_every = sync_every or (1 if on_cpu else SYNC_EVERY)
        lanes = threads if on_cpu else 1
        self.lanes = [Lane(self.model, tile, self.device, kind, beta, sync_every) for _ in range(lanes)]
        # Each lane computes in one thread, so that a tile has the same bits whatever the number of cores.
        self.workers = ThreadPoolExecutor(lanes, "eqr-lane", initializer=torch.set_num_threads, initargs=(1,))
        self.lock = threading.Lock()
        self.cells: dict[int, U8] = {}
        if compiled:
            self._compile()

    def _compile(self) -> None:
        # Every network and tile of a process is a variant of the same code; beyond the limit torch would go on uncompiled.
        torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
        self.model.block = torch.compile(self.model.block, dynamic=False)  # type: ignore[method-assign]
        try:
            # In a lane's thread, for what is compiled is compiled for the calling thread's number of cores.
            self.workers.submit(self.lanes[0].warm_up).result()
        except torch._dynamo.exc.TorchDynamoException as error:
            cause = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(
                f"torch.compile does not work on this machine ({cause[0]}); install a C++ compiler or leave out --compile"
            ) from error

    def reset(self) -> None:
        """Forget every puzzle and parked trajectory: what a new coordinator numbers from 0 again starts afresh."""
        self.cells.clear()
        self.pool.clear()

    def _left(self, order: Order) -> int:
        """Return the iterations that an order may take at most."""
        return order.until - (self.pool.depth_of(order.puzzle, order.index) or 0)

    def run(self, orders: Slice) -> SliceResult:
        """Bring every trajectory of the slice to its depth or to its halt and report it.

        Raises ValueError when the slice names a puzzle whose cells this engine was never given.
        """
        started = time.perf_counter()
        for puzzle in orders.retired.tolist():
            self.cells.pop(puzzle, None)
            self.pool.retire(puzzle)
        self.cells.update(orders.cells)
        missing = {puzzle for puzzle in orders.puzzle.tolist() if puzzle not in self.cells}
        if missing:
            raise ValueError(
                f"slice {orders.slice_id} orders puzzle {min(missing)}, whose cells this replica was never given"
            )
        seeds = orders.seed.view(np.int64).tolist()
        columns = zip(
            orders.puzzle.tolist(),
            orders.index.tolist(),
            seeds,
            orders.until.tolist(),
            orders.halt.tolist(),
            strict=True,
        )
        rows = [
            Order(row, puzzle, index, seed, until, orders.halts[halt], self.cells[puzzle])
            for row, (puzzle, index, seed, until, halt) in enumerate(columns)
        ]
        # The longest first: what enters last decides for how long slots stand empty.
        waiting = deque(sorted(rows, key=self._left, reverse=True))
        report = Report.blank(len(orders), self.model.spec.cells)
        for done in [self.workers.submit(lane.run, waiting, self.pool, report, self.lock) for lane in self.lanes]:
            done.result()
        trajectories = Trajectories(
            orders.puzzle, orders.index, report.depth, report.residual, report.logit_delta, report.q_halt,
            report.answer_key, report.status,
        )  # fmt: skip
        _, first = np.unique(report.answer_key, return_index=True)
        answers = {int(report.answer_key[row]): report.answer[row] for row in first.tolist()}
        elapsed = time.perf_counter() - started
        return SliceResult(orders.slice_id, orders.replica_id, trajectories, answers, report.iterations, elapsed)
