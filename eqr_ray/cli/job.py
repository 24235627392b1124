"""What a Ray job runs: a command of `eqr-ray`, on the cluster that runs the job."""

from __future__ import annotations

import os
import sys

from eqr_ray.cli import root

JOBS = ("evaluate", "trace", "tune", "train")
WITH_ADDRESS = ("evaluate", "trace", "tune")
"""Jobs that work on a cluster; the others run where they are started."""


def arguments(job: str, given: list[str], in_cluster: bool) -> list[str]:
    """Return the command line for a job's arguments; a job works on its own cluster unless they say otherwise."""
    own: list[str] = []
    if in_cluster and job in WITH_ADDRESS:
        own = ["--set", "address=auto"]
    elif in_cluster and any(word.partition("=")[0] == "--workers" for word in given):
        own = ["--address", "auto"]
    return [job, *own, *given]


def run_job(job: str) -> None:
    """Run a job with this process's arguments and exit with the codes of `eqr-ray`."""
    given = arguments(job, sys.argv[1:], in_cluster="RAY_ADDRESS" in os.environ)
    root.main(args=given, prog_name=f"jobs/{job}.py")
