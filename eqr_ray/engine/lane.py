"""A lane: one tile of rows that iterate together in one fixed shape; finished rows leave it and waiting rows enter
between iterations.

The shape never changes, whatever the load: an empty slot computes on zeros. So a row's bits depend neither on its
neighbours nor on its slot (asserted by tests/contract on the CPU; a device that cannot promise the last bit is measured
by `eqr-ray bench`). A lane asks the host which rows are done once every `sync_every` iterations; rows that finish in
between stand still.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eqr_ray.engine.draws import mix, normals
from eqr_ray.engine.rows import WINDOW, Pool, Rows
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.types import F32, U8, U64, HaltRule, Status


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """One row of a slice on its way through a lane."""

    row: int
    """Position in the slice."""
    puzzle: int
    index: int
    seed: int
    """int64 view of the trajectory's 64-bit seed."""
    until: int
    halt: HaltRule
    cells: U8


@dataclass(slots=True, eq=False)
class Report:
    """Host-side columns of a slice's reports, (N,) each, filled as rows finish."""

    depth: np.ndarray
    residual: F32
    logit_delta: F32
    q_halt: F32
    answer_key: U64
    status: U8
    answer: U8
    """(N, S)"""
    iterations: int = 0
    """Iterations computed, padding included."""

    @classmethod
    def blank(cls, n: int, cells: int) -> Report:
        """Return a report of n rows."""
        return cls(
            np.zeros(n, np.int32), np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.float32),
            np.zeros(n, np.uint64), np.zeros(n, np.uint8), np.zeros((n, cells), np.uint8),
        )  # fmt: skip


def answer_keys(tokens: Tensor) -> Tensor:
    """Return (N,) int64 hashes of decoded answers (N, S): a sum of per-cell hashes, so that the order of summation is
    free.
    """
    cell = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.int64)
    return mix(mix(cell[None, :] * 256 + tokens.long() + 1).sum(1))


def window_mean(columns: Tensor) -> Tensor:
    """Return (N,) means of (N, 3), summed from the left: the same bits for a row whatever N is."""
    return (columns[:, 0] + columns[:, 1] + columns[:, 2]) / WINDOW


