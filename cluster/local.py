#!/usr/bin/env python3
"""A Ray cluster of several nodes on this machine, with token authentication, to try what a real cluster does.

    python cluster/local.py up --workers 2     # a head without CPUs and two workers; prints what to do next
    python cluster/local.py status
    python cluster/local.py down

The nodes are started by `cluster/start-node.sh`, as everywhere else. Invariants, asserted in tests/clusters/test_local_cluster.py:
without the token a job is refused, with it it runs; the dashboard listens on the loopback interface; `down` ends the processes that `up`
started, by their ids, and no other Ray of this machine; a second `up` is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOOPBACK = "127.0.0.1"
READY_S = 180.0
"""How long a node may take to be there."""
STARTS = 4
"""How often a node is started: Ray gives itself seconds, which a busy machine may not have."""
TOO_SLOW = ("timed out during startup", "Failed to start the dashboard", "Timed out while waiting for GCS")
STOP_S = 20.0
"""How long a node may take to end by itself before it is killed."""
OBJECT_STORE_BYTES = 2**27


def up(folder: Path, workers: int, cpus: int, port: int, dashboard_port: int, tls: bool) -> None:
    """Start a head and `workers` workers with `cpus` CPUs each; keep token, process ids and logs in `folder`."""
    if (folder / "nodes.json").exists():
        raise SystemExit(f"{folder} holds a cluster already; end it with `python cluster/local.py down --dir {folder}`")
    for name, number in (("port", port), ("dashboard-port", dashboard_port)):
        if _listens(number):
            raise SystemExit(f"port {number} is in use; give another one with --{name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    # The paths of Ray's sockets may have 107 characters at most, so its files live in a short folder of their own.
    ray_files = Path(tempfile.mkdtemp(prefix="eqr-", dir="/tmp"))
    given = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token.resolve()),
        "RAY_API_SERVER_ADDRESS": f"http://{LOOPBACK}:{dashboard_port}",
    }
    tls_files = _certificates(folder / "tls", workers + 1) if tls else {}
    settings = {
        **os.environ,
        **given,
        **tls_files,
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        # A busy machine answers late: a node counts as dead after this many missed checks, not after five.
        "RAY_health_check_failure_threshold": "30",
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": str(int(READY_S)),
        "RAY_gcs_server_request_timeout_seconds": str(int(READY_S)),
    }
    settings["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), settings.get("PATH", "")])
    settings.pop("RAY_ADDRESS", None)
    nodes: dict[str, int] = {}

    def start(name: str, *arguments: str) -> None:
        number = len(nodes)
        log = folder / f"{name}.log"
        for last in [False] * (STARTS - 1) + [True]:
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [str(HERE / "start-node.sh"), *arguments, "--block", "--min-worker-port=0", "--max-worker-port=0",
                     f"--object-store-memory={OBJECT_STORE_BYTES}", f"--dashboard-agent-listen-port={_free_port()}"],
                    env=settings | {"EQR_NODE_IP": node_ip(number)}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                    start_new_session=True,
                )  # fmt: skip
            nodes[name] = process.pid
            state = {"nodes": nodes, "ray_files": str(ray_files), "tls": tls}
            (folder / "nodes.json").write_text(json.dumps(state))
            if _came_up(log, process):
                return
            text = log.read_text(errors="replace")
            if last or not any(words in text for words in TOO_SLOW):
                raise SystemExit(f"{name} did not start; the end of {log}:\n{text[-2000:]}")
            _end(process.pid)

    lines = [f"export {name}={value}\n" for name, value in {**given, **_for_clients(tls_files)}.items()]
    (folder / "env.sh").write_text("".join(lines))
    try:
        # One after the other: on a small machine nodes that start together run into each other's time limits.
        place = [f"--port={port}", f"--dashboard-port={dashboard_port}", f"--temp-dir={ray_files}"]
        start("head", "head", *place, "--num-cpus=0")
        for number in range(1, workers + 1):
            start(f"worker-{number}", "worker", f"{node_ip(0)}:{port}", f"--num-cpus={cpus}")
    except BaseException:
        down(folder, keep_logs=True)
        raise
    print(f"{workers + 1} nodes are up; the dashboard is {given['RAY_API_SERVER_ADDRESS']}")
    print(f"Next: `source {folder}/env.sh`, then `eqr-ray submit ...`; end it with `python cluster/local.py down`")


def node_ip(number: int) -> str:
    """Return a node's address: one of the loopback interface, and not 127.0.0.1, which Ray replaces by a public one."""
    return f"127.0.0.{number + 2}"


