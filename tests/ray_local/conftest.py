"""Real Ray on this machine, away from the user's home; the engines of `engines.py` are importable in the workers."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_home import HERE, N_CPUS, SETTINGS


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

    from eqr_ray.distributed.cluster import start_patiently

    if not ray.is_initialized():
        start_patiently(address="local", num_cpus=N_CPUS, include_dashboard=False)
