from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from s3_server import S3Server

from eqr_ray.storage import Held, Place, mirrored
from eqr_ray.storage import lock as lock_module
from eqr_ray.storage.mirror import Mirror


def test_a_local_folder_is_used_as_it_is(tmp_path: Path) -> None:
    with mirrored(str(tmp_path), resume=False) as folder:
        assert folder == str(tmp_path)


def test_work_goes_on_where_another_machine_left_it(new_place: Callable[[], Place]) -> None:
    place = new_place()
    with mirrored(place.uri, resume=False) as folder:
        Path(folder, "study.journal").write_text("one\n")
        Path(folder, "sub").mkdir()
        Path(folder, "sub", "a").write_text("a")
        Path(folder, ".partial").write_text("half")
    assert not Path(folder).exists()
    with mirrored(place.uri, resume=True) as again:
        assert sorted(file.name for file in Path(again).rglob("*") if file.is_file()) == ["a", "study.journal"]
        with Path(again, "study.journal").open("a") as journal:
            journal.write("two\n")
        shutil.rmtree(Path(again, "sub"))
    assert place.read("study.journal") == b"one\ntwo\n"
    assert place.at("sub").names() == []
    assert place.read("lock.json") is None


def test_one_program_at_a_time_mirrors_a_folder(
    new_place: Callable[[], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "LEASE_S", 4.0)
    place = new_place()
    with mirrored(place.uri, resume=False), pytest.raises(Held):
        mirrored(place.uri, resume=False).__enter__()


def test_a_pointer_arrives_after_what_it_points_to(
    new_place: Callable[[], Place], s3: S3Server, tmp_path: Path
) -> None:
    place, written = new_place(), []

    def watch(method: str, path: str) -> None:
        if method == "PUT":
            written.append(path.rsplit("/", 1)[-1])

    mirror = Mirror(tmp_path, place, last="latest")
    for step in ("1", "2"):
        for old in tmp_path.glob("state-*"):
            shutil.rmtree(old)
        (tmp_path / f"state-{step}").mkdir()
        (tmp_path / f"state-{step}" / "weights").write_text(step)
        (tmp_path / "latest").write_text(f"state-{step}")
        s3.refuse = watch  # type: ignore[assignment]
        mirror.send()
        mirror.send()
    assert written == ["weights", "latest", "weights", "latest"]
    assert place.read("latest") == b"state-2"
    assert place.at("state-2").read("weights") == b"2"
    assert place.at("state-1").names() == []
