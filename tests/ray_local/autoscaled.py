"""A Ray with its own autoscaler, whose machines are made of nothing: nodes are processes of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray_home import none_left, ray_processes

HEAD = "f" * 51 + "00000"
HOST = "127.0.0.2"
"""Not 127.0.0.1, which Ray replaces by a public address where a program joins."""
EMPTY = {
    "auth": {}, "docker": {}, "initialization_commands": [], "setup_commands": [], "head_setup_commands": [],
    "worker_setup_commands": [], "head_start_ray_commands": [], "worker_start_ray_commands": [], "file_mounts": {},
    "cluster_synced_files": [], "file_mounts_sync_continuously": False, "rsync_exclude": [], "rsync_filter": [],
}  # fmt: skip


def cluster_config(port: int, most: int) -> dict[str, object]:
    """A cluster of up to `most` nodes of one CPU, that leave after three seconds without work."""
    provider = {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "gcs_address": f"{HOST}:{port}",
        "launch_multiple": True,
        "head_node_id": HEAD,
    }
    worker = {"resources": {"CPU": 1, "object_store_memory": 100_000_000, "replica": 1}, "node_config": {}}
    return {
        **EMPTY,
        "cluster_name": "fake",
        "max_workers": most,
        "idle_timeout_minutes": 0.05,
        "provider": provider,
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "max_workers": 0, "node_config": {}},
            "cpu": {**worker, "min_workers": 0, "max_workers": most},
        },
        "head_node_type": "ray.head.default",
    }


@contextmanager
def autoscaled(home: Path, most: int, port: int) -> Iterator[str]:
    """Start the head; yields its address. Every process that came of it is gone afterwards."""
    file = home / "autoscaling.json"
    file.write_text(json.dumps(cluster_config(port, most)))
    env = os.environ | {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    }  # fmt: skip
    command = [
        str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--autoscaling-config={file}", "--num-cpus=0",
        "--include-dashboard=false", f"--port={port}", f"--node-ip-address={HOST}", f"--temp-dir={home}/ray",
    ]  # fmt: skip
    log = (home / "head.log").open("wb")
    head = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        ends = time.monotonic() + 120
        while "Ray runtime started" not in (home / "head.log").read_text(errors="replace"):
            assert head.poll() is None, (home / "head.log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < ends, "the head did not come up"
            time.sleep(0.2)
        yield f"{HOST}:{port}"
    finally:
        head.terminate()
        try:
            head.wait(20)
        except subprocess.TimeoutExpired:
            head.kill()
        if none_left(home, within_s=5.0):
            for pid in pids(home):
                os.kill(pid, signal.SIGKILL)
        log.close()
        assert none_left(home) == []


def pids(home: Path, words: str = "") -> list[int]:
    """Return the processes that live under the home and have these words in their command line."""
    own = set(ray_processes(home))
    listing = subprocess.run(
        ["ps", "-eww", "-o", "pid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    found = [line.split(maxsplit=1) for line in listing.splitlines()]
    return [int(pid) for pid, rest in found if rest in own and words in rest]
