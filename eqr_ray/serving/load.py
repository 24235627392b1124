"""A load on an endpoint: requests at times of their own, whatever has become of the earlier ones (an open loop).

A latency counts from the moment at which the request was due, so a server that stalls is charged for everybody who would have come
meanwhile. Invariants, asserted in tests/serving/test_load.py: the same seed gives the same arrivals; every arrival ends as an answer, a
refusal or an error; goodput counts answers within the deadline only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from eqr_ray.client import Client, ServerError

MOST_OPEN = 512
"""Threads that wait for answers; more requests at once than these wait to be sent, which their latency shows."""
QUANTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests of one difficulty."""

    name: str
    share: float
    """Of all arrivals."""
    questions: Sequence[str]
    options: Mapping[str, object]
    """Fields of the request beside the puzzle."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request."""

    due_s: float
    """From the beginning."""
    kind: str
    question: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a request."""

    kind: str
    status: int
    """HTTP status; 0 when nothing answered."""
    latency_s: float
    """From when it was due."""
    engine_s: float = 0.0
    nfe: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """How the requests of one kind went."""

    n: int
    answered: int
    refused: int
    """429 and 503: back-pressure."""
    failed: int
    """Everything else that is no answer."""
    latency_s: dict[str, float | None]
    """Quantile -> seconds over the answered ones; None without any."""
    within_deadline: int
    goodput_per_s: float
    """Answers within the deadline, a second of the load."""
    nfe_mean: float | None


def arrivals(kinds: Sequence[Kind], rate_per_s: float, seconds: float, seed: int) -> list[Arrival]:
    """Return the requests of a Poisson process, each of a kind drawn by the shares."""
    draws = np.random.default_rng(seed)
    shares = np.array([kind.share for kind in kinds], float)
    due, found = 0.0, []
    while (due := due + float(draws.exponential(1 / rate_per_s))) < seconds:
        kind = kinds[int(draws.choice(len(kinds), p=shares / shares.sum()))]
        found.append(Arrival(due, kind.name, kind.questions[int(draws.integers(len(kind.questions)))]))
    return found


def ask(client: Client, kind: Kind, question: str, due: float) -> Ending:
    """Send one request and return its ending; `due` is on the monotonic clock."""
    try:
        answer = client.solve(question, **kind.options)
    except ServerError as error:
        return Ending(kind.name, error.status, time.monotonic() - due)
    took = time.monotonic() - due
    return Ending(kind.name, 200, took, answer["engine_s"], answer["verdict"]["nfe"])


def run_load(client: Client, kinds: Sequence[Kind], planned: Sequence[Arrival]) -> list[Ending]:
    """Send every request when it is due and return what became of them, in the order of the plan."""
    by_name = {kind.name: kind for kind in kinds}
    with ThreadPoolExecutor(min(MOST_OPEN, max(len(planned), 1)), "eqr-load") as threads:
        begun = time.monotonic()
        sent = []
        for arrival in planned:
            due = begun + arrival.due_s
            time.sleep(max(0.0, due - time.monotonic()))
            sent.append(threads.submit(ask, client, by_name[arrival.kind], arrival.question, due))
        return [one.result() for one in sent]


def one_by_one(client: Client, kind: Kind, n: int) -> list[Ending]:
    """Send requests of a kind each after the answer to the one before: what an unloaded endpoint takes."""
    questions = [kind.questions[number % len(kind.questions)] for number in range(n)]
    return [ask(client, kind, question, time.monotonic()) for question in questions]


def echoes(client: Client, n: int) -> list[float]:
    """Return the seconds of `n` answers that need no engine, through the same ingress."""
    took = []
    for _ in range(n):
        started = time.monotonic()
        client.models()
        took.append(time.monotonic() - started)
    return took


def account(endings: Sequence[Ending], seconds: float, deadline_s: float) -> Account:
    """Return how requests went."""
    answered = [ending for ending in endings if ending.status == 200]
    refused = sum(ending.status in (429, 503) for ending in endings)
    good = sum(ending.latency_s <= deadline_s for ending in answered)
    return Account(
        n=len(endings),
        answered=len(answered),
        refused=refused,
        failed=len(endings) - len(answered) - refused,
        latency_s={f"p{round(100 * q)}": quantile([e.latency_s for e in answered], q) for q in QUANTILES},
        within_deadline=good,
        goodput_per_s=good / seconds,
        nfe_mean=float(np.mean([ending.nfe for ending in answered])) if answered else None,
    )


def quantile(values: Sequence[float], q: float) -> float | None:
    """Return a quantile; None of nothing."""
    return float(np.quantile(values, q)) if len(values) else None
