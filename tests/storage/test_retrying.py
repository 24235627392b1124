from __future__ import annotations

from collections.abc import Callable

import pytest
from s3_server import S3Server

from eqr_ray.coordinator import Ledger
from eqr_ray.puzzles.opening import read_text
from eqr_ray.storage import RETRIES, Place, retrying
from eqr_ray.types import StorageError


def test_what_the_server_refuses_for_a_moment_is_asked_again_and_counted(
    s3: S3Server, new_place: Callable[[], Place]
) -> None:
    place = new_place()
    before = RETRIES.total
    s3.refuse_share(2)
    version = place.create("a", b"one")
    assert version
    assert place.replace("a", b"two", version)
    assert place.versioned("a").content == b"two"  # type: ignore[union-attr]
    assert RETRIES.total - before >= 2
    assert "SlowDown" in str(RETRIES.reasons)


def test_what_stays_refused_is_one_sentence_after_all_tries(
    s3: S3Server, new_place: Callable[[], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrying, "TRIES", 3)
    place = new_place()
    s3.refuse = lambda method, path: 503
    before = s3.n_refused
    with pytest.raises(StorageError, match=r"/a cannot be written \(.*SlowDown.*\); check"):
        place.write("a", b"")
    assert s3.n_refused - before == 3


def test_what_cannot_succeed_is_not_tried_again(s3: S3Server, new_place: Callable[[], Place]) -> None:
    place = new_place()
    s3.refuse = lambda method, path: 403
    before = (RETRIES.total, s3.n_refused)
    with pytest.raises(StorageError, match="cannot be written"):
        place.write("a", b"")
    assert (RETRIES.total, s3.n_refused) == (before[0], before[1] + 1)


def test_a_write_that_arrived_and_was_not_answered_is_known_as_ones_own(
    s3: S3Server, new_place: Callable[[], Place]
) -> None:
    place = new_place()
    other = Place(place.uri)
    first = iter([True])

    def arrive_and_break(method: str, path: str) -> int | None:
        if method == "PUT" and next(first, False):
            other.create("a", b"mine")
            return 500
        return None

    s3.refuse = arrive_and_break
    version = place.create("a", b"mine")
    assert version
    assert place.replace("a", b"next", version)


def test_a_ledger_on_a_server_that_refuses_every_third_request_is_whole(
    s3: S3Server, new_place: Callable[[], Place]
) -> None:
    import pyarrow as pa

    schema = pa.schema([("puzzle_id", pa.string())])
    place = new_place()
    s3.refuse_share(3)
    ledger = Ledger(place.uri, schema)
    for number in range(6):
        ledger.append([{"puzzle_id": f"p{number}"}])
        ledger.flush()
    assert Ledger(place.uri, schema).finished_ids() == {f"p{number}" for number in range(6)}


def test_a_text_file_that_breaks_off_is_read_on_from_there(s3: S3Server, new_place: Callable[[], Place]) -> None:
    place = new_place()
    lines = [f"line {number} " + "x" * 80 for number in range(20_000)]
    place.write("puzzles.txt", "\n".join(lines).encode())
    s3.refuse_share(2)
    assert list(read_text(f"{place.uri}/puzzles.txt")) == lines
