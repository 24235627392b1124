from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from endpoints import EASY, TOKEN, Endpoint

from eqr_ray.client import AsyncClient, Client, ServerError


@contextmanager
def scripted(*answers: int | None, retry_after: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these statuses in turn, then 200; None closes the connection without a word."""
    script, ids = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            ids.append(self.headers["x-request-id"])
            status = script.pop(0) if script else 200
            if status is None:
                self.close_connection = True
                return
            body = json.dumps({"fine": True}).encode() if status == 200 else b"<html>proxy</html>"
            self.send_response(status)
            if retry_after is not None and status != 200:
                self.send_header("retry-after", retry_after)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", ids
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("first", [429, 500, 502, 503, None])
def test_what_may_pass_is_sent_again_under_the_same_id(first: int | None) -> None:
    with scripted(first) as (url, ids):
        assert Client(url).solve(EASY) == {"fine": True}
        assert asyncio.run(AsyncClient(url).solve(EASY)) == {"fine": True}
    assert len(ids) == 3
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_cannot_pass_is_raised_at_once(status: int) -> None:
    with scripted(status, status) as (url, ids), pytest.raises(ServerError) as caught:
        Client(url).solve(EASY)
    assert (caught.value.status, len(ids)) == (status, 1)


def test_retry_after_is_obeyed() -> None:
    started = time.monotonic()
    with scripted(503, retry_after="1") as (url, _):
        Client(url).solve(EASY)
    assert time.monotonic() - started >= 1.0


def test_after_the_last_try_the_refusal_is_raised() -> None:
    with scripted(503, 503, 503) as (url, ids), pytest.raises(ServerError, match="503"):
        Client(url, tries=2).solve(EASY)
    assert len(ids) == 2


def test_nobody_there_is_a_server_error() -> None:
    with scripted() as (url, _):
        pass
    with pytest.raises(ServerError, match="nothing answers"):
        Client(url, tries=2).solve(EASY)
    assert not Client(url).ready()


def test_an_impossible_url_is_refused() -> None:
    for url in ("ftp://here", "http://", ""):
        with pytest.raises(ValueError, match="url must be like"):
            Client(url)


def test_the_token_is_sent_and_refusals_speak(listen: Callable[..., Endpoint]) -> None:
    there = listen(tokens=(TOKEN,))
    assert there.client(TOKEN).solve(EASY)["task"] == "sudoku6"
    with pytest.raises(ServerError, match="known token") as caught:
        there.client().solve(EASY)
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
    with pytest.raises(ServerError, match="known token"):
        list(there.client().stream(EASY))


def test_a_batch_and_models_through_both_clients(endpoint: Endpoint) -> None:
    there = endpoint.async_client()

    async def ask() -> tuple[dict, dict, bool]:
        return await there.solve_batch([EASY, EASY]), await there.models(), await there.ready()

    batch, models, ready = asyncio.run(ask())
    assert ready
    assert batch["verdicts"] == endpoint.client().solve_batch([EASY, EASY])["verdicts"]
    assert models == endpoint.client().models()
