"""Which arithmetic a device is fast in."""

from __future__ import annotations

import re
from pathlib import Path

import torch

CPU_FLAGS = Path("/proc/cpuinfo")
"""Where Linux tells the instructions of its processors; elsewhere float32 is the safe choice."""


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
