"""Jobs as a user submits them: a head with a token, results on an S3 server of this machine, a driver killed on the way.

`EQR_SUBMIT=1 pytest tests/ray_local/test_submit.py` runs it, on a machine that is not busy.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("moto", reason="no moto in this environment")
pytest.importorskip("flask", reason="no flask in this environment")

import pyarrow.parquet as pq
from ray_home import none_left
from s3_server import BUCKET, S3Server, served

from eqr_ray.storage import Kind, Place

REPOSITORY = Path(__file__).parents[2]
PUZZLES = REPOSITORY / "eqr_ray" / "puzzles" / "demo" / "sudoku6.csv"
N_PUZZLES = 40
LIMIT_S = 400

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif("EQR_SUBMIT" not in os.environ, reason="minutes with a head of its own; EQR_SUBMIT=1 runs it"),
]

Submit = Callable[..., subprocess.CompletedProcess[str]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Head:
    """A Ray of one node with a job server, in a process session of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.token = home / "token"
        self.token.write_text(secrets.token_hex(32))
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=2", f"--port={free_port()}",
            f"--dashboard-port={self.port}", "--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1",
            "--object-store-memory=100000000", "--disable-usage-stats",
        ]  # fmt: skip
        with (home / "head.log").open("w") as log:
            self._process = subprocess.Popen(
                command, env=self.environment(), stdout=log, stderr=log, start_new_session=True, cwd=home
            )

    def environment(self, **changes: str) -> dict[str, str]:
        own = {
            "HOME": str(self.home), "RAY_TMPDIR": str(self.home), "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token), "RAY_API_SERVER_ADDRESS": self.url,
            # A node gives up when its own agents are slow to come up, as they are on a machine under load.
            "RAY_agent_register_timeout_ms": "180000", "RAY_health_check_timeout_ms": "60000",
        }  # fmt: skip
        return {key: value for key, value in (os.environ | own | changes).items() if value}

    def answers(self) -> bool:
        """Return whether the job server lets the owner of the token in."""
        request = urllib.request.Request(
            f"{self.url}/api/jobs/", headers={"Authorization": f"Bearer {self.token.read_text()}"}
        )
        try:
            return self._process.poll() is None and urllib.request.urlopen(request, timeout=20).status == 200
        except OSError:
            return False

    def is_gone(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="module")
def s3(ray_at_home: Path) -> Iterator[S3Server]:
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def head(s3: S3Server) -> Iterator[Head]:
    for attempt in range(4):
        head = Head(Path(tempfile.mkdtemp(prefix="eqrj", dir="/tmp")))
        ends = time.monotonic() + 150
        while not (up := head.answers()) and not head.is_gone() and time.monotonic() < ends:
            time.sleep(1)
        if up:
            break
        said = (head.home / "head.log").read_text()
        head.end()
        # Ray gives its servers seconds to come up, which a machine under load may miss.
        assert attempt < 3, said
    yield head
    head.end()
    assert none_left(head.home) == []


@pytest.fixture(scope="module")
def submit(head: Head) -> Submit:
    def go(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "eqr_ray", "submit", *arguments]
        return subprocess.run(
            command, env=head.environment(**changes), cwd=REPOSITORY, capture_output=True, text=True, timeout=LIMIT_S
        )

    return go


def evaluation(out: str, *more: str) -> list[str]:
    """Return the arguments of an evaluation of some seconds."""
    changes = (f"limit={N_PUZZLES}", "policy.depth=64", "policy.breadth=4", "threads=1", *more)
    options = [part for change in changes for part in ("--set", change)]
    return [
        "evaluate",
        "--config",
        "configs/evaluate/fixed.yaml",
        "--set",
        f"puzzles={PUZZLES}",
        "--out",
        out,
        *options,
    ]


def verdicts(out: str) -> list[dict[str, object]]:
    place = Place(out).at("verdicts")
    rows = [row for name in place.names() for row in pq.read_table(place.open(name)).to_pylist()]
    return sorted(rows, key=lambda row: str(row["puzzle_id"]))


@pytest.fixture(scope="module")
def undisturbed(submit: Submit) -> tuple[str, subprocess.CompletedProcess[str]]:
    out = f"s3://{BUCKET}/undisturbed"
    return out, submit(*evaluation(out))


