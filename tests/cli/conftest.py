"""The command line as a user runs it: in this process where that is enough, as a process of its own where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from eqr_ray.cli import root


@pytest.fixture
def run() -> Callable[..., Result]:
    """Return a function that runs `eqr-ray ARGS` in this process."""

    def go(*args: object, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(root, [str(arg) for arg in args], input=stdin, prog_name="eqr-ray")

    return go


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs `python -m eqr_ray ARGS` as a process with a home of its own."""

    def go(*args: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        env = os.environ | {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        command = [sys.executable, "-m", "eqr_ray", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=timeout, check=False)

    return go


@pytest.fixture
def refused(run: Callable[..., Result]) -> Callable[..., str]:
    """Return a function that runs a command line which must be refused: exit 2, one sentence, nothing on stdout."""

    def go(*args: object, stdin: str | bytes | None = None) -> str:
        got = run(*args, stdin=stdin)
        assert got.exit_code == 2, (got.stdout, got.stderr)
        assert got.stdout == ""
        assert got.stderr.startswith("error: ")
        assert got.stderr.count("\n") == 1, "one sentence on one line"
        assert "Traceback" not in got.stderr
        return got.stderr

    return go
