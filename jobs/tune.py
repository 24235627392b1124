"""Ray job: run a study on the cluster that runs the job; `eqr-ray submit tune` submits the same with less to write.

`ray job submit -- python jobs/tune.py --trace s3://bucket/trace --out s3://bucket/study`
ends with the exit codes of `eqr-ray tune`: 0 done, 1 failed, 2 bad usage or bad input.
Stopped, and submitted again with `--resume`, it goes on.
"""

from eqr_ray.cli.job import run_job

if __name__ == "__main__":
    run_job("tune")