def test_a_submitted_evaluation_ends_with_its_results_on_s3_and_its_log_here(
    undisturbed: tuple[str, subprocess.CompletedProcess[str]],
) -> None:
    out, done = undisturbed
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert f"{N_PUZZLES}/{N_PUZZLES} puzzles (100.0 %)" in done.stdout
    assert f"report    {out}/report.html" in done.stdout
    assert len(verdicts(out)) == N_PUZZLES
    summary = json.loads(Place(out).read("summary.json") or b"")
    assert (summary["puzzles"], summary["nfe_mean"]) == (N_PUZZLES, 256.0)
    assert Place(out).kind("report.html") is Kind.FILE
    assert Place(out).kind("lock.json") is Kind.NOTHING


def test_the_same_work_submitted_again_is_done_already(
    undisturbed: tuple[str, subprocess.CompletedProcess[str]], submit: Submit
) -> None:
    out, first = undisturbed
    name = re.search(r"(evaluate-[0-9a-f]+): submitted", first.stderr)
    assert name is not None, first.stderr
    again = submit(*evaluation(out))
    assert (again.returncode, again.stdout) == (0, f"{name[1]}\n")
    assert f"{name[1]}: done already" in again.stderr
    told = submit("--status", name[1]).stdout
    assert "status    succeeded, exit code 0" in told
    assert f"out       {out}" in told
    assert re.search(r"git_revision [0-9a-f]{40}", told)


def test_a_killed_driver_submitted_again_ends_with_the_verdicts_of_an_undisturbed_run(
    undisturbed: tuple[str, subprocess.CompletedProcess[str]], submit: Submit
) -> None:
    out = f"s3://{BUCKET}/disturbed"
    begun = submit(*evaluation(out), "--no-wait")
    assert begun.returncode == 0, begun.stderr
    name = begun.stdout.strip()
    ends = time.monotonic() + LIMIT_S
    while not Place(out).at("verdicts").names():
        assert time.monotonic() < ends, submit("--status", name).stdout
        time.sleep(0.1)
    owner = json.loads(Place(out).read("lock.json") or b"{}")["owner"]
    os.kill(owner["pid"], signal.SIGKILL)
    followed = submit("--logs", name)
    assert followed.returncode == 128 + signal.SIGKILL, followed.stdout + followed.stderr
    assert 0 < len(verdicts(out)) < N_PUZZLES
    again = submit(*evaluation(out))
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-2000:]
    assert f"{name}-2: submitted" in again.stderr
    assert verdicts(out) == verdicts(undisturbed[0])


def test_a_job_with_bad_input_ends_with_2_and_says_why(submit: Submit, tmp_path: Path) -> None:
    done = submit(*evaluation(f"s3://{BUCKET}/bad", f"puzzles={tmp_path}/none.csv"))
    assert done.returncode == 2
    assert f"error: {tmp_path}/none.csv does not exist" in done.stdout


def test_a_job_can_be_stopped_and_a_stopped_one_says_so(submit: Submit) -> None:
    out = f"s3://{BUCKET}/stopped"
    name = submit(*evaluation(out, "policy.depth=100000"), "--no-wait").stdout.strip()
    ends = time.monotonic() + LIMIT_S
    while Place(out).kind("manifest.json") is Kind.NOTHING:
        assert time.monotonic() < ends, submit("--status", name).stdout
        time.sleep(0.2)
    assert "is asked to end" in submit("--stop", name).stdout
    followed = submit("--logs", name)
    assert followed.returncode == 1
    assert "stopped" in followed.stderr
    assert "had ended" in submit("--stop", name).stdout


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_MODE": "disabled"}, "the cluster asks for a token, and none was given"),
        ({"RAY_AUTH_TOKEN_PATH": "", "RAY_AUTH_TOKEN": "0" * 64}, "the cluster refused the token"),
        ({"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9"}, "no job server of Ray answers there"),
    ],
)
def test_a_cluster_that_does_not_let_in_is_one_sentence(submit: Submit, changes: dict[str, str], sentence: str) -> None:
    done = submit("--status", "evaluate-1", **changes)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
