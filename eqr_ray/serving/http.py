"""The HTTP interface: routes over a `Service`, under any ASGI server.

Invariants, asserted in tests/serving: every refusal has the shape of `ErrorResponse`; the answer over HTTP is the verdict that an
evaluation reaches; a client that goes away stops the work for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from eqr_ray import __version__
from eqr_ray.serving.answers import policy_out, trace_out, verdict_out
from eqr_ray.serving.catalogue import models_response
from eqr_ray.serving.gate import Gate, error_body
from eqr_ray.serving.guard import Guard, Refusal
from eqr_ray.serving.jobs import Outcome, Reached, Steps
from eqr_ray.serving.metrics import CONTENT_TYPE, Meters
from eqr_ray.serving.schemas import (
    BatchRequest,
    BatchResponse,
    ErrorResponse,
    Health,
    ModelsResponse,
    SolveRequest,
    SolveResponse,
    StreamRequest,
    TraceOut,
)
from eqr_ray.serving.service import Question, Service, Unavailable
from eqr_ray.serving.streaming import watched
from eqr_ray.types import InputError, Verdict

PAGE = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "board.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "stream.js": "text/javascript; charset=utf-8",
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": what}
    for status, what in (
        (400, "The body cannot be read."),
        (401, "The token is missing or unknown."),
        (403, "This caller may not ask."),
        (408, "The body took too long, or the deadline passed before the first iteration."),
        (413, "The body is too large."),
        (421, "The host name is not this endpoint's."),
        (422, "What is asked cannot be done; the message says why."),
        (429, "This client asks too fast; see Retry-After."),
        (500, "A bug here; the log has it under the request's id."),
        (503, "There is too much to do, or the replica is about to stop; see Retry-After."),
    )
}
T = TypeVar("T")


def build_app(service: Service, guard: Guard, *, echo_id: bool = True) -> FastAPI:
    """Return the app; its lifespan warms the service up before the first request and closes it after the last.

    echo_id: whether answers get the header x-request-id here; Ray Serve adds it itself.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.warm_up()
        yield
        await service.close()

    app = FastAPI(
        title="eqr-ray",
        summary="Puzzles answered by test-time scaling of an Equilibrium Reasoner.",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    meters = Meters(service)
    app.add_middleware(
        Gate, guard=guard, body_bytes=service.config.limits.body_bytes, observe=meters.observe, echo_id=echo_id
    )
    app.add_exception_handler(InputError, _bad_input)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(HTTPException, _plain)
    app.include_router(_health(service, meters))
    app.include_router(_interface(service, guard))
    app.include_router(_page())
    return app


def _interface(service: Service, guard: Guard) -> APIRouter:
    # For the description alone: the gate has looked at the token already.
    known = [Security(HTTPBearer(auto_error=False))] if guard.needs_token else []
    router = APIRouter(prefix="/v1", tags=["v1"], responses=_REFUSALS, dependencies=known)
    listed = models_response(service)

    @router.get("/models", summary="What can be asked for")
    async def models() -> ModelsResponse:
        return listed

    @router.post("/solve", summary="Answer one puzzle")
    async def solve(asked: SolveRequest, request: Request) -> SolveResponse:
        started = time.monotonic()
        question = _question(service, [asked.puzzle], asked, leg=1 if asked.trace else None)
        service.admit(request.state.client, 1)
        found = await _while_connected(request, _collect(service, question))
        verdicts = found.verdicts
        if question.records[0].puzzle.puzzle_id not in verdicts:
            raise Unavailable(408, "no_time", "time ran out before the first iteration; allow more or ask later", 1.0)
        return SolveResponse(
            request_id=request.state.request_id,
            model=question.model.name,
            task=question.task.name,
            policy=policy_out(question),
            seed=question.seed,
            verdict=verdict_out(question.task, question.records[0], *verdicts.values()),
            elapsed_s=time.monotonic() - started,
            engine_s=found.engine_s,
            trace=found.trace if asked.trace else None,
        )

    @router.post("/solve/batch", summary="Answer puzzles of one task together")
    async def batch(asked: BatchRequest, request: Request) -> BatchResponse:
        started = time.monotonic()
        question = _question(service, asked.puzzles, asked)
        service.admit(request.state.client, len(asked.puzzles))
        verdicts = (await _while_connected(request, _collect(service, question))).verdicts
        found = [(record, verdicts.get(record.puzzle.puzzle_id)) for record in question.records]
        return BatchResponse(
            request_id=request.state.request_id,
            model=question.model.name,
            task=question.task.name,
            policy=policy_out(question),
            seed=question.seed,
            verdicts=[None if v is None else verdict_out(question.task, record, v) for record, v in found],
            elapsed_s=time.monotonic() - started,
        )

    @router.post(
        "/solve/stream",
        summary="Answer one puzzle and watch: server-sent events `start`, `trace`, `verdict`, `error`",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "events, the verdict last"}},
    )
    async def stream(asked: StreamRequest, request: Request) -> StreamingResponse:
        question = _question(service, [asked.puzzle], asked, leg=asked.every)
        service.admit(request.state.client, 1)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        events = watched(service, question, request.state.request_id)
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    return router


