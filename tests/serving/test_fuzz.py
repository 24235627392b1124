"""Requests made from the endpoint's own OpenAPI description, right and wrong: no 5xx, nothing hangs, every refusal is well formed."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from endpoints import EASY, TOKEN, Endpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUESTIONS = [
    EASY,
    "." * 36,
    "." * 81,
    EASY[:-1],
    "#" * 36,
    "S G" + " " * 33,
    "1" * 36,
    "",
    "\x00" * 36,
    "\ud800" * 36,
    "٣" * 36,
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.sampled_from(QUESTIONS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that a property's schema allows, kept small so that a search ends soon."""
    if "anyOf" in schema:
        return st.one_of([values(one) for one in schema["anyOf"]])
    kind = schema.get("type")
    if kind == "integer":
        return st.integers(schema.get("minimum", 0), min(schema.get("maximum", 40), 40)) | st.just(2**31 - 1)
    if kind == "number":
        return st.floats(1e-3, 5.0)
    if kind == "string":
        return st.sampled_from(["sudoku6", "six", "adaptive", "fixed", "nine", *QUESTIONS])
    if kind == "array":
        return st.lists(st.sampled_from(QUESTIONS[:4]), max_size=5)
    return {"boolean": st.booleans(), "null": st.none()}.get(str(kind), ANYTHING)


def bodies(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return objects with the right fields and mostly right values, with a wrong or foreign one here and there."""
    fields = {name: values(its) for name, its in schema["properties"].items()}
    right = st.fixed_dictionaries({}, optional=fields)
    asked = "puzzles" if "puzzles" in fields else "puzzle"
    filled = right.map(lambda body: {asked: [EASY] if asked == "puzzles" else EASY, "depth": 8, "breadth": 2, **body})
    wrong = st.dictionaries(st.sampled_from([*fields, "foreign"]), ANYTHING, max_size=2)
    return st.tuples(filled, wrong).map(lambda pair: {**pair[0], **pair[1]}) | filled | ANYTHING


def send(there: Endpoint, method: str, path: str, body: bytes | None) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", there.port, timeout=60)
    connection.request(method, path, body, {"content-type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers.get("content-type", ""), content


def described(there: Endpoint) -> dict[str, Any]:
    return json.loads(send(there, "GET", "/openapi.json", None)[2])


@pytest.mark.parametrize("path", ["/v1/solve", "/v1/solve/batch", "/v1/solve/stream"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_makes_the_endpoint_fail(endpoint: Endpoint, path: str, data: st.DataObject) -> None:
    api = described(endpoint)
    operation = api["paths"][path]["post"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    body = data.draw(bodies(api["components"]["schemas"][reference.rsplit("/", 1)[-1]]))
    status, kind, content = send(endpoint, "POST", path, json.dumps(body).encode())
    assert str(status) in operation["responses"], f"status {status} is not described"
    assert status < 500, content
    if status >= 400:
        error = json.loads(content)["error"]
        assert set(error) == {"code", "message", "request_id"}
        assert "Traceback" not in error["message"]
    else:
        assert kind.startswith("text/event-stream" if path.endswith("stream") else "application/json")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS"]),
    st.sampled_from(
        [
            "/",
            "/v1",
            "/v1/",
            "/v1/solve",
            "/v1/models",
            "/page/",
            "/healthz",
            "/readyz",
            "/openapi.json",
            "/%00",
            "/%ff",
        ]
    ),
    st.binary(max_size=60),
)
def test_no_method_or_path_makes_the_endpoint_fail(endpoint: Endpoint, method: str, path: str, body: bytes) -> None:
    status, _, content = send(endpoint, method, path, body)
    assert status < 500, content


def test_the_description_names_every_refusal_and_the_token(listen: Callable[..., Endpoint], endpoint: Endpoint) -> None:
    assert "securitySchemes" not in described(endpoint)["components"]
    api = described(listen(tokens=(TOKEN,)))
    assert set(api["paths"]) == {
        "/v1/models",
        "/v1/solve",
        "/v1/solve/batch",
        "/v1/solve/stream",
        "/healthz",
        "/readyz",
    }
    assert api["components"]["securitySchemes"] == {"HTTPBearer": {"type": "http", "scheme": "bearer"}}
    for status in ("401", "413", "422", "429", "503"):
        told = api["paths"]["/v1/solve"]["post"]["responses"][status]
        assert told["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorResponse")
