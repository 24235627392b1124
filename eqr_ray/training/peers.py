"""The workers that train one network together: each holds its part of the batch and all of the weights.

Invariants, asserted in tests/ray_local/test_training_team.py: one step of two workers is one step of a single worker up to rounding,
because every random draw is made for the whole batch and cut into parts.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Protocol

import torch
from torch import Tensor

TIMEOUT = timedelta(minutes=10)
"""How long a worker waits for the others before it takes them for lost; a compilation is the longest pause."""


class Peers(Protocol):
    """What a worker needs of the others."""

    rank: int
    size: int

    def gather(self, part: Tensor) -> Tensor:
        """Return the parts of all workers, (B / size, ...) each, as one (B, ...) tensor."""
        ...

    def average_(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their means over the workers."""
        ...


class NoPeers:
    """The only worker."""

    rank, size = 0, 1

    def gather(self, part: Tensor) -> Tensor:
        """Return the part, which is the whole."""
        return part

    def average_(self, tensors: list[Tensor]) -> None:
        """Do nothing."""


class TorchPeers:
    """Workers joined by torch.distributed: NCCL between GPUs, Gloo between CPUs."""

    def __init__(self, rank: int, size: int, meeting: str, device: torch.device) -> None:
        """`meeting` is the `tcp://host:port` at which worker 0 listens."""
        self.rank, self.size = rank, size
        if "//127." in meeting and (loop := [name for _, name in socket.if_nameindex() if name.startswith("lo")]):
            # Workers of one machine talk over its loopback interface; Gloo would take the one its host name leads to.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loop[0])
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, init_method=meeting, rank=rank, world_size=size, timeout=TIMEOUT)

    def gather(self, part: Tensor) -> Tensor:
        """Return the parts of all workers in the order of their ranks."""
        plain = part.contiguous()
        sent = plain.to(torch.uint8) if plain.dtype == torch.bool else plain
        parts = [torch.empty_like(sent) for _ in range(self.size)]
        torch.distributed.all_gather(parts, sent)
        return torch.cat(parts).to(part.dtype)

    def average_(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their means over the workers, in one message."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        first = 0
        for tensor in tensors:
            tensor.copy_(flat[first : first + tensor.numel()].view_as(tensor))
            first += tensor.numel()
