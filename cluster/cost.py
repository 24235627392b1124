"""What a stack costs, as formulas over cluster/prices.yaml: an estimate, not a bill.

    python cluster/cost.py idle
    python cluster/cost.py run --puzzles 422786 --gpu-hours 100
    python cluster/cost.py run --puzzles 422786 --summary runs/sample/summary.json

A run's GPU-hours come from you, or from the summary of a sample run on the same kind of machine:
gpu_hours = puzzles * (nfe_computed / puzzles of the sample) / (nfe_computed / (wall_s * replicas)) / 3600, which is
puzzles * wall_s * replicas / puzzles of the sample / 3600, one replica a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

PRICES = Path(__file__).with_name("prices.yaml")
HEAD = "m7i.large"
HEAD_DISK_GB, WORKER_DISK_GB = 80, 100
KEPT_GB = {"s3_standard": 1.0, "registry": 8.0}
"""What stays while everything sleeps: results, and two compressed images."""


def prices() -> dict[str, Any]:
    """Return what prices.yaml says."""
    read: dict[str, Any] = yaml.safe_load(PRICES.read_text())
    return read


def idle_hours(price: dict[str, Any]) -> dict[str, float]:
    """Return dollars an hour: asleep, awake without a cluster, with an idle `ray up` head, and with an idle RayCluster on EKS."""
    hour, month = price["hour"], price["hours_of_a_month"]
    asleep = sum(gb * price["gb_month"][kind] for kind, gb in KEPT_GB.items()) / month
    awake = asleep + hour["nat_gateway"] + hour["public_address"]
    head = hour[HEAD] + HEAD_DISK_GB * price["gb_month"]["disk_gp3"] / month
    kubernetes = hour["eks_control_plane"] + price["month"]["kms_key"] / month
    # EKS Auto Mode starts a machine of about the head's size for the operator, and another one for the head of a RayCluster.
    machine = head * (1 + price["eks_auto_mode_surcharge"])
    return {
        "asleep (terraform apply -var awake=false)": asleep,
        "awake, no cluster": awake,
        "ray up, no worker": awake + head,
        "EKS with the operator, no RayCluster": awake + kubernetes + machine,
        "EKS, RayCluster without workers": awake + kubernetes + 2 * machine,
    }


def run_cost(price: dict[str, Any], gpu_hours: float, gpus: int, kind: str) -> dict[str, float]:
    """Return dollars of a run of so many GPU-hours on `gpus` machines of a kind: all spot, and all on demand."""
    hours = gpu_hours / gpus
    around = idle_hours(price)["ray up, no worker"] * hours
    disk = WORKER_DISK_GB * price["gb_month"]["disk_gp3"] / price["hours_of_a_month"] * gpu_hours
    on_demand = gpu_hours * price["hour"][kind]
    return {
        "hours": hours,
        "all spot": around + disk + on_demand * price["spot_share_of_on_demand"],
        "all on demand": around + disk + on_demand,
    }


def gpu_hours_from(summary: dict[str, Any], puzzles: int) -> float:
    """Return the GPU-hours of `puzzles` at the pace of a finished run. Raises ValueError if that run says too little."""
    done, wall_s, replicas = summary["puzzles"], summary["wall_s"], summary["replicas"]
    if min(done, wall_s, replicas) <= 0:
        raise ValueError(
            f"the sample run must have puzzles, time and replicas, got {done}, {wall_s} s and {replicas}; run it again"
        )
    return float(puzzles * wall_s * replicas / done / 3600)


def main() -> None:
    """Parse the command line and print the estimate."""
    parser = argparse.ArgumentParser(description="What a stack costs: an estimate from cluster/prices.yaml.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("idle", help="what an hour costs when nothing runs")
    run = commands.add_parser("run", help="what one evaluation costs")
    run.add_argument("--puzzles", type=int, required=True)
    run.add_argument("--gpus", type=int, default=8)
    run.add_argument("--type", default="g6.xlarge", choices=[kind for kind in prices()["hour"] if kind.startswith("g")])
    source = run.add_mutually_exclusive_group(required=True)
    source.add_argument("--gpu-hours", type=float)
    source.add_argument("--summary", type=Path, help="summary.json of a sample run on that type of machine")
    given = parser.parse_args()
    print("Estimate; prices and assumptions are in cluster/prices.yaml.")
    if given.command == "idle":
        for name, dollars in idle_hours(prices()).items():
            print(f"${dollars:7.4f} an hour  {name}")
        return
    if given.puzzles < 1 or given.gpus < 1 or (given.gpu_hours is not None and given.gpu_hours <= 0):
        parser.error("--puzzles, --gpus and --gpu-hours must be more than 0")
    try:
        gpu_hours = given.gpu_hours or gpu_hours_from(json.loads(given.summary.read_text()), given.puzzles)
    except (OSError, ValueError, KeyError) as problem:
        print(f"cost.py: {given.summary}: {problem}", file=sys.stderr)
        sys.exit(2)
    cost = run_cost(prices(), gpu_hours, given.gpus, given.type)
    print(
        f"{given.puzzles} puzzles, {gpu_hours:.1f} GPU-hours on {given.gpus} x {given.type}: {cost['hours']:.1f} hours"
    )
    print(f"${cost['all spot']:.2f} all spot, ${cost['all on demand']:.2f} all on demand")


if __name__ == "__main__":
    main()
