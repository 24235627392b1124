"""A trace made from a synthetic landscape: for trying policies and clusters before anything was recorded.

Invariants, asserted in tests/unit/sim/test_made.py: it holds, bit for bit, what the simulator reports of the same
puzzles; attractor 0 is the label.
"""

from __future__ import annotations

import numpy as np

from eqr_ray.coordinator import trajectory_seeds
from eqr_ray.sim.engine import SimEngine, digests_of
from eqr_ray.sim.landscape import Landscape, attractor_key
from eqr_ray.sim.trace import Trace, TraceFacts
from eqr_ray.types import Puzzle


def made_trace(
    n_puzzles: int, depth: int, breadth: int, landscape: Landscape | None = None, seed: int = 0, n_cells: int = 16
) -> Trace:
    """Return a trace of `n_puzzles` random questions of a landscape."""
    landscape = Landscape() if landscape is None else landscape
    rng = np.random.default_rng(seed)
    cells = [rng.integers(0, 5, n_cells, dtype=np.uint8) for _ in range(n_puzzles)]
    puzzles = tuple(Puzzle(f"m{n}", "simulated", own) for n, own in enumerate(cells))
    digest = np.repeat(digests_of(cells), breadth)
    index = np.tile(np.arange(breadth, dtype=np.int32), n_puzzles)
    seeds = trajectory_seeds(seed, np.repeat(np.array([p.draw_key for p in puzzles], np.uint64), breadth), index)
    median, right = landscape.puzzles(digest)
    paths = landscape.trajectories(digest, seeds, median, right)
    seen = landscape.observe(paths, np.ones(len(seeds), np.int64), depth)
    keys = np.stack(
        [landscape.answer_keys(digest, paths, np.full(len(seeds), d, np.int64)) for d in range(1, depth + 1)], 1
    )
    ends = np.where((paths.breaks_at > 0) & (paths.breaks_at <= depth), paths.breaks_at, 0).astype(np.int32)
    broken = (ends[:, None] > 0) & (np.arange(1, depth + 1) >= np.where(ends > 0, ends, depth + 1)[:, None])
    shape = (n_puzzles, breadth, depth)
    residual = np.where(broken, np.float32(np.inf), seen.residual).reshape(shape)
    logit_delta = np.where(broken, np.float32(np.inf), seen.logit_delta).reshape(shape)
    q_halt = np.where(broken, np.float32(-np.inf), seen.q_halt).reshape(shape)
    engine = SimEngine(landscape)
    label = attractor_key(digests_of(cells), np.zeros(n_puzzles, np.int64))
    own_keys, answers, codes, labels = [], [], [], []
    for p, question in enumerate(cells):
        distinct, code = np.unique(keys.reshape(shape)[p], return_inverse=True)
        decoded = engine.decode(question, distinct)
        own_keys.append(distinct)
        answers.append(decoded)
        codes.append(code.reshape(breadth, depth).astype(np.int32))
        # By key and not by board: on few blanks two attractors may decode alike.
        same = np.flatnonzero(distinct == label[p])
        labels.append(int(same[0]) if len(same) else -1)
    return Trace(
        facts=TraceFacts("simulated", seed, depth, breadth, "landscape", ""),
        puzzles=puzzles,
        source=("made",) * n_puzzles,
        questions=tuple("".join(str(cell) for cell in own.tolist()) for own in cells),
        rating=np.full(n_puzzles, np.nan),
        residual=residual,
        logit_delta=logit_delta,
        q_halt=q_halt,
        code=np.stack(codes) if codes else np.zeros(shape, np.int32),
        depth=np.where(ends > 0, ends, depth).reshape(n_puzzles, breadth).astype(np.int32),
        diverged=(ends > 0).reshape(n_puzzles, breadth),
        keys=tuple(own_keys),
        answers=tuple(answers),
        right=np.array(labels, np.int32),
    )
