"""Files of torch.save: tensors as torch reads them, and one sentence for everything that is no such file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from eqr_ray.model.torch_archive import TorchArchive, tensor_named
from eqr_ray.types import InputError


def read(path: Path, name: str) -> torch.Tensor:
    archive = TorchArchive(path)
    ref = tensor_named(archive.values[name])
    assert ref is not None
    return archive.tensor(ref)


def rewritten(source: Path, target: Path, changes: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Copy an archive with the entries whose name ends in a key replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for info in old.infolist():
            found = [content for ending, content in changes.items() if info.filename.endswith(ending)]
            new.writestr(info.filename, found[0] if found else old.read(info))
    return target


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save({"w": torch.arange(6.0).view(2, 3), "n": 3}, tmp_path / "saved.pth")
    return tmp_path / "saved.pth"


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8]
)
def test_tensors_equal_those_that_torch_reads(dtype: torch.dtype, tmp_path: Path) -> None:
    whole = (torch.arange(24) * 3).view(4, 6).to(dtype)
    made = {
        "plain": whole,
        "part": whole[1:3, 2:],
        "turned": whole.t(),
        "scalar": whole[2, 2],
        "empty": whole[:0],
        "wide": whole[::2, ::3],
    }
    if dtype.is_floating_point:
        made["parameter"] = torch.nn.Parameter(whole)
    torch.save(made, tmp_path / "t.pth")
    for name, tensor in made.items():
        found = read(tmp_path / "t.pth", name)
        assert found.dtype == dtype
        assert torch.equal(found, tensor)


def test_plain_values_are_no_tensors(saved: Path) -> None:
    archive = TorchArchive(saved)
    assert archive.values["n"] == 3
    assert tensor_named(archive.values["n"]) is None


def test_a_file_that_is_missing_empty_text_or_cut_off_is_refused_in_one_sentence(saved: Path, tmp_path: Path) -> None:
    content = saved.read_bytes()
    cases = {
        "empty": b"",
        "text": b"hello\n",
        "cut": content[: len(content) // 2],
        "old": b"\x80\x02\x8a\nl\xfc",
        "head": content[:30],
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
    for name in [*cases, "missing"]:
        with pytest.raises(InputError, match=rf"{name}.*fetch it again|{name}.*name a published") as caught:
            TorchArchive(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_folder_and_an_ordinary_zip_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        TorchArchive(tmp_path)
    with zipfile.ZipFile(tmp_path / "z.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"0 data\.pkl"):
        TorchArchive(tmp_path / "z.pth")


def test_a_zip_bomb_is_refused_unopened(saved: Path, tmp_path: Path) -> None:
    bomb = rewritten(saved, tmp_path / "b.pth", {"data.pkl": b"\x80\x02" + b"0" * 50_000_000}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1_000_000
    with pytest.raises(InputError, match="compressed"):
        TorchArchive(bomb)


def test_a_storage_that_is_compressed_short_or_missing_is_refused(saved: Path, tmp_path: Path) -> None:
    short = rewritten(saved, tmp_path / "s.pth", {"data/0": b"\0" * 20})
    with pytest.raises(InputError, match=r"shape \(2, 3\) needs more than the 5 numbers"):
        read(short, "w")
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "m.pth", "w") as new:
        for info in old.infolist():
            if not info.filename.endswith("data/0"):
                new.writestr(info.filename, old.read(info))
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "m.pth", "w")


def test_a_tensor_that_claims_more_than_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(1000, 1000)}, tmp_path / "e.pth")
    with pytest.raises(InputError, match="more than the 1 numbers"):
        read(tmp_path / "e.pth", "w")


def test_a_flipped_byte_in_a_storage_is_noticed(saved: Path, tmp_path: Path) -> None:
    content = bytearray(saved.read_bytes())
    at = content.index(torch.arange(6.0).numpy().tobytes())
    content[at + 5] ^= 1
    (tmp_path / "f.pth").write_bytes(content)
    with pytest.raises(InputError, match="CRC"):
        read(tmp_path / "f.pth", "w")


def test_a_pickle_that_is_no_pickle_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a readable checkpoint"):
        TorchArchive(rewritten(saved, tmp_path / "p.pth", {"data.pkl": b"\x80\x02}q"}))


def test_a_big_endian_file_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="big-endian"):
        TorchArchive(rewritten(saved, tmp_path / "g.pth", {"byteorder": b"big"}))
