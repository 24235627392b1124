"""A client of an endpoint of `eqr-ray serve`: `Client("http://127.0.0.1:8000").solve("1..4.5...")`.

Needs the standard library alone. Sends a request again when the endpoint is overloaded, restarting or gone: answers are functions of
their questions, so asking twice does no harm. Invariants, asserted in tests/serving/test_client.py: a refusal that another try cannot
change is raised at once; Retry-After is obeyed; the asynchronous client does what the other does.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
R = TypeVar("R")


class ServerError(RuntimeError):
    """The endpoint said no, or nothing."""

    def __init__(
        self, status: int, code: str, message: str, request_id: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{status} {code}: {message} (request {request_id})")
        self.status, self.code, self.message = status, code, message
        self.request_id, self.retry_after_s = request_id, retry_after_s


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a watched request."""

    name: str
    """`start`, `trace`, `verdict` or `error`."""
    data: dict[str, Any]


class Client:
    """Asks one endpoint; may be shared by threads, for every request has a connection of its own."""

    def __init__(self, url: str, token: str | None = None, *, tries: int = 6, timeout_s: float = 330.0) -> None:
        """`tries` is how often a request is sent at most; `timeout_s` how long one try may take."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url must be like http://host:port, got {url!r}; correct it")
        if tries < 1:
            raise ValueError(f"tries must be at least 1, got tries={tries}")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._prefix, self._token = parts.path.rstrip("/"), token
        self._tries, self._timeout_s = tries, timeout_s

    def solve(self, puzzle: str, **options: Any) -> dict[str, Any]:
        """Return the answer of `POST /v1/solve`; options are its other fields. Raises ServerError."""
        return self._call("POST", "/v1/solve", {"puzzle": puzzle, **options})

    def solve_batch(self, puzzles: Sequence[str], **options: Any) -> dict[str, Any]:
        """Return the answer of `POST /v1/solve/batch`."""
        return self._call("POST", "/v1/solve/batch", {"puzzles": list(puzzles), **options})

    def models(self) -> dict[str, Any]:
        """Return what can be asked for."""
        return self._call("GET", "/v1/models")

    def ready(self) -> bool:
        """Whether the endpoint welcomes requests; False also when nothing answers."""
        try:
            return self._once("GET", "/readyz", None, uuid.uuid4().hex).get("status") == "ready"
        except (ServerError, OSError, http.client.HTTPException):
            return False

    def stream(self, puzzle: str, **options: Any) -> Iterator[StreamEvent]:
        """Yield the events of a watched request; a stream that broke off is not taken up again."""
        request_id = uuid.uuid4().hex
        connection = self._connect()
        try:
            response = self._send(connection, "POST", "/v1/solve/stream", {"puzzle": puzzle, **options}, request_id)
            if response.status >= 400:
                raise _refused(response.status, response.headers, response.read(), request_id)
            name = ""
            for raw in response:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    yield StreamEvent(name, json.loads(line[6:]))
        finally:
            connection.close()

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request_id = uuid.uuid4().hex
        for attempt in range(1, self._tries + 1):
            try:
                return self._once(method, path, body, request_id)
            except ServerError as error:
                if error.status not in RETRIED or error.code == "no_time" or attempt == self._tries:
                    raise
                pause = error.retry_after_s
            except (OSError, http.client.HTTPException) as error:
                if attempt == self._tries:
                    message = f"nothing answers at {self._host}:{self._port} ({error})"
                    raise ServerError(0, "unreachable", message, request_id) from error
                pause = None
            time.sleep(_pause(attempt, pause))
        raise AssertionError("the last try returns or raises")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None, request_id: str) -> dict[str, Any]:
        connection = self._connect()
        try:
            response = self._send(connection, method, path, body, request_id)
            content = response.read()
            if response.status >= 400:
                raise _refused(response.status, response.headers, content, request_id)
            answer: dict[str, Any] = json.loads(content)
            return answer
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout_s)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        request_id: str,
    ) -> http.client.HTTPResponse:
        headers = {"x-request-id": request_id, "accept": "application/json, text/event-stream"}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps({key: value for key, value in body.items() if value is not None}).encode()
        connection.request(method, self._prefix + path, content, headers)
        return connection.getresponse()


class AsyncClient:
    """The same for asyncio; every request runs in a thread of its own, at most `concurrency` at a time."""

    def __init__(
        self, url: str, token: str | None = None, *, tries: int = 6, timeout_s: float = 330.0, concurrency: int = 64
    ) -> None:
        self._client = Client(url, token, tries=tries, timeout_s=timeout_s)
        self._threads = ThreadPoolExecutor(concurrency, "eqr-client")

    async def _call(self, function: Callable[..., R], *args: Any, **options: Any) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **options))

    async def solve(self, puzzle: str, **options: Any) -> dict[str, Any]:
        """See `Client.solve`."""
        return await self._call(self._client.solve, puzzle, **options)

    async def solve_batch(self, puzzles: Sequence[str], **options: Any) -> dict[str, Any]:
        """See `Client.solve_batch`."""
        return await self._call(self._client.solve_batch, puzzles, **options)

    async def models(self) -> dict[str, Any]:
        """See `Client.models`."""
        return await self._call(self._client.models)

    async def ready(self) -> bool:
        """See `Client.ready`."""
        return await self._call(self._client.ready)

    async def stream(self, puzzle: str, **options: Any) -> AsyncIterator[StreamEvent]:
        """See `Client.stream`."""
        events = self._client.stream(puzzle, **options)
        try:
            while (event := await self._call(next, events, None)) is not None:
                yield event
        finally:
            await self._call(events.close)  # type: ignore[attr-defined]


def _refused(status: int, headers: http.client.HTTPMessage, content: bytes, request_id: str) -> ServerError:
    """Return the refusal that an answer holds; a proxy's answer has another shape."""
    retry_after = headers.get("retry-after") or ""
    pause = float(retry_after) if retry_after.isdigit() else None
    try:
        error = json.loads(content)["error"]
        return ServerError(status, error["code"], error["message"], error["request_id"], pause)
    except (ValueError, KeyError, TypeError):
        return ServerError(
            status, "no_details", content[:200].decode("utf-8", "replace") or "no body", request_id, pause
        )


def _pause(attempt: int, asked_s: float | None) -> float:
    """Return how long to wait: as long as the endpoint asked, or twice as long each time, never all clients together."""
    own: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1))
    return max(asked_s or 0.0, own) * (1.0 + 0.25 * random.random())
