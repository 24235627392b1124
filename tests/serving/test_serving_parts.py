from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from endpoints import TOKEN
from hypothesis import given
from hypothesis import strategies as st

from eqr_ray.coordinator import Coordinator
from eqr_ray.policy import policy_from
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.serving.guard import Caller, Guard, Rates, Refusal, digest, read_tokens
from eqr_ray.serving.merging import Part, merge, split
from eqr_ray.serving.scaling import QueuedIterations, replicas_wanted
from eqr_ray.serving.settings import is_loopback, load_serve_config
from eqr_ray.serving.shares import shares
from eqr_ray.sim import SimEngine
from eqr_ray.types import InputError, Slice, SliceResult

# -- shares ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(1, 300))
def test_shares_are_even_and_fill_the_slice(n_requests: int, n_rows: int) -> None:
    given_out = shares(n_requests, n_rows)
    assert len(given_out) == n_requests
    assert sum(given_out) == (n_rows if n_requests else 0)
    assert not given_out or max(given_out) - min(given_out) <= 1
    assert given_out == sorted(given_out, reverse=True)


# -- merging -----------------------------------------------------------------------------------------------------------


def part(serial: int, policy: str, n_puzzles: int, seed: int) -> tuple[Part, Coordinator]:
    run = Coordinator(policy_from(policy, depth=16, breadth=3), seed)
    run.join("here")
    run.submit([record.puzzle for record in read_puzzles(str(demo_path("sudoku6")), limit=n_puzzles)])
    orders = run.next_slice("here")
    assert orders is not None
    return Part(serial, orders), run


def same(one: SliceResult, other: SliceResult) -> None:
    for column in one.trajectories.__slots__:
        assert np.array_equal(getattr(one.trajectories, column), getattr(other.trajectories, column))
    for key in one.trajectories.answer_key.tolist():
        assert np.array_equal(one.answers[key], other.answers[key])


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_merged_slice_does_to_each_row_what_its_own_slice_would(shuffled: bool) -> None:
    parts = [part(1, "adaptive", 4, 0)[0], part(2, "fixed", 2, 0)[0], part(9, "adaptive", 3, 7)[0]]
    merged = merge(5, "here", parts)
    assert len(merged.halts) == 2
    assert len(set(merged.puzzle.tolist())) == 9
    result = SimEngine().run(merged)
    if shuffled:
        order = np.random.default_rng(0).permutation(len(merged))
        result = SliceResult(5, "here", result.trajectories.take(order), result.answers, result.nfe_computed, 0.0)
    for one, own in zip(parts, split(merged, parts, result), strict=True):
        same(SimEngine().run(one.orders), own)


def test_a_report_of_other_rows_is_refused() -> None:
    parts = [part(1, "adaptive", 4, 0)[0]]
    merged = merge(0, "here", parts)
    result = SimEngine().run(merged)
    short = SliceResult(0, "here", result.trajectories.take(slice(0, 2)), result.answers, 0, 0.0)
    with pytest.raises(ValueError, match="one row for each"):
        split(merged, parts, short)


def test_retired_puzzles_leave_nothing_in_the_engine() -> None:
    engine = SimEngine()
    one, run = part(3, "fixed", 4, 0)
    merged = merge(0, "here", [one])
    run.on_result(split(merged, [one], engine.run(merged))[0])
    assert engine.n_puzzles == 4
    other, _ = part(4, "fixed", 1, 0)
    last: Slice = merge(1, "here", [other], retired=merged.puzzle.tolist())
    engine.run(last)
    assert engine.n_puzzles == 1


# -- guard -------------------------------------------------------------------------------------------------------------


def test_only_a_known_token_is_let_in() -> None:
    guard = Guard([digest(TOKEN)])
    assert isinstance(guard.identify(f"Bearer {TOKEN}", "10.0.0.9"), Caller)
    assert isinstance(guard.identify(f"bearer  {TOKEN}", None), Caller)
    for header in (None, "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ", "Bearer \udcff"):
        refusal = guard.identify(header, "127.0.0.1")
        assert isinstance(refusal, Refusal)
        assert refusal.status == 401


