"""Ray job: evaluate puzzles on the cluster that runs the job.

`ray job submit --working-dir . -- python jobs/evaluate.py --config configs/evaluate/x.yaml --set out=s3://bucket/run` ends with the
exit codes of `eqr-ray evaluate`: 0 done, 1 failed, 2 bad usage or bad input. Stopped, and submitted again with `--set resume=true`, it
goes on.
"""

from __future__ import annotations

import os
import sys

from eqr_ray.cli import root


def arguments(given: list[str], in_cluster: bool) -> list[str]:
    """Return the command line for a job's arguments; a job works on its own cluster unless they say otherwise."""
    return ["evaluate", *(["--set", "address=auto"] if in_cluster else []), *given]


if __name__ == "__main__":
    root.main(args=arguments(sys.argv[1:], in_cluster="RAY_ADDRESS" in os.environ), prog_name="jobs/evaluate.py")
