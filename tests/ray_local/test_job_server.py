"""The client of Ray's job server against a server that speaks its protocol and misbehaves as asked; a real one is in test_submit.py."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import WSCloseCode, web

from eqr_ray.distributed import jobs
from eqr_ray.distributed.jobs import JobServer, Standing, Work
from eqr_ray.types import InputError

LOG = "".join(f"line {number}\n" for number in range(50))


class FakeServer:
    """Keeps jobs; a test sets how they stand and what goes wrong."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.not_ready = 0
        """How many submissions are told to try again later."""
        self.lost_answers = 0
        """How many submissions are taken and answered with a broken connection."""
        self.token = ""
        self.breaks_after: list[int] = []
        """After how many characters a log's connection breaks, connection by connection."""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def end(self, name: str, status: str, code: int | None) -> None:
        self.jobs[name].update(status=status, driver_exit_code=code)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)

        @web.middleware
        async def guarded(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
            return await self._guarded(request, handler)

        app = web.Application(middlewares=[guarded])
        app.add_routes(
            [
                web.get("/api/version", self._version), web.post("/api/jobs/", self._submit),
                web.get("/api/jobs/", self._list), web.get("/api/jobs/{name}", self._info),
                web.post("/api/jobs/{name}/stop", self._stop), web.get("/api/jobs/{name}/logs/tail", self._tail),
            ]
        )  # fmt: skip
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    async def _guarded(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "") or request.headers.get("X-Ray-Authorization", "")
        if self.token and self.token not in shown:
            status = 403 if shown else 401
            text = "Invalid authentication token" if shown else "Unauthorized: Missing authentication token"
            return web.Response(status=status, text=text)
        return await handler(request)

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "4", "ray_version": "2.60.0", "ray_commit": "", "session_name": ""})

    async def _submit(self, request: web.Request) -> web.Response:
        if self.not_ready:
            self.not_ready -= 1
            return web.Response(status=500, text="No available agent to submit job, please try again later.")
        asked = await request.json()
        name = asked["submission_id"]
        if name in self.jobs:
            return web.Response(status=500, text=f"Job with submission_id {name} already exists.")
        self.jobs[name] = {
            "type": "SUBMISSION", "submission_id": name, "status": "RUNNING", "entrypoint": asked["entrypoint"],
            "metadata": asked["metadata"], "runtime_env": asked["runtime_env"], "message": "it says why",
        }  # fmt: skip
        if self.lost_answers:
            self.lost_answers -= 1
            request.transport.close()  # type: ignore[union-attr]
        return web.json_response({"job_id": name, "submission_id": name})

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response(list(self.jobs.values()))

    async def _info(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.jobs:
            return web.Response(status=404, text=f"Job {name} does not exist")
        return web.json_response(self.jobs[name])

    async def _stop(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["name"]]
        ran = job["status"] == "RUNNING"
        if ran:
            job["status"] = "STOPPED"
        return web.json_response({"stopped": ran})

    async def _tail(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self.breaks_after:
            await socket.send_str(LOG[: self.breaks_after.pop(0)])
            await socket.close(code=WSCloseCode.INTERNAL_ERROR)
        else:
            for start in range(0, len(LOG), 100):
                await socket.send_str(LOG[start : start + 100])
            self.end(request.match_info["name"], "SUCCEEDED", 0)
            await socket.close()
        return socket


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", *jobs.ADDRESSES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(jobs, "POLL_S", 0.05)
    fake = FakeServer()
    yield fake
    fake.close()


def work() -> Work:
    return Work("evaluate-ab", lambda attempt: f"run --try {attempt}", {"AWS_REGION": "r"}, {"job": "evaluate"})


def test_work_is_one_job_while_it_runs_and_after_it_succeeded_and_another_try_after_it_failed(
    server: FakeServer,
) -> None:
    client = JobServer(server.url)
    assert client.submit(work()) == ("evaluate-ab", Standing.NEW)
    assert server.jobs["evaluate-ab"]["runtime_env"] == {"env_vars": {"AWS_REGION": "r"}}
    assert client.submit(work()) == ("evaluate-ab", Standing.RUNNING)
    server.end("evaluate-ab", "FAILED", 1)
    assert client.submit(work()) == ("evaluate-ab-2", Standing.NEW)
    assert client.state("evaluate-ab-2").entrypoint == "run --try 2"
    assert client.stop("evaluate-ab-2")
    assert not client.stop("evaluate-ab-2")
    assert client.submit(work()) == ("evaluate-ab-3", Standing.NEW)
    server.end("evaluate-ab-3", "SUCCEEDED", 0)
    assert client.submit(work()) == ("evaluate-ab-3", Standing.DONE)


def test_a_head_that_comes_up_and_an_answer_that_is_lost_are_borne(server: FakeServer) -> None:
    server.not_ready, server.lost_answers = 3, 1
    assert JobServer(server.url).submit(work()) == ("evaluate-ab", Standing.NEW)
    assert list(server.jobs) == ["evaluate-ab"]


def test_a_head_that_never_comes_up_is_one_sentence(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PATIENCE_S", 0.1)
    server.not_ready = 1000
    with pytest.raises(InputError, match=r"the job server does not do it .*try again later.*is the cluster up"):
        JobServer(server.url).submit(work())


def test_the_log_is_written_once_however_often_its_connection_breaks(server: FakeServer) -> None:
    client = JobServer(server.url)
    client.submit(work())
    server.breaks_after = [35, 0, 170, 170]
    written: list[str] = []
    state = client.follow("evaluate-ab", written.append)
    assert "".join(written) == LOG
    assert (state.status, state.code) == ("SUCCEEDED", 0)


@pytest.mark.parametrize(
    ("status", "exit_code", "code"),
    [("SUCCEEDED", 0, 0), ("FAILED", 2, 2), ("FAILED", None, 1), ("STOPPED", None, 1), ("FAILED", -9, 1)],
)
def test_the_exit_code_is_the_job_s_own(server: FakeServer, status: str, exit_code: int | None, code: int) -> None:
    client = JobServer(server.url)
    client.submit(work())
    server.end("evaluate-ab", status, exit_code)
    assert client.state("evaluate-ab").code == code


def test_a_token_that_is_missing_or_wrong_is_one_sentence(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.token = "a" * 64
    # Which of the two it is follows from what an earlier Ray of this process has left with Ray's client.
    with pytest.raises(InputError, match=r"(none was given|refused the token); set RAY_AUTH_MODE=token"):
        JobServer(server.url)


def test_an_unknown_job_is_named_beside_those_there_are(server: FakeServer) -> None:
    client = JobServer(server.url)
    client.submit(work())
    with pytest.raises(InputError, match="knows no job evaluate-x; it knows evaluate-ab"):
        client.state("evaluate-x")


def test_nobody_at_the_address_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="no job server of Ray answers there"):
        JobServer()
