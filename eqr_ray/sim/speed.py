"""How fast traces replay: rows of the engine, and trials of whole policies, for each second of one core.

Invariant, asserted in tests/unit/sim/test_replay.py: what is timed is what the contract tests hold to live runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eqr_ray.coordinator import trajectory_seeds
from eqr_ray.policy import policy_from
from eqr_ray.sim.replay import Playback, ReplayEngine, held_to, replay
from eqr_ray.sim.trace import Trace
from eqr_ray.types import HaltRule, Slice

LEAST_S = 0.5
"""Processor time of a measurement: enough that its start does not show."""
POLICIES = ("fixed", "agreement", "adaptive", "balanced", "pool")
RULE = HaltRule(min_depth=3, residual_below=0.1, q_halt_above=0.0)


@dataclass(frozen=True, slots=True)
class Rate:
    """One measurement."""

    what: str
    per_s: float
    unit: str


def engine_rates(trace: Trace, sizes: Sequence[int]) -> Iterator[Rate]:
    """Measure the replay engine with slices of these many rows, each row brought half the way and then to the end."""
    for size in sizes:
        engine, done, spent = ReplayEngine(trace), 0, 0.0
        engine.run(next(iter(_slices(trace, size))))
        while spent < LEAST_S:
            for orders in _slices(trace, size):
                began = time.process_time()
                engine.run(orders)
                spent += time.process_time() - began
                done += len(orders)
        yield Rate(f"engine, slices of {size} rows", done / spent, "rows")


def policy_rates(trace: Trace) -> Iterator[Rate]:
    """Measure whole policies, one trial being all puzzles of the trace."""
    playback = Playback(trace)
    for name in POLICIES:
        policy = held_to(policy_from(name), trace.facts)
        replay(policy, playback)
        done, began = 0, time.process_time()
        while (spent := time.process_time() - began) < LEAST_S:
            replay(policy, playback)
            done += 1
        yield Rate(f"policy {name} on {len(trace):,} puzzles", done / spent, "trials")


def _slices(trace: Trace, size: int) -> Iterator[Slice]:
    breadth, depth = trace.facts.breadth, trace.facts.depth
    n = len(trace) * breadth
    puzzle, index = np.repeat(np.arange(len(trace), dtype=np.int64), breadth), np.tile(np.arange(breadth), len(trace))
    keys = np.repeat(np.array([own.draw_key for own in trace.puzzles], np.uint64), breadth)
    seed = trajectory_seeds(trace.facts.seed, keys, index.astype(np.int32))
    known: set[int] = set()
    for until in (max(depth // 2, 1), depth):
        for first in range(0, n, size):
            own = slice(first, min(first + size, n))
            new = set(np.unique(puzzle[own]).tolist()) - known
            known |= new
            rows = own.stop - own.start
            yield Slice(
                slice_id=first, replica_id="speed", puzzle=puzzle[own], index=index[own].astype(np.int32), seed=seed[own],
                until=np.full(rows, until, np.int32), halt=np.zeros(rows, np.int32), halts=(RULE,),
                cells={p: trace.puzzles[p].cells for p in new}, retired=np.zeros(0, np.int64),
            )  # fmt: skip
