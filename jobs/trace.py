"""Ray job: record a trace on the cluster that runs the job; `eqr-ray submit trace` submits the same with less to write.

`ray job submit -- python jobs/trace.py --puzzles s3://bucket/p.parquet --out s3://bucket/trace`
ends with the exit codes of `eqr-ray trace`: 0 done, 1 failed, 2 bad usage or bad input.
Stopped, and submitted again with `--resume`, it goes on.
"""

from eqr_ray.cli.job import run_job

if __name__ == "__main__":
    run_job("trace")
