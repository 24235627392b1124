from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("moto", reason="no moto in this environment")
pytest.importorskip("flask", reason="no flask in this environment")

from s3_server import BUCKET, S3Server, served

from eqr_ray.storage import Place, retrying

COUNT = itertools.count()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with served() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server, well behaved at first; waits are short."""
    monkeypatch.setattr(retrying, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(retrying, "LONGEST_WAIT_S", 0.05)
    s3_server.refuse = lambda method, path: None
    yield s3_server
    s3_server.refuse = lambda method, path: None


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server) -> Place:
    """An empty folder on a disk, and one on S3."""
    return Place(tmp_path / "folder") if request.param == "disk" else Place(f"s3://{BUCKET}/folder-{next(COUNT)}")


@pytest.fixture
def new_place(s3: S3Server) -> Callable[[], Place]:
    return lambda: Place(f"s3://{BUCKET}/folder-{next(COUNT)}")
