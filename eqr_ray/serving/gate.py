"""What every HTTP request passes before the app sees it, and every answer after: id, size, caller, log line.

Invariants, asserted in tests/serving/test_gate.py and test_fuzz.py: every answer carries the request's id, and so does its log line; no
answer holds a traceback; a body beyond the limit is refused before it is read to the end; nobody unknown gets further under /v1 and
/metrics.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eqr_ray.serving.guard import Guard, Refusal

log = logging.getLogger("eqr_ray.serving")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
BODY_S = 15.0
"""How long a body may take to arrive."""
KNOWN_PATHS = ("/v1", "/metrics")
"""Paths whose callers must be known; the page, its assets and the health checks tell nothing."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class Gate:
    """ASGI middleware; leaves `state.request_id` and `state.client` for the handlers."""

    def __init__(
        self,
        app: ASGIApp,
        guard: Guard,
        body_bytes: int,
        observe: Callable[[str, int | None, float], None],
        echo_id: bool = True,
    ) -> None:
        """`observe` is told path, status and seconds of every request."""
        self.app, self.guard, self.body_bytes, self.observe, self.echo_id = app, guard, body_bytes, observe, echo_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it here."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        wanted = headers.get("x-request-id", "")
        request_id = wanted if _ID.fullmatch(wanted) else uuid.uuid4().hex
        client = scope["client"][0] if scope.get("client") else None
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"], state["client"] = request_id, client or "unknown"
        reply = _Reply(send, request_id, self.echo_id)
        started = time.perf_counter()
        try:
            refusal = self._refuse(scope["path"], headers, client, state)
            body = refusal or await self._body(headers, receive)
            if isinstance(body, Refusal):
                await reply.refuse(body)
            else:
                await self.app(scope, _replayed(body, receive), reply.send)
        except Exception:
            log.exception("unexpected error, id=%s", request_id)
            await reply.refuse(
                Refusal(500, "internal", "something went wrong here; the log has the details under this id")
            )
        finally:
            seconds = time.perf_counter() - started
            self.observe(scope["path"], reply.status, seconds)
            level = logging.DEBUG if scope["path"] in ("/healthz", "/readyz") else logging.INFO
            took_ms = 1000 * seconds
            log.log(
                level, "%s %s %s %.1f ms client=%s id=%s",
                scope["method"], scope["path"][:100].encode("unicode_escape").decode(), reply.status, took_ms, state["client"], request_id,
            )  # fmt: skip

    def _refuse(
        self, path: str, headers: Mapping[str, str], client: str | None, state: dict[str, Any]
    ) -> Refusal | None:
        if not self.guard.host_allowed(headers.get("host")):
            return Refusal(421, "wrong_host", "this endpoint is not known under that host name; use its own address")
        if not any(path == known or path.startswith(f"{known}/") for known in KNOWN_PATHS):
            return None
        caller = self.guard.identify(headers.get("authorization"), client)
        if isinstance(caller, Refusal):
            return caller
        state["client"] = caller.key
        return None

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes | Refusal:
        too_large = Refusal(413, "too_large", f"a body has at most {self.body_bytes} bytes here; send less at once")
        announced = headers.get("content-length", "")
        if announced.isdigit() and (len(announced) > 12 or int(announced) > self.body_bytes):
            return too_large
        body, more = b"", True
        while more:
            try:
                message = await asyncio.wait_for(receive(), BODY_S)
            except TimeoutError:
                return Refusal(408, "too_slow", f"a body must arrive within {BODY_S:.0f} s; send the request again")
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.body_bytes:
                return too_large
        return body


class _Reply:
    """The answer of one request: adds the headers, remembers the status, and is given once."""

    def __init__(self, send: Send, request_id: str, echo_id: bool) -> None:
        self._send, self._request_id = send, request_id
        self._more = {**HEADERS, "x-request-id": request_id} if echo_id else HEADERS
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            have = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [
                *message.get("headers", []),
                *((n.encode(), v.encode()) for n, v in self._more.items() if n.encode() not in have),
            ]
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        if self.status is not None:
            return
        body, headers = error_body(refusal, self._request_id)
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})


def error_body(refusal: Refusal, request_id: str) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of an answer that says no."""
    error = {"code": refusal.code, "message": refusal.message, "request_id": request_id}
    body = json.dumps({"error": error}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    if refusal.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(refusal.retry_after_s + 0.499)))
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    return body, headers


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give the app the body that was read here, then whatever comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
