"""Unit tests need neither a Ray cluster nor a GPU, and prove it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_ray_and_no_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse `ray.init` and fail a test that wakes CUDA; neither library is imported for it."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a unit test must not start Ray")

    if (ray := sys.modules.get("ray")) is not None and hasattr(ray, "init"):
        monkeypatch.setattr(ray, "init", refuse)
    before = _awake()
    yield
    woken = _awake() - before
    assert not woken, f"a unit test must not start {', '.join(sorted(woken))}"


def _awake() -> set[str]:
    ray, torch = sys.modules.get("ray"), sys.modules.get("torch")
    awake = set()
    if ray is not None and hasattr(ray, "is_initialized") and ray.is_initialized():
        awake.add("Ray")
    if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized():
        awake.add("CUDA")
    return awake
