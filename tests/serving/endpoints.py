"""Engines and endpoints that tests are made of: whole engines behind the protocol, nothing patched."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from eqr_ray.client import AsyncClient, Client
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.serving.drive import Motor
from eqr_ray.serving.guard import Guard, digest
from eqr_ray.serving.http import build_app
from eqr_ray.serving.service import Service
from eqr_ray.serving.settings import ServeConfig, load_serve_config
from eqr_ray.serving.shelf import Model, Stock
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.types import Engine, Slice, SliceResult

EASY = "..3....1..2.3.........4614.......5.."
ROWS = 8
TOKEN = "a-token-of-enough-characters"


@dataclass(frozen=True)
class Endpoint:
    """Where an endpoint listens, and what is behind it."""

    url: str
    port: int
    service: Service
    server: uvicorn.Server

    def client(self, token: str | None = None, tries: int = 1) -> Client:
        return Client(self.url, token, tries=tries, timeout_s=60.0)

    def async_client(self, token: str | None = None, tries: int = 1) -> AsyncClient:
        return AsyncClient(self.url, token, tries=tries, timeout_s=60.0)


class GatedEngine:
    """The simulator behind a gate: a slice waits until the test lets it through."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.slices: list[Slice] = []

    def run(self, orders: Slice) -> SliceResult:
        self.slices.append(orders)
        self.entered.set()
        assert self.gate.wait(60.0), "the test never opened the gate"
        return self._engine.run(orders)


class BreakingEngine:
    """Works for some slices, then raises."""

    def __init__(self, engine: Engine, n_good: int) -> None:
        self._engine, self._left = engine, n_good

    def run(self, orders: Slice) -> SliceResult:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("secret detail of the device")
        return self._engine.run(orders)


def tiny_net(folder: Path, task: str) -> str:
    """Save a small untrained network and return its folder: real arithmetic, settled by nobody."""
    import torch

    from eqr_ray.model.checkpoint import save
    from eqr_ray.model.network import EquilibriumReasoner
    from eqr_ray.model.spec import ModelSpec

    board = find_task(task)
    torch.manual_seed(0)
    spec = ModelSpec(
        task=task, rows=board.rows, cols=board.cols, vocab=board.vocab, model_vocab=board.vocab,
        token_map=tuple(range(board.vocab)), hidden=16, layers=1, heads=2, ff_width=16,
    )  # fmt: skip
    return str(save(folder / task, EquilibriumReasoner(spec), {"name": task}))


def config_of(**models: str) -> ServeConfig:
    return load_serve_config(None, (), {"models": models, "threads": 1, "device": "cpu"})


def landscape(easy: float = 0.6, **others: float) -> Landscape:
    return Landscape(easy=easy, **others)


def stock_of(engine: Engine, name: str = "six", task: str = "sudoku6", rows: int = ROWS) -> Stock:
    return Stock(Model(name, task, "0" * 64, 1000, 2), lambda: Motor(engine, rows))


def sim_stock(easy: float = 0.6) -> list[Stock]:
    """Two boards, simulated."""
    return [
        stock_of(SimEngine(landscape(easy))),
        stock_of(SimEngine(landscape(easy)), "nine", "sudoku9"),
    ]


@contextmanager
def listening(stock: list[Stock] | None, tokens: tuple[str, ...], **options: Any) -> Iterator[Endpoint]:
    """The bare app under uvicorn on a free port, in a thread of this process."""
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
