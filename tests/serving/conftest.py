"""Real endpoints for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from endpoints import Endpoint, listening, sim_stock

from eqr_ray.serving.shelf import Stock

os.environ.setdefault("OMP_NUM_THREADS", "1")


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
