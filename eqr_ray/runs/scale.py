"""How the driver of a run bears many puzzles: its memory and its rate, with engines that cost next to nothing.

Invariant, asserted in tests/cli/test_run_commands.py: the puzzles are distinct, and each has its verdict.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eqr_ray.config import load_config
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.symmetry import augment
from eqr_ray.puzzles.task import task
from eqr_ray.puzzles.writing import SCHEMA
from eqr_ray.runs.evaluate import run_evaluation
from eqr_ray.runs.recipe import Recipe
from eqr_ray.sim.engine import SimEngine

BATCH = 10_000
BOARDS = Path(__file__).parents[1] / "puzzles" / "demo" / "sudoku6.csv"


@dataclass(frozen=True, slots=True)
class Scale:
    """What one run took."""

    puzzles: int
    wall_s: float
    puzzles_per_s: float
    peak_bytes: int
    """Most that the driver's process had in memory, files and shared memory included."""
    private_bytes: int
    """Of its own memory, at the end."""
    before_bytes: int
    """Most before the run began: the imports."""
    result_bytes: int
    """Of the verdicts."""
    parts: int


def make_puzzles(file: Path, n: int, seed: int = 0) -> None:
    """Write n puzzles of 6x6, symmetric variants of the bundled ones, to a Parquet file."""
    rules, rng = task("sudoku6"), np.random.default_rng(seed)
    records = list(read_puzzles(str(BOARDS)))
    questions = np.stack([record.puzzle.cells for record in records])
    answers = np.stack([record.answer for record in records if record.answer is not None])
    marks = np.frombuffer(b".123456", np.uint8)
    with pq.ParquetWriter(file, SCHEMA) as writer:
        for start in range(0, n, BATCH):
            chosen = rng.integers(len(questions), size=min(BATCH, n - start))
            made = augment(rules, questions[chosen], answers[chosen], rng)
            columns = [
                pa.array(["made"] * len(chosen)),
                *(pa.array(marks[cells].view("S36").ravel().astype("U36")) for cells in (made.questions, made.answers)),
                pa.nulls(len(chosen), pa.float64()),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), row_group_size=BATCH)


def measure(folder: Path, n: int, replicas: int, depth: int, breadth: int, address: str = "local") -> Scale:
    """Evaluate n puzzles with simulated engines on Ray and return what it took; this process has done nothing large before."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "puzzles.parquet"
    make_puzzles(file, n)
    before = memory("VmHWM")
    options = {
        "puzzles": str(file), "out": str(folder / "run"), "replicas": replicas, "address": address,
        "policy.depth": depth, "policy.breadth": breadth,
    }  # fmt: skip
    summary = run_evaluation(load_config(None, (), options), Recipe(lambda device, threads: SimEngine))
    parts = list((folder / "run" / "verdicts").glob("part-*.parquet"))
    assert summary.puzzles == n, f"{summary.puzzles} of {n} puzzles have a verdict"
    wall_s = summary.wall_s or 0.0
    return Scale(
        n, wall_s, n / wall_s if wall_s else 0.0, memory("VmHWM"), memory("RssAnon"), before,
        sum(part.stat().st_size for part in parts), len(parts),
    )  # fmt: skip


def memory(kind: str) -> int:
    """Return a figure of this process's memory in bytes, as Linux's /proc names it; 0 where there is none."""
    try:
        found = re.search(rf"^{kind}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def main() -> None:
    """Measure in a process of its own: FOLDER N REPLICAS DEPTH BREADTH ADDRESS -> one JSON line."""
    from dataclasses import asdict

    folder, n, replicas, depth, breadth, address = sys.argv[1:]
    print(json.dumps(asdict(measure(Path(folder), int(n), int(replicas), int(depth), int(breadth), address))))


if __name__ == "__main__":
    main()