def _health(service: Service, meters: Meters) -> APIRouter:
    router = APIRouter(tags=["health"], responses={503: {"model": Health, "description": "not so"}})

    @router.get("/healthz", summary="Whether the engine works")
    async def healthz(response: Response) -> Health:
        try:
            service.check()
        except RuntimeError:
            response.status_code = 503
            return Health(status="unhealthy")
        return Health(status="ok")

    @router.get("/readyz", summary="Whether requests are welcome")
    async def readyz(response: Response) -> Health:
        response.status_code = 200 if service.ready else 503
        return Health(status="ready" if service.ready else "not ready")

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(meters.text(), media_type=CONTENT_TYPE)

    return router


def _page() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    folder = files("eqr_ray.serving") / "page"
    assets = {name: (folder / name).read_bytes() for name in PAGE}

    @router.get("/")
    async def page() -> Response:
        return Response(assets["index.html"], media_type=PAGE["index.html"], headers={"cache-control": "no-cache"})

    @router.get("/page/{name}")
    async def asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404)
        return Response(assets[name], media_type=PAGE[name], headers={"cache-control": "no-cache"})

    return router


def _question(
    service: Service,
    texts: Sequence[str],
    asked: SolveRequest | BatchRequest | StreamRequest,
    leg: int | None = None,
) -> Question:
    return service.question(
        texts,
        task=asked.task,
        model=asked.model,
        policy=asked.policy,
        depth=asked.depth,
        breadth=asked.breadth,
        nfe=asked.nfe,
        seed=asked.seed,
        deadline_s=asked.deadline_s,
        leg=leg,
    )


@dataclass(slots=True)
class _Found:
    """What a request came to."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """By puzzle id."""
    trace: list[TraceOut] = field(default_factory=list)
    engine_s: float = 0.0


async def _collect(service: Service, question: Question) -> _Found:
    """Wait for the end and return what was found."""
    found = _Found()
    async for event in service.answer(question):
        if isinstance(event, Reached):
            found.verdicts[event.verdict.puzzle_id] = event.verdict
        elif isinstance(event, Steps):
            found.trace.extend(trace_out(question.task, event))
        elif event.outcome is Outcome.FAILED:
            raise Unavailable(503, "failed", "the engine failed this request; send it again", 1.0)
        else:
            found.engine_s = event.engine_s
    return found


async def _while_connected(request: Request, work: Awaitable[T]) -> T:
    """Await the work, and cancel it when the client goes away."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Unavailable(499, "gone", "the client went away", 1.0)
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _say(request: Request, refusal: Refusal) -> Response:
    body, headers = error_body(refusal, request.state.request_id)
    return Response(body, refusal.status, headers)


async def _bad_input(request: Request, error: Exception) -> Response:
    return _say(request, Refusal(422, "bad_input", str(error)))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")[:200] or "the body"
    where = where.encode("ascii", "backslashreplace").decode()
    return _say(request, Refusal(422, "invalid", f"{where}: {first['msg']}; see /openapi.json"))


async def _unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, Unavailable)
    return _say(request, Refusal(error.status, error.code, str(error), error.retry_after_s))


async def _plain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {
        400: "the body cannot be read; send JSON",
        404: "there is nothing under this path",
        405: "this path has other methods",
    }
    message = words.get(error.status_code, str(error.detail))
    response = _say(request, Refusal(error.status_code, f"http_{error.status_code}", message))
    response.headers.update(error.headers or {})
    return response
