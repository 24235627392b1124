from __future__ import annotations

from collections.abc import Iterator

import pytest
from verdict_builders import puzzles

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.policy import policy_from
from eqr_ray.sim import SimEngine
from eqr_ray.types import Puzzle


def test_puzzles_are_read_only_as_far_as_there_is_room() -> None:
    read = 0

    def stream() -> Iterator[Puzzle]:
        nonlocal read
        for puzzle in puzzles(300):
            read += 1
            yield puzzle

    run = Coordinator(policy_from("adaptive", depth=32, breadth=4), seed=0, open_limit=20)
    done = 0
    for _ in drive_local(run, SimEngine(), stream()):
        done += 1
        assert read <= run.counters().puzzles_done + 20
    assert (done, read) == (300, 300)
    assert run.replica_ids == ()


def test_no_puzzles_give_no_verdicts() -> None:
    run = Coordinator(policy_from(), seed=0)
    assert list(drive_local(run, SimEngine(), [])) == []


def test_the_driver_takes_only_a_coordinator_without_its_name() -> None:
    run = Coordinator(policy_from(), seed=0)
    run.join("local")
    with pytest.raises(ValueError, match="has joined already"):
        next(drive_local(run, SimEngine(), puzzles(1)))
