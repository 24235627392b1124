from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from endpoints import EASY, TOKEN, BreakingEngine, Endpoint, GatedEngine, landscape, stock_of

from eqr_ray.client import ServerError
from eqr_ray.serving.drive import Motor
from eqr_ray.serving.shelf import Stock
from eqr_ray.sim import SimEngine

BODY = json.dumps({"puzzle": EASY}).encode()
HARD = landscape(easy=0.0, hard_depth=1e6)


def ask(
    there: Endpoint, method: str = "POST", path: str = "/v1/solve", body: bytes | None = BODY, **headers: str
) -> tuple[int, dict[str, str], Any]:
    connection = http.client.HTTPConnection("127.0.0.1", there.port, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"content-type": "application/json", **names})
    response = connection.getresponse()
    content = response.read()
    told = {name.lower(): value for name, value in response.getheaders()}
    connection.close()
    return response.status, told, json.loads(content) if content and "json" in told.get("content-type", "") else content


def error_code(answer: tuple[int, dict[str, str], Any]) -> tuple[int, str]:
    status, headers, body = answer
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert headers["x-request-id"] == body["error"]["request_id"]
    return status, body["error"]["code"]


def test_without_a_token_nothing_under_v1_is_answered(listen: Callable[..., Endpoint]) -> None:
    there = listen(tokens=(TOKEN,))
    for method, path in (
        ("POST", "/v1/solve"),
        ("POST", "/v1/solve/batch"),
        ("POST", "/v1/solve/stream"),
        ("GET", "/v1/models"),
        ("GET", "/v1/none"),
    ):
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
            answer = ask(there, method, path, **header)
            assert error_code(answer) == (401, "unauthorized")
            assert answer[1]["www-authenticate"] == "Bearer"
    assert ask(there, authorization=f"Bearer {TOKEN}")[0] == 200
    for path in ("/", "/page/app.js", "/healthz", "/readyz", "/openapi.json"):
        assert ask(there, "GET", path, None)[0] == 200


def test_a_foreign_host_name_is_refused_where_there_is_no_token(endpoint: Endpoint) -> None:
    assert error_code(ask(endpoint, host="evil.example")) == (421, "wrong_host")
    assert ask(endpoint, "GET", "/", None, host="evil.example")[0] == 421


def test_a_page_of_another_site_cannot_ask(endpoint: Endpoint) -> None:
    status, headers, _ = ask(
        endpoint, "OPTIONS", body=None, origin="https://evil.example", access_control_request_method="POST"
    )
    assert status == 405
    assert not [name for name in headers if name.startswith("access-control")]
    # What a form may send without being asked for permission first is not taken for JSON.
    assert error_code(ask(endpoint, content_type="text/plain", origin="https://evil.example"))[0] == 422


def test_an_over_large_body_is_413(listen: Callable[..., Endpoint]) -> None:
    there = listen(**{"limits.body_bytes": 2000})
    padded = json.dumps({"puzzle": EASY, "padding": "x" * 3000}).encode()
    assert error_code(ask(there, body=padded)) == (413, "too_large")
    assert ask(there)[0] == 200


def test_a_body_that_grows_too_large_without_announcing_it_is_413(listen: Callable[..., Endpoint]) -> None:
    there = listen(**{"limits.body_bytes": 2000})
    with socket.create_connection(("127.0.0.1", there.port), timeout=30) as wire:
        head = "POST /v1/solve HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        wire.sendall(head.encode() + b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(3)))
        assert wire.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"text"', b"[" * 5000, b'{"puzzle": ' + b"9" * 5000 + b"}"],
    ids=lambda b: str(b[:12]),
)
def test_a_body_that_is_no_request_is_refused(endpoint: Endpoint, body: bytes) -> None:
    assert error_code(ask(endpoint, body=body))[0] in (400, 422)


def test_unknown_paths_and_methods_have_the_same_shape(endpoint: Endpoint) -> None:
    assert error_code(ask(endpoint, "GET", "/v1/nothing", None)) == (404, "http_404")
    assert error_code(ask(endpoint, "GET", "/page/..%2f..%2fgate.py", None)) == (404, "http_404")
    assert error_code(ask(endpoint, "DELETE", "/v1/solve", None)) == (405, "http_405")


def test_the_request_id_of_the_caller_is_kept_and_logged(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "eqr_ray.serving"):
        _, headers, body = ask(endpoint, x_request_id="my-id.7")
        assert headers["x-request-id"] == body["request_id"] == "my-id.7"
        foul = ask(endpoint, x_request_id="two words, and a comma")[1]["x-request-id"]
        lines: list[str] = []
        give_up = time.monotonic() + 10.0
        # The line is written after the answer, so that it may come a moment later.
        while not any(line.endswith(f"id={foul}") for line in lines) and time.monotonic() < give_up:
            lines = [record.getMessage() for record in caplog.records]
            time.sleep(0.01)
    assert len([line for line in lines if "POST /v1/solve 200" in line and line.endswith("id=my-id.7")]) == 1
    assert any(line.endswith(f"id={foul}") for line in lines)
    assert "two words" not in "".join(lines)


def test_every_answer_forbids_sniffing_and_foreign_resources(endpoint: Endpoint) -> None:
    for method, path, body in (("GET", "/", None), ("POST", "/v1/solve", BODY), ("GET", "/nothing", None)):
        headers = ask(endpoint, method, path, body)[1]
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_a_client_that_asks_too_fast_is_told_when_to_come_again(listen: Callable[..., Endpoint]) -> None:
    there = listen(**{"limits.rate_per_s": 0.25, "limits.burst": 3})
    assert [ask(there)[0] for _ in range(3)] == [200] * 3
    answer = ask(there)
    assert error_code(answer) == (429, "too_fast")
    assert 1 <= int(answer[1]["retry-after"]) <= 5