def test_without_tokens_only_this_machine_is_answered() -> None:
    guard = Guard([])
    assert isinstance(guard.identify(None, "127.0.0.1"), Caller)
    assert isinstance(guard.identify(None, "::1"), Caller)
    refusal = guard.identify(None, "192.168.1.7")
    assert isinstance(refusal, Refusal)
    assert refusal.status == 403


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("127.0.0.1:8000", True), ("localhost", True), ("[::1]:80", True), ("[::1]", True),
        ("evil.example:8000", False), ("", False), (None, False), ("localhost.evil.example", False),
    ],
)  # fmt: skip
def test_without_tokens_a_foreign_host_name_is_refused(header: str | None, allowed: bool) -> None:
    assert Guard([]).host_allowed(header) is allowed
    assert Guard([digest(TOKEN)]).host_allowed(header)
    assert Guard([digest(TOKEN)], ["puzzles.example"]).host_allowed("puzzles.example:443")
    assert not Guard([digest(TOKEN)], ["puzzles.example"]).host_allowed("evil.example")


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 3)), max_size=30))
def test_a_client_that_waits_as_told_is_let_in_and_none_is_faster_than_its_rate(asks: list[tuple[int, float]]) -> None:
    rates, now, taken = Rates(per_s=2.0, burst=8), 100.0, 0.0
    for n_puzzles, pause in asks:
        now += pause
        wait = rates.take("a", n_puzzles, now)
        if wait is not None:
            now += wait
            assert rates.take("a", n_puzzles, now) is None
        taken += min(n_puzzles, 8)
        assert taken <= 8 + 2.0 * (now - 100.0) + 1e-6


def test_clients_have_buckets_of_their_own() -> None:
    rates = Rates(per_s=1.0, burst=2)
    assert rates.take("a", 2, 0.0) is None
    assert rates.take("a", 1, 0.0) == pytest.approx(1.0)
    assert rates.take("b", 2, 0.0) is None


def test_tokens_come_from_file_and_environment(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n\n")
    monkeypatch.setenv("EQR_SERVE_TOKENS", "another-token-long-enough")
    config = load_serve_config(None, (), {"token_file": str(file), "host": "0.0.0.0"})
    assert set(read_tokens(config)) == {digest(TOKEN), digest("another-token-long-enough")}


@pytest.mark.parametrize(
    ("options", "text", "rule"),
    [
        ({"host": "0.0.0.0"}, None, "needs a token"),
        ({"host": "puzzles.example"}, None, "needs a token"),
        ({}, "short\n", "line 1: a token has at least 16 characters, got 5"),
        ({}, "\n", "at least one token"),
        ({"token_file": "nowhere"}, None, "cannot be read"),
    ],
)
def test_an_endpoint_that_would_be_open_is_refused(
    tmp_path, options: dict[str, str], text: str | None, rule: str
) -> None:
    if text is not None:
        (tmp_path / "tokens").write_text(text)
        options = {**options, "token_file": str(tmp_path / "tokens")}
    with pytest.raises(InputError, match=rule):
        read_tokens(load_serve_config(None, (), options))


# -- settings and scaling ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        (["limits.deadlines=3"], "did you mean `limits.deadline"),
        (["prot=80"], "did you mean `port`"),
        (["port=70000"], "port must be at most 65535"),
        (["scaling.min_replicas=3"], "max_replicas must be at least min_replicas = 3"),
        (["limits.deadline_s=400"], "deadline_s must be at most max_deadline_s"),
        (["limits.rate_per_s=0"], "greater than 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_in_a_sentence(overrides: list[str], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        load_serve_config(None, overrides)


def test_only_addresses_of_this_machine_are_loopback() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")] == [True] * 5
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.example", ""))


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**6))
def test_more_work_never_asks_for_fewer_replicas(one: int, other: int, per_replica: int) -> None:
    low, high = sorted((one, other))
    assert 1 <= replicas_wanted(low, per_replica, 1, 40) <= replicas_wanted(high, per_replica, 1, 40) <= 40


def test_the_scaling_policy_adds_up_what_replicas_report() -> None:
    @dataclass
    class Reported:
        aggregated_metrics: dict[str, dict[str, float]]
        capacity_adjusted_min_replicas: int = 1
        capacity_adjusted_max_replicas: int = 8

    both = {"queued_iterations": {"a": 900.0, "b": 1200.0}, "other": {"a": 1e9}}
    assert QueuedIterations(500)(Reported(both)) == (5, {})
    assert QueuedIterations(500)(Reported({})) == (1, {})