class Lane:
    """`tile` slots and the loop that keeps them busy."""

    def __init__(self, model: EquilibriumReasoner, tile: int, device: torch.device, dtype: torch.dtype, beta: float,
                 sync_every: int) -> None:  # fmt: skip
        self.model, self.spec, self.tile, self.device, self.beta = model, model.spec, tile, device, beta
        self.sync_every = sync_every
        self.rows = Rows.blank(tile, self.spec, device, dtype)
        self.x = torch.zeros(tile, self.spec.tokens, self.spec.hidden, dtype=dtype, device=device)
        """(tile, T, d) embedded questions."""
        self.keys = torch.zeros(tile, dtype=torch.int64, device=device)
        self.bounds = torch.zeros(tile, 5, dtype=torch.float32, device=device)
        """(tile, 5): until, min_depth, residual_below, q_halt_above, stable_for."""
        self.live = torch.zeros(tile, dtype=torch.bool, device=device)
        self.orders: list[Order | None] = [None] * tile

    def warm_up(self) -> None:
        """Iterate the empty slots: kernels and what is compiled are ready when the first row comes."""
        with torch.inference_mode():
            # Twice, for the latents come out of the first iteration as another kind of tensor than they went in.
            self._iterate()
            self._iterate()

    def run(self, waiting: deque[Order], pool: Pool, report: Report, lock: AbstractContextManager[object]) -> None:
        """Work until no order waits and every slot is empty; `lock` guards queue, pool and report among lanes."""
        try:
            with torch.inference_mode():
                while True:
                    with lock:
                        entered = self._admit(waiting, pool)
                    if not entered and not any(self.orders):
                        return
                    for _ in range(self.sync_every):
                        self._iterate()
                    with lock:
                        report.iterations += self.tile * self.sync_every
                        self._collect(pool, report)
        finally:
            # After an error, such as a device out of memory, no order of this slice may be left to report into the next one.
            self.orders = [None] * self.tile

    def _admit(self, waiting: deque[Order], pool: Pool) -> bool:
        slots = [slot for slot, order in enumerate(self.orders) if order is None][: len(waiting)]
        if not slots:
            return False
        orders = [waiting.popleft() for _ in slots]
        at = torch.tensor(slots, dtype=torch.int64, device=self.device)
        cells = torch.from_numpy(np.stack([order.cells for order in orders])).to(self.device)
        self.x.index_copy_(0, at, self.model.embed(cells).to(self.x.dtype))
        self.keys[at] = torch.tensor([order.seed for order in orders], dtype=torch.int64, device=self.device)
        self.bounds[at] = torch.tensor(
            [[o.until, o.halt.min_depth, o.halt.residual_below, o.halt.q_halt_above, o.halt.stable_for] for o in orders],
            dtype=torch.float32, device=self.device,
        )  # fmt: skip
        parked, fresh, places = [], [], []
        for slot, order in zip(slots, orders, strict=True):
            self.orders[slot] = order
            depth = pool.depth_of(order.puzzle, order.index)
            # A row parked beyond the order's depth cannot go back: it starts again and reports the depth asked for.
            if depth is None or depth > order.until:
                fresh.append(slot)
            else:
                parked.append(slot)
                places.append(pool.take(order.puzzle, order.index))
        if fresh:
            self._start(torch.tensor(fresh, dtype=torch.int64, device=self.device))
        if parked:
            self.rows.put(torch.tensor(parked, device=self.device), pool.rows, torch.tensor(places, device=self.device))
        self.live[at] = True
        self.live &= self.rows.depth < self.bounds[:, 0]
        return True

    def _start(self, at: Tensor) -> None:
        """Give slots their initial latents; random ones (RI) are keyed by the trajectory."""
        blank = Rows.blank(len(at), self.spec, self.device, self.rows.z.dtype)
        keys = self.keys[at]
        start = self.model.start(
            len(at), lambda shape: normals(keys, torch.zeros_like(at), 0, shape[1:], truncated=True)
        )
        blank.z = start.to(blank.z.dtype)
        self.rows.put(at, blank, torch.arange(len(at), device=self.device))

    def _iterate(self) -> None:
        """Advance every live row by one iteration; no host synchronisation."""
        rows, live = self.rows, self.live
        shape = (self.spec.tokens, self.spec.hidden)
        following = rows.depth + 1
        z = self.model.iterate(rows.z, self.x, lambda site: normals(self.keys, following, site, shape), self.beta)
        logits = self.model.logits(z)
        residual = (z[:, 0].float() - rows.z[:, 0].float()).square().mean((1, 2)).sqrt()
        delta = (logits - rows.logits).square().mean((1, 2)).sqrt()
        q_halt = self.model.q_halt(z)
        finite = residual.isfinite() & q_halt.isfinite() & logits.isfinite().all(2).all(1)
        # What a row that diverged says of itself: nothing that could pass for settled.
        q_halt = torch.where(finite, q_halt, -torch.inf)
        residuals = torch.cat([rows.residuals[:, 1:], torch.where(finite, residual, torch.inf)[:, None]], dim=1)
        deltas = torch.cat([rows.deltas[:, 1:], torch.where(finite, delta, torch.inf)[:, None]], dim=1)
        _, min_depth, residual_below, q_above, stable_for = self.bounds.unbind(1)
        # An infinite bound is not looked at: the residual itself is inf before the third iteration.
        within = (window_mean(residuals) < residual_below) | (residual_below == torch.inf)
        held = within & ((q_halt > q_above) | (q_above == -torch.inf))
        stable = torch.where(held, rows.stable + 1, torch.zeros_like(rows.stable))
        halted = finite & (stable >= stable_for) & (following >= min_depth)
        settled = torch.where(residual_below == torch.inf, int(Status.Q_HALTED), int(Status.CONVERGED))
        status = torch.where(halted, settled, int(Status.RUNNING))
        status = torch.where(finite, status, int(Status.DIVERGED)).to(torch.uint8)
        row = live[:, None]
        rows.z = torch.where(row[:, :, None, None], z.to(rows.z.dtype), rows.z)
        rows.logits = torch.where(row[:, :, None], logits, rows.logits)
        rows.residuals, rows.deltas = torch.where(row, residuals, rows.residuals), torch.where(row, deltas, rows.deltas)
        rows.q_halt, rows.stable = torch.where(live, q_halt, rows.q_halt), torch.where(live, stable, rows.stable)
        rows.depth, rows.status = torch.where(live, following, rows.depth), torch.where(live, status, rows.status)
        self.live = live & (rows.status == int(Status.RUNNING)) & (rows.depth < self.bounds[:, 0])

    def _collect(self, pool: Pool, report: Report) -> None:
        """Take finished rows out of their slots: the one host synchronisation."""
        live = self.live.cpu().numpy()
        done = [slot for slot, order in enumerate(self.orders) if order is not None and not live[slot]]
        if not done:
            return
        at = torch.tensor(done, dtype=torch.int64, device=self.device)
        tokens = self.rows.logits[at].argmax(-1).to(torch.uint8)
        orders = [order for slot in done if (order := self.orders[slot]) is not None]
        to = [order.row for order in orders]
        depth = self.rows.depth[at].cpu().numpy()
        status = self.rows.status[at].cpu().numpy()
        report.depth[to], report.status[to] = depth, status
        report.residual[to] = window_mean(self.rows.residuals[at]).cpu().numpy()
        report.logit_delta[to] = window_mean(self.rows.deltas[at]).cpu().numpy()
        report.q_halt[to] = self.rows.q_halt[at].cpu().numpy()
        report.answer_key[to] = answer_keys(tokens).cpu().numpy().view(np.uint64)
        report.answer[to] = tokens.cpu().numpy()
        for slot in done:
            self.orders[slot] = None
        going_on = [k for k in range(len(done)) if status[k] == Status.RUNNING]
        if going_on:
            names = [(orders[k].puzzle, orders[k].index) for k in going_on]
            pool.park(names, [int(depth[k]) for k in going_on], self.rows, at[going_on])
