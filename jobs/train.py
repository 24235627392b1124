"""Ray job: train a checkpoint on the machine that runs the job; `eqr-ray submit train` submits the same with less to write.

`ray job submit -- python jobs/train.py --config configs/train/sudoku6.yaml --out /mnt/run --device cuda`
ends with the exit codes of `eqr-ray train`: 0 done, 1 failed, 2 bad usage or bad input.
Stopped, and submitted again with `--resume`, it goes on.
Ask Ray for the GPU that it needs: `--entrypoint-num-gpus 1`; with `--workers N` the job itself needs none, its N workers
take one each.
"""

from eqr_ray.cli.job import run_job

if __name__ == "__main__":
    run_job("train")
