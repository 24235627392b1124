from __future__ import annotations

import http.client
import time
from collections.abc import Callable

import pytest
from endpoints import EASY, TOKEN, Endpoint
from prometheus_client.parser import text_string_to_metric_families

from eqr_ray.client import ServerError
from eqr_ray.serving.metrics import MEASURES, PATHS


def scrape(there: Endpoint, token: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", there.port, timeout=60)
    connection.request("GET", "/metrics", headers={} if token is None else {"authorization": f"Bearer {token}"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def values(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    families = list(text_string_to_metric_families(text))
    return {
        (s.name, tuple(v for k, v in sorted(s.labels.items()) if k != "le")): s.value
        for f in families
        for s in f.samples
    }


def test_a_scrape_tells_what_was_asked_and_computed(listen: Callable[..., Endpoint]) -> None:
    there = listen()
    before = values(scrape(there)[1])
    nfe = there.client().solve(EASY, policy="fixed", depth=12, breadth=4)["verdict"]["nfe"]
    with pytest.raises(ServerError):
        there.client().solve(EASY[:-1])
    for number in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", there.port, timeout=60)
        connection.request("GET", f"/no-such-path-{number}")
        connection.getresponse().read()
        connection.close()
    # A request is counted when its answer is out.
    while (after := values(scrape(there)[1])).get(("eqr_request_seconds_count", ("other", "404")), 0) < 3:
        time.sleep(0.01)
    assert {measure.name for measure in MEASURES} <= {name for name, _ in after}
    assert after["eqr_iterations_total", ()] - before["eqr_iterations_total", ()] >= nfe
    assert after["eqr_slices_total", ()] > before["eqr_slices_total", ()]
    assert (after["eqr_ready", ()], after["eqr_queued_iterations", ()], after["eqr_open_requests", ()]) == (1, 0, 0)
    assert after["eqr_request_seconds_count", ("/v1/solve", "200")] == 1
    assert after["eqr_request_seconds_count", ("/v1/solve", "422")] == 1
    assert after["eqr_request_seconds_count", ("other", "404")] == 3
    assert {labels[0] for name, labels in after if name == "eqr_request_seconds_count"} <= {*PATHS, "other"}


def test_a_scrape_of_a_guarded_endpoint_needs_a_token(listen: Callable[..., Endpoint]) -> None:
    there = listen(tokens=(TOKEN,))
    assert scrape(there)[0] == 401
    assert scrape(there, TOKEN)[0] == 200
