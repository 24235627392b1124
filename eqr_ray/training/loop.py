"""One training step and the state it advances.

Segmented online training (arXiv 2605.21488 section 4): every segment is a loss, an optimizer step and a detached carry; a row is
replaced by a fresh puzzle when the q head halts it or its segments are used up. Invariants, asserted in tests/unit/training: a step is
a function of (settings, state); a state saved and loaded goes on bit for bit (CPU, float32).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eqr_ray.model.checkpoint import load
from eqr_ray.model.layers import truncated_normal_
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.training.data import Sampler
from eqr_ray.training.settings import TrainSettings
from eqr_ray.types import InputError


@dataclass(slots=True, eq=False)
class Carry:
    """The rows in training: latents that go on from segment to segment, and their puzzles."""

    z: Tensor
    """(B, K, T, d) float32"""
    question: Tensor
    """(B, S) uint8"""
    answer: Tensor
    """(B, S) uint8"""
    segments: Tensor
    """(B,) int64, segments done; `limit` on a row that must be replaced before the next step."""
    least: Tensor
    """(B,) int64, segments that the row must run before the q head may end it."""
    halted: Tensor
    """(B,) bool, rows to replace before the next step."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step saw; averages over the batch."""

    loss: float
    q_loss: float
    token_accuracy: float
    exact_accuracy: float
    """Share of the rows of this step whose answer is right, whatever their segment."""
    finished: int
    """Rows that ended in this step."""
    finished_exact: float
    """Share of those that ended right; NaN when none ended."""
    segments: float
    """Mean segments of the rows that ended; NaN when none ended."""
    gradient_norm: float


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Return the rate of a step (from 0): linear warm-up, then a cosine to `lr_end` at the last step."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.lr_end + (settings.lr - settings.lr_end) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def token_loss(logits: Tensor, answer: Tensor, kind: str) -> Tensor:
    """Return the (N,) mean cross-entropy over the tokens of each puzzle; stablemax as in arXiv 2501.04697."""
    target = answer.long()
    if kind == "softmax":
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape).mean(1)
    logits = logits.double()
    positive = torch.where(logits < 0, 1 / (1 - logits.clamp(max=0)), logits + 1)
    chosen = positive.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return (positive.sum(-1).log() - chosen.log()).mean(1).float()


def parameter_groups(model: EquilibriumReasoner, weight_decay: float) -> list[dict[str, object]]:
    """Return AdamW groups: matrices decay; biases, gains and embeddings of positions do not."""
    decayed = [
        p for name, p in model.named_parameters() if p.ndim >= 2 and "positions" not in name and "unit_gain" not in name
    ]
    chosen = {id(p) for p in decayed}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


