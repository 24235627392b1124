"""Where the tests' Ray lives, and what of it is still alive."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
N_CPUS = 3
SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
}


def ray_processes(home: Path) -> list[str]:
    """Return the command lines of the Ray processes that live under a home folder."""
    listing = subprocess.run(["ps", "-eww", "-o", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [
        line for line in listing.splitlines() if str(home) in line and not line.startswith("Z") and "pytest" not in line
    ]


def none_left(home: Path, within_s: float = 30.0) -> list[str]:
    """Wait until no Ray process lives under a home folder; returns those that do not go."""
    ends = time.monotonic() + within_s
    while (left := ray_processes(home)) and time.monotonic() < ends:
        time.sleep(0.2)
    return left
