"""What training steps saw, kept on the device until somebody asks: a step must not wait for the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eqr_ray.training.peers import Peers


@dataclass(frozen=True, slots=True, eq=False)
class StepReport:
    """Sums of one step of one worker, on its device; the properties read them."""

    values: Tensor
    """(7,) float32: loss, q loss, token accuracy, exact accuracy, rows ended, those of them right, their segments."""
    norm: Tensor
    """() gradient norm, the same on all workers."""

    @classmethod
    def of(cls, *, loss: Tensor, q_loss: Tensor, token_accuracy: Tensor, exact: Tensor, ended: Tensor,
           segments: Tensor, gradient_norm: Tensor) -> StepReport:  # fmt: skip
        """Gather what a step computed; `exact`, `ended` and `segments` are (rows,)."""
        parts = (
            loss, q_loss, token_accuracy, exact.float().mean(), ended.sum(), (exact & ended).sum(), (segments * ended).sum(),
        )  # fmt: skip
        return cls(torch.stack([part.float() for part in parts]), gradient_norm.detach())

    @property
    def loss(self) -> float:
        """Mean token loss."""
        return float(self.values[0])

    @property
    def finished(self) -> int:
        """Rows that ended in this step."""
        return int(self.values[4])


def means(reports: Sequence[StepReport], peers: Peers) -> dict[str, float | int | None]:
    """Return the averages of some steps over all workers; those over finished rows weigh each row alike, None where none ended."""
    total = torch.stack([report.values for report in reports]).mean(0)
    peers.average_([total])
    loss, q_loss, token, exact, ended, right, segments = total.tolist()
    norms = [norm for norm in torch.stack([report.norm for report in reports]).tolist() if math.isfinite(norm)]
    return {
        "loss": round(loss, 4),
        "q_loss": round(q_loss, 4),
        "token_accuracy": round(token, 4),
        "exact_accuracy": round(exact, 4),
        "gradient_norm": round(sum(norms) / len(norms), 4) if norms else None,
        "finished": round(ended * len(reports) * peers.size),
        "finished_exact": round(right / ended, 4) if ended else None,
        "segments": round(segments / ended, 4) if ended else None,
    }
