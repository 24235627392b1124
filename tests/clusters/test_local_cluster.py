"""Three nodes on this machine, started by the scripts that start every node, with TLS and the token on: nobody comes in without it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
JOB_LIMIT_S = 600
"""A hang guard: on a loaded machine a job of seconds takes minutes."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def local(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "cluster/local.py", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=600
    )


class Trial:
    """The cluster under test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dashboard = free_port()
        tls = ["--tls"] if shutil.which("openssl") else []
        self.started = local(
            "up",
            "--workers",
            "2",
            "--dir",
            str(folder),
            "--port",
            str(free_port()),
            "--dashboard-port",
            str(self.dashboard),
            *tls,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    def environment(self) -> dict[str, str]:
        """What `source env.sh` sets."""
        given = dict(
            line.removeprefix("export ").split("=", 1) for line in (self.folder / "env.sh").read_text().splitlines()
        )
        return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")} | given

    def submit(self, out: Path, **changes: str) -> subprocess.CompletedProcess[str]:
        """Submit the command that docs/clusters.md shows, for a few puzzles."""
        given = ["--config", "configs/evaluate/demo.yaml", "--out", str(out)]
        return self.run(
            "eqr-ray", "submit", "evaluate", *given, "--set", "limit=12", "--set", "start_timeout_s=500", **changes
        )

    def run(self, program: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).parent / program), *arguments],
            env=self.environment() | changes,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=JOB_LIMIT_S,
        )

    def get(self, path: str, token: str | None) -> bytes:
        """Return what the job server answers; urllib's HTTPError if it refuses."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{self.url}{path}", headers=headers)
        return bytes(urllib.request.urlopen(request, timeout=30).read())

    def answer(self, token: str | None) -> int:
        """Return the status of a request to the job server."""
        try:
            self.get("/api/jobs/", token)
        except urllib.error.HTTPError as refusal:
            return refusal.code
        return 200

    def listed(self, kind: str) -> list[dict[str, object]]:
        """Return what the cluster knows of its actors or nodes, those of the past included."""
        told = json.loads(self.get(f"/api/v0/{kind}?detail=true", (self.folder / "token").read_text()))
        return told["data"]["result"]["result"]


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    folder = Path(tempfile.mkdtemp(prefix="eqr-trial-", dir="/tmp")) / "cluster"
    trial = Trial(folder)
    try:
        # Without a cluster every test would fail, each after its own long wait.
        assert trial.started.returncode == 0, trial.started.stdout + trial.started.stderr
        yield trial
    finally:
        if (folder / "nodes.json").exists():
            local("down", "--dir", str(folder))
        shutil.rmtree(folder.parent, ignore_errors=True)


def processes(trial: Trial) -> list[str]:
    ray_files = json.loads((trial.folder / "nodes.json").read_text())["ray_files"]
    listing = subprocess.run(["ps", "-eww", "-o", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if ray_files in line and not line.startswith("Z")]


def test_three_nodes_come_up(trial: Trial):
    assert "3 nodes are up" in trial.started.stdout
    status = local("status", "--dir", str(trial.folder))
    assert status.returncode == 0
    assert status.stdout.count(" up") == 3
    assert len(processes(trial)) > 3


def test_the_token_is_for_its_owner_only(trial: Trial):
    assert (trial.folder / "token").stat().st_mode & 0o077 == 0
    assert (trial.folder / "token").read_text() not in trial.started.stdout + trial.started.stderr


def test_without_a_token_the_job_server_refuses_and_with_it_it_answers(trial: Trial):
    assert trial.answer(None) == 401
    assert trial.answer("0" * 64) == 403
    assert trial.answer((trial.folder / "token").read_text()) == 200


def test_a_job_without_a_token_is_refused(trial: Trial):
    done = trial.submit(trial.folder / "broken-in", RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN_PATH="")
    assert done.returncode == 2
    assert "token" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (trial.folder / "broken-in").exists()


def test_it_is_the_cluster_that_refuses_and_not_our_command(trial: Trial):
    without = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": ""}
    done = trial.run("ray", "job", "submit", "--", "touch", str(trial.folder / "broken-in"), **without)
    assert done.returncode != 0
    assert "Missing authentication token" in done.stdout + done.stderr
    assert not (trial.folder / "broken-in").exists()


def test_a_job_with_a_wrong_token_is_refused(trial: Trial):
    done = trial.submit(trial.folder / "broken-in", RAY_AUTH_TOKEN="0" * 64)
    assert done.returncode == 2
    assert "token" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (trial.folder / "broken-in").exists()


def test_the_dashboard_is_on_the_loopback_interface_only(trial: Trial):
    own = next((ip for ip in socket.gethostbyname_ex(socket.gethostname())[2] if not ip.startswith("127.")), None)
    if own is None:
        pytest.skip("this machine has no address but the loopback one")
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex((own, trial.dashboard)) != 0


def test_a_job_with_the_token_evaluates_on_the_workers(trial: Trial):
    out = trial.folder / "run"
    done = trial.submit(out)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["puzzles"] == 12
    # How many replicas were ready in time depends on the machine; where they ran does not.
    assert summary["replicas"] in (1, 2)
    workers = {node["node_id"] for node in trial.listed("nodes") if not node["is_head_node"]}
    placed = {actor["node_id"] for actor in trial.listed("actors") if actor["class_name"] == "Replica"} - {None, ""}
    assert placed
    assert placed <= workers


def test_a_second_cluster_in_the_same_folder_is_refused(trial: Trial):
    done = local("up", "--dir", str(trial.folder))
    assert done.returncode != 0
    assert "holds a cluster already" in done.stderr


def test_down_ends_its_own_processes_and_no_others(trial: Trial):
    bystander = subprocess.Popen(["sleep", "60"])
    ray_files = json.loads((trial.folder / "nodes.json").read_text())["ray_files"]
    assert local("down", "--dir", str(trial.folder)).returncode == 0
    listing = subprocess.run(["ps", "-eww", "-o", "stat=,args="], capture_output=True, text=True, check=True).stdout
    assert [line for line in listing.splitlines() if ray_files in line and not line.startswith("Z")] == []
    assert bystander.poll() is None
    bystander.terminate()
    bystander.wait()
    assert not Path(ray_files).exists()
