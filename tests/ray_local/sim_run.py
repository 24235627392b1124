"""An evaluation with the simulator in a process of its own, to be interrupted or killed: `python sim_run.py OUT PUZZLES ADDRESS ROW_S`."""

from __future__ import annotations

import sys

from engines import Simulated

from eqr_ray.config import load_config
from eqr_ray.runs.evaluate import RunStopped, run_evaluation
from eqr_ray.runs.recipe import Recipe

STOPPED = 130


def main(out: str, puzzles: str, address: str, row_s: str) -> int:
    options = {
        "out": out,
        "puzzles": puzzles,
        "address": address,
        "replicas": 2,
        "policy.depth": 32,
        "policy.breadth": 8,
    }
    try:
        run_evaluation(load_config(None, (), options), Recipe(lambda device, threads: Simulated(float(row_s))))
    except RunStopped:
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
