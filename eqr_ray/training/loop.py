"""One training step and the state it advances.

Segmented online training (arXiv 2605.21488 section 4): every segment is a loss, an optimizer step and a detached carry; a row is
replaced by a fresh puzzle when the q head halts it or its segments are used up. Invariants, asserted in tests/unit/training: a step is
a function of (settings, state), whatever the number of workers, up to rounding; a state saved and loaded goes on bit for bit (CPU,
float32).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from eqr_ray.model.checkpoint import CheckpointFiles, build, fetch
from eqr_ray.model.growing import can_grow, grow_
from eqr_ray.model.layers import truncated_normal_
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.training.arithmetic import arithmetic, usable_device
from eqr_ray.training.data import Pairs, load_sets
from eqr_ray.training.optimizers import learning_rate, make_optimizer
from eqr_ray.training.peers import NoPeers, Peers
from eqr_ray.training.report import StepReport
from eqr_ray.training.sampler import Sampler
from eqr_ray.training.settings import TrainSettings
from eqr_ray.types import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Materials:
    """What a run reads before it starts; small enough to be sent to every worker."""

    sets: Sequence[Pairs]
    """The puzzles of each source."""
    start: CheckpointFiles | None = None
    """The weights to start from."""

    @classmethod
    def read(cls, settings: TrainSettings) -> Materials:
        """Read what the settings name; InputError for what cannot be used."""
        start = fetch(settings.start_from) if settings.start_from else None
        if start is not None and not can_grow(start.spec, settings.network.spec(settings.task)):
            raise InputError(
                f"start_from: checkpoint {start.name} has another network than the settings; make them agree, "
                "but for more layers or a larger ff_width in the compact form"
            )
        return cls(load_sets(settings.sources, settings.task), start)


@dataclass(slots=True, eq=False)
class Carry:
    """The rows in training: latents that go on from segment to segment, and their puzzles. B is a worker's part of the batch."""

    z: Tensor
    """(B, K, T, d) float32"""
    question: Tensor
    """(B, S) uint8"""
    answer: Tensor
    """(B, S) uint8"""
    segments: Tensor
    """(B,) int64, segments done."""
    least: Tensor
    """(B,) int64, segments that the row must run before the q head may end it."""
    halted: Tensor
    """(whole batch,) bool, rows to replace before the next step."""


def token_loss(logits: Tensor, answer: Tensor, kind: str) -> Tensor:
    """Return the (N,) mean cross-entropy over the tokens of each puzzle; stablemax as in arXiv 2501.04697."""
    target = answer.long()
    if kind == "softmax":
        return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape).mean(1)
    logits = logits.double()
    positive = torch.where(logits < 0, 1 / (1 - logits.clamp(max=0)), logits + 1)
    chosen = positive.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return (positive.sum(-1).log() - chosen.log()).mean(1).float()


class Trainer:
    """Model, optimizer, moving average and carry of one worker; `step` advances them by one segment."""

    def __init__(
        self,
        settings: TrainSettings,
        device: str = "cpu",
        materials: Materials | None = None,
        peers: Peers | None = None,
        compiled: bool = False,
    ) -> None:
        """`materials` are read from the settings' paths if left out. Raises InputError for settings that cannot be used."""
        self.settings, self.device, self.peers = settings, usable_device(device), peers or NoPeers()
        if settings.batch % self.peers.size:
            raise InputError(
                f"batch must be a multiple of the number of workers, got batch={settings.batch} and {self.peers.size} workers"
            )
        self.rows = settings.batch // self.peers.size
        self.dtype = arithmetic(settings.dtype, self.device)
        torch.manual_seed(settings.seed)
        self.spec = settings.network.spec(settings.task)
        self.model = EquilibriumReasoner(self.spec).to(self.device)
        materials = materials or Materials.read(settings)
        if materials.start is not None:
            grow_(self.model, build(materials.start).model)
        self.optimizer = make_optimizer(self.model, settings)
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.judge = EquilibriumReasoner(self.spec).to(self.device).eval().requires_grad_(False)
        """Carries the averaged weights when a run is evaluated or saved."""
        if compiled:
            for model in (self.model, self.judge):
                model.block = torch.compile(model.block, dynamic=False)  # type: ignore[method-assign]
        self.sampler = Sampler(materials.sets, settings, self.device)
        self.generator = torch.Generator(self.device).manual_seed(settings.seed + 1)
        self.steps_done = 0
        self.drawn = 0
        cells = torch.zeros(self.rows, self.spec.cells, dtype=torch.uint8, device=self.device)
        self.carry = Carry(
            z=torch.zeros(self.rows, self.spec.latents, self.spec.tokens, self.spec.hidden, device=self.device),
            question=cells, answer=cells.clone(),
            segments=torch.zeros(self.rows, dtype=torch.int64, device=self.device),
            least=torch.zeros(self.rows, dtype=torch.int64, device=self.device),
            halted=torch.ones(settings.batch, dtype=torch.bool, device=self.device),
        )  # fmt: skip

    def _refill(self) -> None:
        """Replace the rows that ended; every worker draws for the whole batch and keeps its part."""
        carry, settings = self.carry, self.settings
        ended = carry.halted.nonzero().squeeze(1)
        n = len(ended)
        if not n:
            return
        fresh = self.sampler.draw(n, self.drawn, self.steps_done / settings.steps)
        self.drawn += n
        start = self.model.start(
            n, lambda shape: truncated_normal_(torch.empty(shape, device=self.device), 1.0, self.generator)
        )
        limit = settings.segments
        least = torch.ones_like(ended)
        if limit > 1:
            random = torch.randint(2, limit + 1, (n,), device=self.device, generator=self.generator)
            explores = torch.rand(n, device=self.device, generator=self.generator) < settings.halt_exploration
            least = torch.where(explores, random, least)
        first = self.peers.rank * self.rows
        mine = ((ended >= first) & (ended < first + self.rows)).nonzero().squeeze(1)
        rows = ended[mine] - first
        carry.question[rows], carry.answer[rows] = fresh.question[mine], fresh.answer[mine]
        carry.z[rows] = start[mine]
        carry.segments[rows] = 0
        carry.least[rows] = least[mine]

    def _noise(self, site: int) -> Tensor:
        shape = (self.settings.batch, self.spec.tokens, self.spec.hidden)
        whole = torch.randn(shape, device=self.device, generator=self.generator)
        return whole[self.peers.rank * self.rows :][: self.rows]

    def _iterations(self) -> Iterator[tuple[Tensor, Tensor, bool]]:
        """Yield (z, logits, supervised) after every iteration of the segment."""
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
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
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
        self.peers.average_([p.grad for p in self.model.parameters() if p.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.steps_done)
        self.optimizer.step()
        self._update_average()
        carry.z = z.detach().float()
        carry.segments += 1
        ended = carry.segments >= settings.segments
        if settings.act:
            ended |= (q.detach() > 0) & (carry.segments >= carry.least)
        carry.halted = self.peers.gather(ended)
        self.steps_done += 1
        return StepReport.of(
            loss=loss.detach(), q_loss=q_loss.detach(), token_accuracy=right.float().mean(), exact=exact,
            ended=ended, segments=carry.segments, gradient_norm=norm,
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
        """Return the network with the moving average of its weights, as of now; the next call changes it."""
        self.judge.load_state_dict({**self.model.state_dict(), **self.average})
        return self.judge
