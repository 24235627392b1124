"""Columns of trajectory state on the device, and the pool where unfinished trajectories are parked between slices.

Invariants: a parked row comes out as it went in; the pool never holds more than its capacity (the longest parked go
first, and restart from their seed when asked for again); a retired puzzle leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from eqr_ray.model.spec import ModelSpec

WINDOW = 3
"""Iterations over which residual and logit change are averaged (arXiv 2605.21488, Top-1 converged)."""


@dataclass(slots=True, eq=False)
class Rows:
    """State of n trajectories: everything that the next iteration and the next report need."""

    z: Tensor
    """(n, K, T, d) latents."""
    logits: Tensor
    """(n, S, V) float32 logits of the last iteration."""
    residuals: Tensor
    """(n, 3) float32 last residuals, inf where there is none yet."""
    deltas: Tensor
    """(n, 3) float32 last logit changes, likewise."""
    q_halt: Tensor
    """(n,) float32"""
    depth: Tensor
    """(n,) int32 iterations done."""
    stable: Tensor
    """(n,) int32 iterations in a row for which the halting bounds have held."""
    status: Tensor
    """(n,) uint8 `types.Status`."""

    @classmethod
    def blank(cls, n: int, spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> Rows:
        """Return n rows before their first iteration, latents zero."""
        inf = torch.full((n, WINDOW), torch.inf, device=device)
        return cls(
            z=torch.zeros(n, spec.latents, spec.tokens, spec.hidden, device=device, dtype=dtype),
            logits=torch.full((n, spec.cells, spec.vocab), torch.inf, device=device),
            residuals=inf, deltas=inf.clone(),
            q_halt=torch.full((n,), -torch.inf, device=device),
            depth=torch.zeros(n, dtype=torch.int32, device=device),
            stable=torch.zeros(n, dtype=torch.int32, device=device),
            status=torch.zeros(n, dtype=torch.uint8, device=device),
        )  # fmt: skip

    def put(self, at: Tensor, source: Rows, rows: Tensor) -> None:
        """Copy rows of `source` to the positions `at` (both (m,) int64 on the device)."""
        for field in fields(self):
            getattr(self, field.name).index_copy_(0, at, getattr(source, field.name).index_select(0, rows))


class Pool:
    """Parked trajectories, found by (puzzle, index)."""

    def __init__(self, spec: ModelSpec, capacity: int, device: torch.device, dtype: torch.dtype) -> None:
        self.spec, self.capacity, self.device, self.dtype = spec, capacity, device, dtype
        self.rows = Rows.blank(0, spec, device, dtype)
        self.places: dict[int, dict[int, tuple[int, int]]] = {}
        """puzzle -> index -> (row of the pool, depth)"""
        self.order: dict[tuple[int, int], None] = {}
        self.free: list[int] = []

    def __len__(self) -> int:
        return len(self.order)

    def depth_of(self, puzzle: int, index: int) -> int | None:
        """Return the depth at which the trajectory is parked, None when it is not here."""
        place = self.places.get(puzzle, {}).get(index)
        return None if place is None else place[1]

    def take(self, puzzle: int, index: int) -> int:
        """Forget a parked trajectory and return its row; the row stays readable until the next `park`."""
        row, _ = self.places[puzzle].pop(index)
        if not self.places[puzzle]:
            del self.places[puzzle]
        del self.order[puzzle, index]
        self.free.append(row)
        return row

    def park(self, names: list[tuple[int, int]], depths: list[int], source: Rows, rows: Tensor) -> None:
        """Keep rows of `source` under their (puzzle, index) names."""
        names, depths, rows = names[-self.capacity :], depths[-self.capacity :], rows[-self.capacity :]
        for puzzle, index in names:
            if self.depth_of(puzzle, index) is not None:
                self.take(puzzle, index)
        for puzzle, index in list(self.order)[: max(0, len(self.order) + len(names) - self.capacity)]:
            self.take(puzzle, index)
        self._grow(len(self.order) + len(names))
        places = [self.free.pop() for _ in names]
        for (puzzle, index), place, depth in zip(names, places, depths, strict=True):
            self.places.setdefault(puzzle, {})[index] = (place, depth)
            self.order[puzzle, index] = None
        self.rows.put(torch.tensor(places, dtype=torch.int64, device=self.device), source, rows)

    def retire(self, puzzle: int) -> None:
        """Forget every trajectory of a closed puzzle."""
        for index in list(self.places.get(puzzle, {})):
            self.take(puzzle, index)

    def clear(self) -> None:
        """Forget every trajectory."""
        for puzzle in list(self.places):
            self.retire(puzzle)

    def _grow(self, needed: int) -> None:
        have = len(self.rows.depth)
        if needed <= have:
            return
        size = min(self.capacity, max(needed, 2 * have))
        larger = Rows.blank(size, self.spec, self.device, self.dtype)
        kept = torch.arange(have, device=self.device)
        larger.put(kept, self.rows, kept)
        self.rows = larger
        self.free.extend(range(have, size))
