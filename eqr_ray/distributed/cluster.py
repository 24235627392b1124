"""The Ray that a run works on: one of its own on this machine, or a cluster that is already there.

Invariants, asserted in tests/ray_local: what was not started here is not shut down here; a Ray of its own listens on the loopback
interface only; an address without a cluster is one sentence, within seconds. Ray is imported inside the functions, because the
settings below are read when it is imported.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from eqr_ray.distributed.shares import Node
from eqr_ray.types import InputError

log = logging.getLogger(__name__)

LOCAL_SETTINGS = {
    # Without it the servers of a local Ray listen on every interface, whatever node address they are given.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A warning about replicas without a GPU, printed by every worker.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
OBJECT_STORE_BYTES = 2**28
"""Slices and weights are small; Ray's default would claim a third of the memory."""
START_TRIES = 8
TOO_SLOW = ("timed out during startup", "timed out waiting for file", "timed out while waiting for gcs")
"""What Ray's errors say, in small letters, when its servers were not up in time: the machine is busy, and another start may do."""
REACH_S = 5.0
"""How long a cluster's port may take to accept a connection; Ray itself would try for minutes."""


class Cluster:
    """The connected Ray, as far as a run needs to know it."""

    def nodes(self) -> list[Node]:
        """Return the living nodes that are not being drained."""
        import ray

        draining = self.draining()
        return [
            Node(float(node["Resources"].get("CPU", 0.0)), float(node["Resources"].get("GPU", 0.0)))
            for node in ray.nodes()
            if node["Alive"] and node["NodeID"] not in draining
        ]

    def living(self) -> frozenset[str]:
        """Return the ids of the nodes that are there to stay, as far as Ray knows."""
        import ray

        return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"]) - self.draining()

    def draining(self) -> frozenset[str]:
        """Return the ids of nodes that will be taken away; Ray tells it nowhere else."""
        import ray._private.state

        return frozenset(ray._private.state.state.get_draining_nodes())


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connect to `local` (a Ray of its own), `auto` (the cluster of this machine) or `host:port`; InputError if nothing is there.

    A Ray to which this process is connected already is used as it is, whatever the address.
    """
    if address not in ("local", "auto") and not re.fullmatch(r"[\w.\-\[\]:]+:\d{1,5}", address):
        raise InputError(
            f"address must be local, auto or host:port, got {address!r}; to use a cluster from outside, submit "
            "jobs/evaluate.py to it as a Ray job"
        )
    if address == "local":
        for name, value in LOCAL_SETTINGS.items():
            os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield Cluster()
        return
    if address == "local":
        start_patiently(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES)
    else:
        _join(address)
    try:
        yield Cluster()
    finally:
        ray.shutdown()


def start_patiently(**settings: Any) -> None:
    """`ray.init` with these settings, again if Ray's servers are not up in its time, which a machine under load may miss."""
    import ray

    for attempt in range(1, START_TRIES + 1):
        before = _children()
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **settings)
        except Exception as error:
            if attempt == START_TRIES or not too_slow(error):
                raise
            log.warning("Ray did not come up in time on this busy machine; starting it again")
            ray.shutdown()
            _end(_children() - before)
        else:
            return


def _children() -> set[Any]:
    import psutil

    return set(psutil.Process().children(recursive=True))


def _end(processes: set[Any]) -> None:
    """Kill processes that this one started: what is left of a Ray that did not come up would make the next one slower still."""
    import psutil

    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(processes), timeout=10)


def too_slow(error: Exception) -> bool:
    """Return whether Ray failed to start because it was not up in time; it raises bare exceptions for that."""
    return any(words in str(error).lower() for words in TOO_SLOW)


def _join(address: str) -> None:
    import ray
    from ray._private.services import canonicalize_bootstrap_address

    nothing = "start one with `ray start --head`, correct the address, or use --address local"
    try:
        found = canonicalize_bootstrap_address(address)
    except (ConnectionError, ValueError, OSError):
        found = None
    if found is None:
        raise InputError(f"address {address}: no Ray cluster is known here; {nothing}")
    host, _, port = found.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except OSError as error:
        raise InputError(f"address {address}: nothing answers at {found} ({error}); {nothing}") from None
    try:
        ray.init(address=found, log_to_driver=False, logging_level="ERROR")
    except ConnectionError:
        raise InputError(
            f"address {address}: the server at {found} refused this program; if the cluster asks for a token, set "
            "RAY_AUTH_MODE=token and its token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from None
    except RuntimeError as error:
        if "ersion mismatch" not in str(error):
            raise
        versions = " ".join(str(error).split())[:300]
        raise InputError(f"address {address}: {versions}; install the cluster's Ray and Python here") from None
