"""Ray job: run a study on the cluster that runs the job.

`ray job submit --working-dir . -- python jobs/tune.py --trace s3://bucket/trace --out /mnt/study` ends with the exit
codes of `eqr-ray tune`. Stopped, and submitted again with `--resume`, it goes on.
"""

from __future__ import annotations

import os
import sys

from eqr_ray.cli import root


def arguments(given: list[str], in_cluster: bool) -> list[str]:
    """Return the command line for a job's arguments; a job works on its own cluster unless they say otherwise."""
    return ["tune", *(["--set", "address=auto"] if in_cluster else []), *given]


if __name__ == "__main__":
    root.main(args=arguments(sys.argv[1:], in_cluster="RAY_ADDRESS" in os.environ), prog_name="jobs/tune.py")
