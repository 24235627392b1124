"""Records trajectories to full depth: what every iteration of every row would have reported.

The lanes are those of the engine with a tape that notes each iteration on the device; nothing is read back before a row
is done, and the engine that runs slices is not touched. Invariants, asserted in tests/contract/test_replay_engine.py
and tests/unit/engine/test_recording.py: column d - 1 of a recording is, bit for bit, what the engine reports of the
same row at depth d; columns after a divergence stay undefined.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from eqr_ray.engine.factory import EngineSpec, pick_device
from eqr_ray.engine.lane import Lane, Order, Report, answer_keys, window_mean
from eqr_ray.engine.rows import Pool
from eqr_ray.engine.torch_engine import TorchEngine
from eqr_ray.model.checkpoint import build
from eqr_ray.types import F32, I32, U8, U64, Bool, HaltRule, Status


@dataclass(slots=True, eq=False)
class Recording:
    """Columns of N trajectories over D iterations."""

    residual: F32
    """(N, D), NaN where the trajectory was not iterated."""
    logit_delta: F32
    """(N, D)"""
    q_halt: F32
    """(N, D)"""
    answer_key: U64
    """(N, D)"""
    tokens: U8
    """(N, D, S) decoded answers."""
    depth: I32
    """(N,) iterations done: D, or the one at which the state ceased to be finite."""
    diverged: Bool
    """(N,)"""

    @classmethod
    def blank(cls, n: int, depth: int, cells: int) -> Recording:
        """Return a recording of nothing."""
        undefined = np.full((n, depth), np.nan, np.float32)
        return cls(
            undefined, undefined.copy(), undefined.copy(), np.zeros((n, depth), np.uint64),
            np.zeros((n, depth, cells), np.uint8), np.zeros(n, np.int32), np.zeros(n, np.bool_),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dynamics:
    """What may differ from the checkpoint's own dynamics; None keeps it."""

    beta: float | None = None
    """Path noise."""
    init_std: float | None = None
    """Standard deviation of the random initial latents."""
    damping: float | None = None
    """λ of Eq. 2 of arXiv 2605.21488."""


class RecordingLane(Lane):
    """A lane with a tape; `begin` makes room for the iterations of one batch."""

    def begin(self, recording: Recording) -> None:
        """Let the rows of the next run be noted in `recording`."""
        self.recording = recording
        _, depth, cells = recording.tokens.shape
        self.values: Tensor = torch.zeros(self.tile, depth, 3, device=self.device)
        self.tokens: Tensor = torch.zeros(self.tile, depth, cells, dtype=torch.uint8, device=self.device)

    def _iterate(self) -> None:
        super()._iterate()
        rows = self.rows
        # A row that stands still writes its last column again, an empty slot the first one: neither changes anything.
        column = (rows.depth.long() - 1).clamp(min=0)
        slot = torch.arange(self.tile, device=self.device)
        self.values[slot, column] = torch.stack(
            [window_mean(rows.residuals), window_mean(rows.deltas), rows.q_halt], dim=1
        )
        self.tokens[slot, column] = rows.logits.argmax(-1).to(torch.uint8)

    def _collect(self, pool: Pool, report: Report) -> None:
        live = self.live.cpu().numpy()
        done = [(slot, order) for slot, order in enumerate(self.orders) if order is not None and not live[slot]]
        for slot, order in done:
            depth = int(self.rows.depth[slot])
            tokens = self.tokens[slot, :depth]
            recording, row = self.recording, order.row
            values = self.values[slot, :depth].cpu().numpy()
            recording.residual[row, :depth] = values[:, 0]
            recording.logit_delta[row, :depth] = values[:, 1]
            recording.q_halt[row, :depth] = values[:, 2]
            recording.tokens[row, :depth] = tokens.cpu().numpy()
            recording.answer_key[row, :depth] = answer_keys(tokens).cpu().numpy().view(np.uint64)
            recording.depth[row] = depth
            recording.diverged[row] = int(self.rows.status[slot]) == Status.DIVERGED
        super()._collect(pool, report)


class Recorder(TorchEngine):
    """A torch engine whose lanes keep a tape."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.recording_lanes = [
            RecordingLane(self.model, lane.tile, lane.device, lane.rows.z.dtype, lane.beta, lane.sync_every)
            for lane in self.lanes
        ]

    def record(self, cells: Sequence[U8], seeds: U64, depth: int) -> Recording:
        """Run N trajectories, `cells` (N of (S,)) and `seeds` (N,), to `depth` without halting."""
        recording = Recording.blank(len(cells), depth, self.model.spec.cells)
        report = Report.blank(len(cells), self.model.spec.cells)
        never = HaltRule()
        waiting = deque(
            Order(row, row, 0, seed, depth, never, question)
            for row, (seed, question) in enumerate(zip(seeds.view(np.int64).tolist(), cells, strict=True))
        )
        for lane in self.recording_lanes:
            lane.begin(recording)
        for done in [
            self.workers.submit(lane.run, waiting, self.pool, report, self.lock) for lane in self.recording_lanes
        ]:
            done.result()
        self.pool.clear()
        return recording


@dataclass(frozen=True, slots=True)
class RecorderSpec:
    """Recipe of a recorder; calling it builds the recorder in the calling process."""

    engine: EngineSpec
    dynamics: Dynamics = Dynamics()

    def __call__(self) -> Recorder:
        """Build the recorder."""
        recipe, changed = self.engine, self.dynamics
        spec = recipe.checkpoint.spec
        spec = replace(
            spec,
            init_std=spec.init_std if changed.init_std is None else changed.init_std,
            damping=spec.damping if changed.damping is None else changed.damping,
        )
        model = build(replace(recipe.checkpoint, spec=spec)).model
        beta = recipe.beta if changed.beta is None else changed.beta
        device = pick_device(recipe.device)
        return Recorder(
            model, device=device, dtype=recipe.dtype, tile=recipe.tile, threads=recipe.threads, beta=beta,
            compiled=recipe.compiled,
        )  # fmt: skip
