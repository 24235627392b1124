"""Ray job: evaluate puzzles on the cluster that runs the job; `eqr-ray submit evaluate` submits the same with less to write.

`ray job submit -- python jobs/evaluate.py --config configs/evaluate/x.yaml --set out=s3://bucket/run`
ends with the exit codes of `eqr-ray evaluate`: 0 done, 1 failed, 2 bad usage or bad input.
Stopped, and submitted again with `--set resume=true`, it goes on.
"""

from eqr_ray.cli.job import run_job

if __name__ == "__main__":
    run_job("evaluate")
