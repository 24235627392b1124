"""Real Ray on this machine, away from the user's home; the engines of `engines.py` are importable in the workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
N_CPUS = 3
SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="session", autouse=True)
def ray_at_home() -> Iterator[Path]:
    """Give Ray a short temporary home: socket paths may have 107 characters at most."""
    home = Path(tempfile.mkdtemp(prefix="eqr", dir="/tmp"))
    saved = dict(os.environ)
    os.environ.update(SETTINGS, HOME=str(home), RAY_TMPDIR=str(home))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [saved.get("PYTHONPATH")])])
    sys.path.insert(0, str(HERE))
    yield home
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
    os.environ.clear()
    os.environ.update(saved)
    sys.path.remove(str(HERE))
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def one_node(ray_at_home: Path) -> None:
    """Connect this process to a Ray of one node, started when the first test asks for it and shared by all that do."""
    import ray

    if not ray.is_initialized():
        ray.init(address="local", num_cpus=N_CPUS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


def ray_processes(home: Path) -> list[str]:
    """Return the command lines of the Ray processes that live under a home folder."""
    listing = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [
        line for line in listing.splitlines() if str(home) in line and not line.startswith("Z") and "pytest" not in line
    ]


def none_left(home: Path, within_s: float = 30.0) -> list[str]:
    """Wait until no Ray process lives under a home folder; returns those that do not go."""
    ends = time.monotonic() + within_s
    while (left := ray_processes(home)) and time.monotonic() < ends:
        time.sleep(0.2)
    return left
