"""Connecting: to a Ray of one's own on the loopback interface, and to clusters that are not there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
import ray
from ray_home import SETTINGS

from eqr_ray.distributed.cluster import connect
from eqr_ray.types import InputError


@pytest.fixture(scope="module", autouse=True)
def not_connected() -> None:
    """End whatever Ray earlier tests left: `connect` would take it as it is."""
    ray.shutdown()


LISTENERS = """
import os, pathlib, re
from eqr_ray.distributed.cluster import connect

def sockets(pid):
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            found = re.fullmatch(r"socket:\\[(\\d+)\\]", str(entry.readlink()))
        except OSError:
            continue
        if found:
            yield found[1]

def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

def descendants():
    found = {os.getpid()}
    pids = sorted(int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit())
    for pid in pids:
        try:
            if parent(pid) in found:
                found.add(pid)
        except OSError:
            continue
    return found - {os.getpid()}

with connect("local"):
    ours = {inode for pid in descendants() for inode in sockets(pid)}
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in ours:
                print(fields[1].split(":")[0])
"""
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_ray_of_its_own_listens_on_the_loopback_interface_only():
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run([sys.executable, "-c", LISTENERS], env=clean, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    heard = done.stdout.split()
    assert len(heard) >= 3
    assert set(heard) <= LOOPBACK


def test_an_address_where_nothing_listens_is_refused_within_seconds():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(InputError, match=rf"nothing answers at 127.0.0.1:{port}|nothing answers at .*:{port}"):
        connect(f"127.0.0.1:{port}").__enter__()
    assert time.monotonic() - started < 60


def test_auto_means_the_cluster_of_the_environment_and_is_refused_when_that_is_gone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match=r"address auto: nothing answers at .*:1 "):
        connect("auto").__enter__()


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "http://head:8265", "", "head:port"])
def test_an_address_of_another_kind_is_refused(address: str):
    with pytest.raises(InputError, match="local, auto or host:port"):
        connect(address).__enter__()
