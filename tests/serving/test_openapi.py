"""Schemathesis on the endpoint's OpenAPI description: no 5xx, nothing outside the description, nothing hangs.

A small search by default; `EQR_FUZZ_EXAMPLES=500 pytest tests/serving/test_openapi.py` searches longer.
"""

from __future__ import annotations

import os

import pytest
from endpoints import TOKEN, listening, sim_stock
from hypothesis import HealthCheck, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)  # fmt: skip

EXAMPLES = int(os.environ.get("EQR_FUZZ_EXAMPLES", "8"))
ROUTES = [
    ("post", "/v1/solve"), ("post", "/v1/solve/batch"), ("post", "/v1/solve/stream"), ("get", "/v1/models"), ("get", "/healthz"),
    ("get", "/readyz"),
]  # fmt: skip
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, ignored_auth,
]  # fmt: skip


@pytest.fixture(scope="module")
def described():
    """A guarded endpoint whose requests end soon."""
    limits = {
        "limits.depth": 128,
        "limits.breadth": 8,
        "limits.nfe": 256,
        "limits.deadline_s": 5.0,
        "limits.max_deadline_s": 5.0,
    }
    with listening(sim_stock(), (TOKEN,), **limits, default_policy="economy") as there:
        yield schemathesis.openapi.from_url(f"{there.url}/openapi.json")


POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE


# What takes no input cannot be asked wrongly.
@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [(*route, POSITIVE) for route in ROUTES] + [(*route, NEGATIVE) for route in ROUTES if "/v1" in route[1]],
    ids=str,
)
def test_every_answer_is_as_described(described, method: str, path: str, mode: schemathesis.GenerationMode) -> None:
    operation = described[path][method]
    headers = {"Authorization": f"Bearer {TOKEN}"}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=EXAMPLES < 50,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def search(case: schemathesis.Case) -> None:
        response = case.call(headers=headers, timeout=60)
        case.validate_response(response, checks=CHECKS, headers=headers)

    search()


def test_every_route_of_the_description_is_searched(described) -> None:
    assert {(method, path) for path in described for method in described[path]} == set(ROUTES)