def down(folder: Path, keep_logs: bool = False) -> None:
    """End the cluster of `folder`: each node by its process id, workers first, then what they left behind."""
    try:
        state = json.loads((folder / "nodes.json").read_text())
    except FileNotFoundError:
        raise SystemExit(f"{folder} holds no cluster; nothing to end") from None
    # Newest first, the head last: workers that lose their head would wait for it.
    for pid in reversed(state["nodes"].values()):
        _end(pid)
    shutil.rmtree(state["ray_files"], ignore_errors=True)
    (folder / "nodes.json").unlink()
    if not keep_logs:
        shutil.rmtree(folder)


def status(folder: Path) -> bool:
    """Print every node with its process id; return whether all of them live."""
    if not (folder / "nodes.json").exists():
        print(f"{folder} holds no cluster")
        return False
    nodes = json.loads((folder / "nodes.json").read_text())["nodes"]
    for name, pid in nodes.items():
        print(f"{name:10} {pid:8} {'up' if _lives(pid) else 'gone: see ' + str(folder / (name + '.log'))}")
    return all(_lives(pid) for pid in nodes.values())


def _certificates(folder: Path, nodes: int) -> dict[str, str]:
    for arguments in (["ca", str(folder)], ["node", str(folder), *(node_ip(number) for number in range(nodes))]):
        subprocess.run([str(HERE / "tls.sh"), *arguments], check=True)
    return {"EQR_TLS_DIR": str(folder.resolve())}


def _for_clients(tls_files: dict[str, str]) -> dict[str, str]:
    if not tls_files:
        return {}
    folder = tls_files["EQR_TLS_DIR"]
    files = {"CA_CERT": "ca.crt", "SERVER_CERT": "node.crt", "SERVER_KEY": "node.key"}
    return {"RAY_USE_TLS": "1"} | {f"RAY_TLS_{key}": f"{folder}/{name}" for key, name in files.items()}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _lives(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z"


def _session(leader: int) -> list[int]:
    """Return the living processes of the session that a node's process leads: Ray's own children stay in it."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                members.append(int(entry.name))
    return members


def _end(leader: int) -> None:
    """SIGTERM to the node, which drains it, then SIGKILL to whatever of its session is still there."""
    if _lives(leader):
        os.kill(leader, signal.SIGTERM)
    ends = time.monotonic() + STOP_S
    while _session(leader) and time.monotonic() < ends:
        time.sleep(0.1)
    for pid in _session(leader):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _came_up(log: Path, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a node's log says that it runs; False if it ended or took too long."""
    ends = time.monotonic() + READY_S
    while "Ray runtime started" not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > ends:
            return False
        time.sleep(0.2)
    return True


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="A Ray cluster of several nodes on this machine.")
    parser.add_argument("command", choices=["up", "status", "down"])
    parser.add_argument("--dir", type=Path, default=Path("runs/local-cluster"), help="token, process ids and logs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1, help="CPUs that each worker offers")
    parser.add_argument("--port", type=int, default=6379)
    parser.add_argument("--dashboard-port", type=int, default=8265)
    parser.add_argument("--tls", action="store_true", help="TLS between the nodes as well")
    given = parser.parse_args()
    if given.workers < 1 or given.cpus < 1:
        parser.error("--workers and --cpus must be at least 1")
    if given.command == "up":
        up(given.dir, given.workers, given.cpus, given.port, given.dashboard_port, given.tls)
    elif given.command == "down":
        down(given.dir)
    elif not status(given.dir):
        sys.exit(1)


if __name__ == "__main__":
    main()
