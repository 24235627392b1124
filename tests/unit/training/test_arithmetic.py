"""`dtype: auto` takes bfloat16 only where the device computes in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eqr_ray.training import arithmetic


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [("sse2 avx2 avx512f", torch.float32), ("avx2 avx512_bf16", torch.bfloat16), ("amx_bf16", torch.bfloat16)],
)
def test_auto_follows_the_instructions_of_the_processor(
    flags: str, chosen: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "CPU_FLAGS", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
    assert arithmetic.arithmetic("auto", torch.device("cpu")) == chosen


def test_where_nothing_is_told_and_where_it_is_asked_for() -> None:
    assert arithmetic.arithmetic("auto", torch.device("mps")) == torch.float32
    assert arithmetic.arithmetic("bfloat16", torch.device("cpu")) == torch.bfloat16
