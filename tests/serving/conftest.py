"""A real endpoint on a free port: the bare app under uvicorn, in a thread of this process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn
from endpoints import Endpoint, sim_stock

from eqr_ray.serving.guard import Guard, digest
from eqr_ray.serving.http import build_app
from eqr_ray.serving.service import Service
from eqr_ray.serving.settings import load_serve_config
from eqr_ray.serving.shelf import Stock

os.environ.setdefault("OMP_NUM_THREADS", "1")


@contextmanager
def listening(stock: list[Stock] | None, tokens: tuple[str, ...], **options: Any) -> Iterator[Endpoint]:
    config = load_serve_config(None, (), {"threads": 1, "limits.rate_per_s": 1000.0, **options})
    service = Service(config, stock)
    app = build_app(service, Guard([digest(token) for token in tokens], config.allowed_hosts))
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=20)
    )
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    assert server.started, "the server did not start; its log has the reason"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Endpoint(f"http://127.0.0.1:{port}", port, service, server)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    """A quick endpoint without tokens, over the simulated engine."""
    with listening(sim_stock(), ()) as there:
        yield there


@pytest.fixture
def listen() -> Iterator[Callable[..., Endpoint]]:
    """Start endpoints of a test's own: `listen(stock=..., tokens=..., key=value)`."""
    with ExitStack() as stack:

        def start(stock: list[Stock] | None = None, tokens: tuple[str, ...] = (), **options: Any) -> Endpoint:
            return stack.enter_context(listening(sim_stock() if stock is None else stock, tokens, **options))

        yield start