class Trainer:
    """Model, optimizer, moving average and carry; `step` advances them by one segment."""

    def __init__(self, settings: TrainSettings, device: str = "cpu", sampler: Sampler | None = None) -> None:
        self.settings, self.device = settings, torch.device(device)
        torch.manual_seed(settings.seed)
        self.spec = settings.network.spec(settings.task)
        self.model = EquilibriumReasoner(self.spec).to(self.device)
        if settings.start_from:
            found = load(settings.start_from)
            if found.spec != self.spec:
                raise InputError(
                    f"start_from: checkpoint {found.name} has another network than the settings; make them agree"
                )
            self.model.load_state_dict(found.model.state_dict())
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, settings.weight_decay), lr=settings.lr, betas=settings.betas, fused=True
        )
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.sampler = sampler or Sampler(
            settings.sources, settings.task, settings.augment, settings.reveal, settings.seed
        )
        self.generator = torch.Generator(self.device).manual_seed(settings.seed + 1)
        self.steps_done = 0
        self.drawn = 0
        b, s = settings.batch, self.spec.cells
        cells = torch.zeros(b, s, dtype=torch.uint8, device=self.device)
        self.carry = Carry(
            z=torch.zeros(b, self.spec.latents, self.spec.tokens, self.spec.hidden, device=self.device),
            question=cells, answer=cells.clone(),
            segments=torch.zeros(b, dtype=torch.int64, device=self.device),
            least=torch.zeros(b, dtype=torch.int64, device=self.device),
            halted=torch.ones(b, dtype=torch.bool, device=self.device),
        )  # fmt: skip

    def _refill(self) -> None:
        carry = self.carry
        rows = carry.halted.nonzero().squeeze(1)
        n = len(rows)
        if not n:
            return
        fresh = self.sampler.draw(n, self.drawn, self.steps_done / self.settings.steps)
        self.drawn += n
        carry.question[rows] = torch.from_numpy(fresh.question).to(self.device)
        carry.answer[rows] = torch.from_numpy(fresh.answer).to(self.device)
        carry.z[rows] = self.model.start(
            n, lambda shape: truncated_normal_(torch.empty(shape, device=self.device), 1.0, self.generator)
        )
        carry.segments[rows] = 0
        limit = self.settings.segments
        least = (
            torch.randint(2, limit + 1, (n,), device=self.device, generator=self.generator)
            if limit > 1
            else torch.ones_like(rows)
        )
        explores = torch.rand(n, device=self.device, generator=self.generator) < self.settings.halt_exploration
        carry.least[rows] = torch.where(explores, least, torch.ones_like(least))

    def _noise(self, site: int) -> Tensor:
        shape = (self.settings.batch, self.spec.tokens, self.spec.hidden)
        return torch.randn(shape, device=self.device, generator=self.generator)

    def _iterations(self) -> Iterator[tuple[Tensor, Tensor, bool]]:
        """Yield (z, q_halt source logits, supervised) after every iteration of the segment."""
        settings, z = self.settings, self.carry.z
        x = self.model.embed(self.carry.question)
        for i in range(settings.segment_iterations):
            z = self.model.iterate(z, x, noise=self._noise, grad_cycles=settings.grad_cycles)
            supervised = settings.supervise == "all" or i == settings.segment_iterations - 1
            yield z, self.model.logits(z) if supervised else z, supervised

    def step(self) -> StepReport:
        """Run one segment on the whole batch."""
        settings, carry = self.settings, self.carry
        self._refill()
        losses, q_losses = [], []
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.dtype == "bfloat16"):
            for state, logits, supervised in self._iterations():
                z = state
                if not supervised:
                    continue
                right = logits.argmax(-1) == carry.answer
                exact = right.all(1)
                q = self.model.q_halt(z)
                losses.append(token_loss(logits, carry.answer, settings.loss).mean())
                q_losses.append(F.binary_cross_entropy_with_logits(q, exact.float()))
            loss, q_loss = torch.stack(losses).mean(), torch.stack(q_losses).mean()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss + settings.q_weight * q_loss)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.steps_done)
        self.optimizer.step()
        self._update_average()
        carry.z = z.detach().float()
        carry.segments += 1
        carry.halted = carry.segments >= settings.segments
        if settings.act:
            carry.halted |= (q.detach() > 0) & (carry.segments >= carry.least)
        self.steps_done += 1
        ended = carry.halted
        n = int(ended.sum())
        return StepReport(
            loss=float(loss.detach()), q_loss=float(q_loss.detach()), token_accuracy=float(right.float().mean()),
            exact_accuracy=float(exact.float().mean()), finished=n,
            finished_exact=float(exact[ended].float().mean()) if n else math.nan,
            segments=float(carry.segments[ended].float().mean()) if n else math.nan,
            gradient_norm=float(norm),
        )  # fmt: skip

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average follows the weights; it reaches its full memory after about 1/(1 - ema) steps.
        keep = min(self.settings.ema, (1 + self.steps_done) / (10 + self.steps_done))
        names = list(self.average)
        weights = dict(self.model.named_parameters())
        torch._foreach_lerp_(
            [self.average[name] for name in names], [weights[name].detach() for name in names], 1 - keep
        )

    def averaged_model(self) -> EquilibriumReasoner:
        """Return a copy of the network with the moving average of its weights."""
        model = EquilibriumReasoner(self.spec).to(self.device)
        model.load_state_dict({**self.model.state_dict(), **self.average})
        return model.eval().requires_grad_(False)

    def random_state(self) -> np.ndarray:
        """Return the state of the generator of latents and noise, uint8."""
        return self.generator.get_state().cpu().numpy()
