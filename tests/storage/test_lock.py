from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest

from eqr_ray.storage import Held, Place, RunLock, read_lock
from eqr_ray.storage import lock as lock_module


@pytest.fixture(autouse=True)
def _short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "LEASE_S", 4.0)
    monkeypatch.setattr(lock_module, "POLL_S", 0.1)


def written_by(place: Place, **changes: object) -> None:
    """Leave the lock of another owner."""
    owner = {
        "token": "t", "host": "elsewhere", "machine": "another", "pid": 1, "born": "1", "since": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    place.write("lock.json", json.dumps({"owner": owner | changes, "beat": "", "note": {}}).encode())


def test_a_held_folder_is_refused_with_who_holds_it_and_free_afterwards(place: Place) -> None:
    with RunLock(place, note=lambda: {"done": 3}):
        state = read_lock(place)
        assert state is not None
        assert (state.note, state.is_free) == ({"done": 3}, False)
        with pytest.raises(Held, match=r"is being written by process \d+ on \S+ since .*; wait for it, stop it"):
            RunLock(place).__enter__()
    assert read_lock(place) is None


def test_a_living_owner_renews_its_lock_and_is_not_taken_over_by_who_waits(place: Place) -> None:
    with RunLock(place):
        first = place.versioned("lock.json")
        with pytest.raises(Held):
            RunLock(place, wait=True).__enter__()
        ends = time.monotonic() + 30
        while place.versioned("lock.json") == first:
            assert time.monotonic() < ends, "no heartbeat"
            time.sleep(0.1)


def test_a_silent_owner_elsewhere_is_waited_for_and_taken_over(place: Place) -> None:
    written_by(place)
    with pytest.raises(Held, match="process 1 on elsewhere"):
        RunLock(place).__enter__()
    with RunLock(place, wait=True):
        assert read_lock(place).owner.host != "elsewhere"  # type: ignore[union-attr]


def test_the_lock_of_a_dead_process_of_this_machine_is_free_at_once(place: Place) -> None:
    child = subprocess.run(
        [sys.executable, "-c", "from eqr_ray.storage.lock import *; print(json.dumps(asdict(this_process())))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    place.write("lock.json", json.dumps({"owner": json.loads(child.stdout)}).encode())
    assert read_lock(place).is_free  # type: ignore[union-attr]
    with RunLock(place):
        pass


def test_a_dead_owners_lock_is_taken_over_by_exactly_one(place: Place) -> None:
    written_by(place, machine=lock_module._machine(), born="not this one")
    gate, held = threading.Barrier(4), threading.Event()
    won: list[int] = []
    lost: list[int] = []

    def contend(number: int) -> None:
        gate.wait()
        try:
            with RunLock(place):
                won.append(number)
                held.wait(20)
        except Held:
            lost.append(number)

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + 20
    while len(won) + len(lost) < 4 and time.monotonic() < ends:
        time.sleep(0.05)
    held.set()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)


def test_an_owner_that_was_taken_over_learns_of_it_and_leaves_the_new_lock_alone(place: Place) -> None:
    with RunLock(place) as old:
        written_by(place)
        ends = time.monotonic() + 30
        while not old.lost:
            assert time.monotonic() < ends, "nobody noticed"
            time.sleep(0.1)
    assert read_lock(place).owner.host == "elsewhere"  # type: ignore[union-attr]


def test_a_damaged_lock_is_free(place: Place) -> None:
    place.write("lock.json", b"{")
    with RunLock(place):
        pass
