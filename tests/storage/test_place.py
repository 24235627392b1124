from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from eqr_ray.storage import Kind, Place
from eqr_ray.types import StorageError


def test_what_is_written_is_read_back_and_nothing_else_is_there(place: Place) -> None:
    assert (place.read("a.json"), place.names(), place.kind()) == (None, [], Kind.NOTHING)
    place.write("a.json", b"one")
    place.write("a.json", b"two")
    place.at("below").write("b.json", b"three")
    assert place.read("a.json") == b"two"
    assert place.at("below").read("b.json") == b"three"
    assert (place.names(), place.names(Kind.FOLDER)) == (["a.json"], ["below"])
    assert (place.kind("a.json"), place.kind("below"), place.kind("c")) == (Kind.FILE, Kind.FOLDER, Kind.NOTHING)
    place.remove("a.json")
    place.remove("a.json")
    assert place.names() == []


def test_a_file_is_created_once(place: Place) -> None:
    version = place.create("a", b"first")
    assert version
    assert place.create("a", b"second") is None
    seen = place.versioned("a")
    assert seen is not None
    assert (seen.content, seen.version) == (b"first", version)
    assert 0 <= seen.age_s < 60


def test_a_version_is_replaced_once(place: Place) -> None:
    first = place.create("a", b"first")
    assert first
    second = place.replace("a", b"second", first)
    assert second
    assert place.replace("a", b"third", first) is None
    assert place.replace("missing", b"x", first) is None
    assert place.read("a") == b"second"
    assert place.replace("a", b"third", second)


def race(act: Callable[[int], object], n: int = 8) -> list[int]:
    """Return which of n threads that act at once had a result."""
    gate, won = threading.Barrier(n), []

    def run(number: int) -> None:
        gate.wait()
        if act(number) is not None:
            won.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_of_many_that_create_or_replace_one_file_exactly_one_succeeds(place: Place) -> None:
    place.versioned("warm up")
    (winner,) = race(lambda number: place.create("a", b"%d" % number))
    seen = place.versioned("a")
    assert seen is not None
    assert seen.content == b"%d" % winner
    version = seen.version
    (winner,) = race(lambda number: place.replace("a", b"new %d" % number, version))
    assert place.read("a") == b"new %d" % winner


def test_a_link_opens_the_file(place: Place) -> None:
    place.write("report.html", b"<p>")
    assert urllib.request.urlopen(place.link("report.html", 60), timeout=30).read() == b"<p>"


def test_a_parquet_reader_can_seek(place: Place) -> None:
    place.write("a", b"0123456789")
    with place.open("a") as file:
        file.seek(4)
        assert bytes(file.read(3)) == b"456"
    with pytest.raises(FileNotFoundError):
        place.open("missing")


def test_an_address_that_is_none_is_one_sentence() -> None:
    with pytest.raises(StorageError, match=r"ftp://host/x cannot be opened .*; check the address"):
        Place("ftp://host/x").kind()


def test_a_bucket_that_is_not_there_is_named_at_once(s3: object) -> None:
    with pytest.raises(StorageError, match=r"s3://nowhere/x/a cannot be written .*bucket does not exist"):
        Place("s3://nowhere/x").write("a", b"")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/a cannot be written \(.*\); check the folder"):
        Place(tmp_path / "file").write("a", b"")


def test_options_of_a_uri_hold_below_it() -> None:
    place = Place("s3://bucket/run/?region=eu-west-1").at("verdicts/")
    assert place.uri == "s3://bucket/run/verdicts?region=eu-west-1"
    assert place.address("part") == "s3://bucket/run/verdicts/part"
