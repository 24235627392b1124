"""A run on Ray's own autoscaler: the cluster grows from nothing with the backlog, loses a node on the way, and shrinks to nothing."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from autoscaled import HEAD, autoscaled, pids
from engines import Simulated

from eqr_ray.config import load_config
from eqr_ray.distributed.cluster import start_patiently
from eqr_ray.distributed.driver import GaveUp
from eqr_ray.evaluation.summary import Summary
from eqr_ray.runs.evaluate import run_evaluation
from eqr_ray.runs.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
MOST = 3
N_PUZZLES = 300
ANSWER = "1234341221434321"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """Connect this process to an autoscaled cluster without workers."""
    ray.shutdown()
    home = Path(tempfile.mkdtemp(prefix="eqr", dir="/tmp"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        with autoscaled(home, MOST, port) as address:
            start_patiently(address=address)
            yield home
            ray.shutdown()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def workers() -> list[str]:
    return [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != HEAD]


def wait_for(condition: object, what: str, within_s: float = 180.0) -> None:
    ends = time.monotonic() + within_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < ends, f"{what}: {len(workers())} nodes are there"
        time.sleep(0.2)


class Running(threading.Thread):
    """An evaluation beside the test."""

    def __init__(self, folder: Path, **options: object) -> None:
        super().__init__(daemon=True)
        draw = random.Random(2)
        lines = [
            f"a,{''.join(c if draw.random() < 0.4 else '.' for c in ANSWER)},{ANSWER},\n" for _ in range(N_PUZZLES)
        ]
        (folder / "puzzles.csv").write_text("source,question,answer,rating\n" + "".join(lines))
        given = {
            "puzzles": str(folder / "puzzles.csv"), "out": str(folder / "out"), "policy.depth": 32, "policy.breadth": 8,
            "address": "auto", "start_timeout_s": 300.0,
        }  # fmt: skip
        self.config = load_config(None, (), {**given, **options})
        self.summary: Summary | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.summary = run_evaluation(self.config, Recipe(lambda device, threads: Simulated(0.03)), quiet=True)
        except BaseException as error:
            self.error = error


def test_the_cluster_grows_with_the_backlog_survives_a_lost_node_and_shrinks_to_nothing(cluster: Path, tmp_path: Path):
    assert workers() == []
    # Half a minute of one replica's work in less than that: all the machines that may be had are needed.
    run = Running(
        tmp_path,
        **{"scaling.max_replicas": MOST, "scaling.finish_by": "10s", "scaling.start_s": 1.0, "scaling.idle_s": 2.0},
    )
    run.start()
    wait_for(lambda: len(workers()) >= 2 or not run.is_alive(), "it does not grow")
    assert run.is_alive(), run.error
    # One of them dies while the others are on their way.
    (victim, *_) = [pid for node in workers()[-1:] for pid in pids(cluster, f"--node-id={node}") or pids(cluster, node)]
    os.kill(victim, signal.SIGKILL)
    most = 0
    ends = time.monotonic() + 300
    while run.is_alive() and time.monotonic() < ends:
        most = max(most, len(workers()))
        time.sleep(0.1)
    run.join(1.0)
    assert run.error is None
    assert run.summary is not None
    assert run.summary.puzzles == N_PUZZLES
    assert "crashed" not in run.summary.stop
    assert most >= 2
    wait_for(lambda: workers() == [], "it does not shrink")


def test_the_cap_on_the_cost_ends_the_run_and_nothing_stays(cluster: Path, tmp_path: Path):
    run = Running(
        tmp_path, **{"scaling.max_replicas": MOST, "scaling.max_cost": 0.001, "scaling.price_per_node_hour": 1.0}
    )
    run.start()
    run.join(300.0)
    assert isinstance(run.error, GaveUp)
    assert "max_cost is 0.001" in str(run.error)
    wait_for(lambda: workers() == [], "it does not shrink")
