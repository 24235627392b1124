"""Which arithmetic a device is fast in."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from eqr_ray.types import InputError

CPU_FLAGS = Path("/proc/cpuinfo")
"""Where Linux tells the instructions of its processors; elsewhere float32 is the safe choice."""


def usable_device(name: str) -> torch.device:
    """Return the device of a name that this machine can compute on; InputError for another."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as problem:  # whichever the backend raises
        why = str(problem).partition("\n")[0][:120]
        raise InputError(
            f"device must be one that this machine has, such as cpu, cuda or mps, got {name[:40]!r} ({why})"
        ) from None
    return device


def arithmetic(wanted: str, device: torch.device) -> torch.dtype:
    """Return the dtype of forward and backward passes: the wanted one, or for `auto` bfloat16 where the device computes in it.

    A CPU without bfloat16 instructions emulates them, about ten times slower than float32.
    """
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and CPU_FLAGS.is_file():
        names = set(re.findall(r"\w+", CPU_FLAGS.read_text()))
        return torch.bfloat16 if names & {"avx512_bf16", "amx_bf16"} else torch.float32
    return torch.float32