def test_a_full_replica_says_503_and_answers_what_it_has_taken(listen: Callable[..., Endpoint]) -> None:
    engine = GatedEngine(SimEngine())
    there = listen([stock_of(engine)], **{"limits.open_requests": 3})
    engine.gate.clear()
    engine.entered.clear()
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(there)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    while there.service.standing().open_jobs < 3:
        assert not answers
    answer = ask(there)
    assert error_code(answer) == (503, "overloaded")
    assert int(answer[1]["retry-after"]) >= 1
    engine.gate.set()
    for thread in threads:
        thread.join()
    assert answers == [200] * 3


def test_a_backlog_that_takes_too_long_is_503(listen: Callable[..., Endpoint]) -> None:
    engine = GatedEngine(SimEngine(HARD))
    there = listen([stock_of(engine)], **{"limits.backlog_s": 1e-9})
    engine.gate.clear()
    engine.entered.clear()
    first = threading.Thread(target=lambda: ask(there, body=json.dumps({"puzzle": EASY, "policy": "fixed"}).encode()))
    first.start()
    assert engine.entered.wait(60)
    assert error_code(ask(there)) == (503, "overloaded")
    engine.gate.set()
    first.join()


def test_time_that_runs_out_gives_the_best_answer_so_far_or_408(listen: Callable[..., Endpoint]) -> None:
    engine = GatedEngine(SimEngine(HARD))
    there = listen([stock_of(engine)])
    verdict = there.client().solve(EASY, deadline_s=0.3, depth=4096, breadth=16)["verdict"]
    assert (verdict["stop"], verdict["valid"]) == ("deadline", False)
    assert verdict["nfe"] >= 1
    engine.gate.clear()
    engine.entered.clear()
    busy = threading.Thread(target=lambda: ask(there, body=json.dumps({"puzzle": EASY, "policy": "fixed"}).encode()))
    busy.start()
    assert engine.entered.wait(60)
    late: list[tuple[int, str]] = []
    waiting = threading.Thread(
        target=lambda: late.append(
            error_code(ask(there, body=json.dumps({"puzzle": EASY, "deadline_s": 1e-6}).encode()))
        )
    )
    waiting.start()
    while there.service.standing().open_jobs < 2:
        pass
    engine.gate.set()
    waiting.join()
    busy.join()
    assert late == [(408, "no_time")]


@pytest.mark.parametrize("path", ["/v1/solve", "/v1/solve/stream"])
def test_a_client_that_goes_away_stops_the_work(listen: Callable[..., Endpoint], path: str) -> None:
    engine = GatedEngine(SimEngine(HARD))
    there = listen([stock_of(engine)])
    engine.gate.clear()
    engine.entered.clear()
    body = json.dumps({"puzzle": EASY, "depth": 256, "breadth": 16}).encode()
    wire = socket.create_connection(("127.0.0.1", there.port))
    wire.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    assert engine.entered.wait(60)
    wire.close()
    engine.gate.set()
    assert there.service.drive.drain(60.0)
    assert there.service.standing().queued_iterations == 0
    assert sum(len(orders) for orders in engine.slices) < 4096, "the search did not go on to the end"


def test_a_broken_engine_answers_503_without_details_and_is_unhealthy(listen: Callable[..., Endpoint]) -> None:
    engine = BreakingEngine(SimEngine(HARD), 3)
    there = listen([Stock(stock_of(engine).model, lambda: Motor(engine, 8))])
    assert ask(there, "GET", "/healthz", None)[0] == 200
    assert ask(there, "GET", "/readyz", None)[0] == 200
    for _ in range(2):
        status, headers, body = ask(there, body=json.dumps({"puzzle": EASY, "depth": 4096}).encode())
        assert status == 503
        assert int(headers["retry-after"]) >= 1
        assert "secret" not in json.dumps(body)
        assert "Traceback" not in json.dumps(body)
    assert ask(there, "GET", "/healthz", None)[0] == 503
    assert ask(there, "GET", "/readyz", None)[0] == 503


def test_a_stuck_engine_is_unhealthy(listen: Callable[..., Endpoint]) -> None:
    engine = GatedEngine(SimEngine())
    there = listen([stock_of(engine)], stall_s=0.2)
    engine.gate.clear()
    engine.entered.clear()
    asking = threading.Thread(target=lambda: ask(there))
    asking.start()
    assert engine.entered.wait(60)
    while ask(there, "GET", "/healthz", None)[0] == 200:
        pass
    engine.gate.set()
    asking.join()
    assert ask(there, "GET", "/healthz", None)[0] == 200


def test_a_server_that_stops_answers_what_it_has_taken(listen: Callable[..., Endpoint]) -> None:
    engine = GatedEngine(SimEngine())
    there = listen([stock_of(engine)])
    engine.gate.clear()
    engine.entered.clear()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(ask(there)[0]))
    asking.start()
    assert engine.entered.wait(60)
    there.server.should_exit = True
    while there.client().ready():
        pass
    engine.gate.set()
    asking.join()
    assert answers == [200]
    with pytest.raises(ServerError, match="nothing answers"):
        there.client().solve(EASY)
