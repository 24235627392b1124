"""The application on a real Ray Serve: two replicas, killed under load, and compared with an evaluation."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from endpoints import EASY, TOKEN, tiny_net

from eqr_ray.client import Client, ServerError
from eqr_ray.config import load_config
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.solver import Solver

SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "OMP_NUM_THREADS": "1",
    # A busy machine may need longer than the default to start Ray.
    "RAY_raylet_start_wait_time_s": "120",
    "EQR_SERVE_TOKENS": TOKEN,
}
BUDGET = {"policy": "adaptive", "depth": 32, "breadth": 3, "seed": 2}


@dataclass(frozen=True)
class Cluster:
    url: str
    net: str

    def client(self, tries: int = 12) -> Client:
        return Client(self.url, TOKEN, tries=tries, timeout_s=120.0)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A short home for Ray, and its settings in the environment; both are gone afterwards, whatever happens in between."""
    home = Path(tempfile.mkdtemp(prefix="eqr", dir="/tmp"))
    saved = dict(os.environ)
    # A process keeps the token of the first Ray that it starts, so that a second home needs the same one.
    token = Path.home() / ".ray" / "auth_token"
    if token.exists():
        (home / ".ray").mkdir()
        shutil.copy(token, home / ".ray")
    os.environ.update(SETTINGS, HOME=str(home), RAY_TMPDIR=str(home))
    try:
        yield home
    finally:
        os.environ.clear()
        os.environ.update(saved)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[Cluster]:
    import ray
    from ray import serve

    from eqr_ray.distributed.cluster import start_patiently
    from eqr_ray.serving.app import NAME, app

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    net = tiny_net(home, "sudoku6")
    config = home / "serve.yaml"
    config.write_text(
        f"models: {{tiny: {net}}}\nthreads: 1\nscaling: {{min_replicas: 2, max_replicas: 2}}\nlimits: {{rate_per_s: 1000}}\n"
    )
    ray.shutdown()  # of a Ray that other tests of this process share and leave to the end of the session
    try:
        start_patiently(address="local", num_cpus=6, include_dashboard=False, object_store_memory=2**27)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(app({"config": str(config), "port": port}), name=NAME)
        yield Cluster(f"http://127.0.0.1:{port}", net)
    finally:
        if ray.is_initialized():
            serve.shutdown()
            ray.shutdown()


def replicas() -> list[str]:
    import ray

    named = ray.util.list_named_actors(all_namespaces=True)
    return [actor["name"] for actor in named if "#Replica#" in actor["name"]]


def facts(verdict: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        verdict[key] for key in ("puzzle_id", "prediction", "nfe", "breadth", "depth", "votes", "confidence", "stop")
    )


def test_the_endpoint_is_ready_guarded_and_answers(cluster: Cluster) -> None:
    client = cluster.client()
    assert client.ready()
    assert len(replicas()) == 2
    answer = client.solve(EASY, **BUDGET)
    assert answer["model"] == "tiny"
    with pytest.raises(ServerError, match="known token") as caught:
        Client(cluster.url).solve(EASY)
    assert caught.value.status == 401
    with pytest.raises(ServerError, match="36 characters"):
        client.solve(EASY[:-1])


def test_a_stream_arrives_through_the_proxy(cluster: Cluster) -> None:
    events = list(cluster.client().stream(EASY, **BUDGET))
    assert [events[0].name, events[-1].name] == ["start", "verdict"]
    assert sum(len(event.data["rows"]) for event in events[1:-1]) == events[-1].data["verdict"]["nfe"]


def test_http_and_an_evaluation_reach_the_same_verdicts(cluster: Cluster, tmp_path: Path) -> None:
    from eqr_ray.runs.evaluate import run_evaluation

    puzzles = str(demo_path("sudoku6"))
    asked = {
        "puzzles": puzzles,
        "out": str(tmp_path / "out"),
        "checkpoint": cluster.net,
        "limit": 6,
        "replicas": 2,
        "threads": 1,
    }
    policy = {"policy.name": BUDGET["policy"], "policy.depth": BUDGET["depth"], "policy.breadth": BUDGET["breadth"]}
    run_evaluation(load_config(None, (), {**asked, **policy, "seed": BUDGET["seed"]}), quiet=True)
    evaluated = {row["puzzle_id"]: row for row in pq.read_table(tmp_path / "out" / "verdicts").to_pylist()}
    questions = [record.question for record in read_puzzles(puzzles, limit=6)]
    told = cluster.client().solve_batch(questions, **BUDGET)["verdicts"]
    told.append(cluster.client().solve(questions[0], **BUDGET)["verdict"])
    for verdict in told:
        # The file's notation of blank cells is the question's; the prediction has none left.
        assert facts(verdict) == facts(evaluated[verdict["puzzle_id"]])


def test_a_wide_request_uses_both_replicas_and_has_the_verdict_of_one_process(cluster: Cluster) -> None:
    budget = {"policy": "fixed", "depth": 64, "breadth": 48, "seed": 3}
    alone = Solver(cluster.net, device="cpu", threads=1, **budget).solve(EASY)
    done = 0.0
    for _ in range(10):
        told = cluster.client().solve(EASY, **budget)["verdict"]
        assert (told["prediction"], told["nfe"]) == (alone.text, alone.verdict.nfe)
        assert (told["votes"], told["confidence"]) == (alone.verdict.votes, alone.verdict.confidence)
        done = max(errands_done(cluster), done)
        if done:
            break
    assert done >= 1, "the other replica was idle and had nothing sent"


def errands_done(cluster: Cluster) -> float:
    """The most errands that any replica tells; the proxy hands a scrape to either."""
    request = urllib.request.Request(f"{cluster.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    most = 0.0
    for _ in range(12):
        with urllib.request.urlopen(request, timeout=60) as response:
            told = dict(
                line.rsplit(" ", 1) for line in response.read().decode().splitlines() if not line.startswith("#")
            )
        most = max(most, float(told["eqr_errands_done_total"]))
    return most


def test_a_replica_killed_under_load_loses_no_accepted_request(cluster: Cluster) -> None:
    import ray

    questions = [record.question for record in read_puzzles(str(demo_path("sudoku6")), limit=24)]
    before = cluster.client().solve_batch(questions, **BUDGET)["verdicts"]
    answers: dict[int, dict[str, Any]] = {}
    some_done = threading.Event()

    def ask(first: int) -> None:
        for number in range(first, len(questions), 6):
            answers[number] = cluster.client().solve(questions[number], **BUDGET)["verdict"]
            some_done.set()

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    assert some_done.wait(120)
    ray.kill(ray.get_actor(replicas()[0], namespace="serve"))
    for thread in threads:
        thread.join()
    assert [facts(answers[number]) for number in range(len(questions))] == [facts(verdict) for verdict in before]
