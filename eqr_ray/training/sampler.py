"""Draws fresh puzzles for training: a mixture of sources, easy ones first, symmetries, easier versions; all on the device.

Invariants, asserted in tests/unit/training/test_sampler.py: every draw is a function of (seed, draws so far) on one kind of device, so
that a resumed run sees the puzzles that an undisturbed one sees; the puzzles of the evaluation file never come from here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from eqr_ray.puzzles.task import task as find_task
from eqr_ray.training.data import Pairs
from eqr_ray.training.easing import fill_dead_ends, reveal
from eqr_ray.training.settings import TrainSettings
from eqr_ray.training.symmetries import vary


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """n fresh puzzles on the device."""

    question: Tensor
    """(n, S) uint8"""
    answer: Tensor
    """(n, S) uint8"""


class Sampler:
    """The training puzzles on the device, easiest first where they are rated, and the rule by which they are drawn."""

    def __init__(self, sets: Sequence[Pairs], settings: TrainSettings, device: torch.device) -> None:
        """`sets` are the puzzles of `settings.sources`, in their order."""
        self.settings, self.task, self.device = settings, find_task(settings.task), device
        ordered = [pairs.take(np.argsort(pairs.rating, kind="stable")) for pairs in sets]
        self.question = torch.from_numpy(np.concatenate([pairs.question for pairs in ordered])).to(device)
        self.answer = torch.from_numpy(np.concatenate([pairs.answer for pairs in ordered])).to(device)
        self.sizes = [len(pairs) for pairs in sets]
        self.graded = [not np.isnan(pairs.rating).any() for pairs in sets]
        weights = [source.weight or float(n) for source, n in zip(settings.sources, self.sizes, strict=True)]
        self.weights = torch.tensor(weights, dtype=torch.float32, device=device)
        self.first = torch.tensor(np.cumsum([0, *self.sizes[:-1]]), dtype=torch.int64, device=device)

    def draw(self, n: int, drawn: int, progress: float) -> Drawn:
        """Return n fresh puzzles; `drawn` counts those drawn before, `progress` in [0, 1] is the fraction of the run done."""
        seed = int(np.random.SeedSequence([self.settings.seed, drawn]).generate_state(1, np.uint64)[0]) >> 1
        generator = Generator(self.device).manual_seed(seed)
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        # Remainders of 62 random bits: what some rows are drawn more often than others by is beyond measuring.
        bits = torch.randint(1 << 62, (n,), generator=generator, device=self.device)
        rows = self.first[which] + bits % self._open(progress)[which]
        question, answer = self.question[rows], self.answer[rows]
        if self.settings.augment:
            question, answer = vary(self.task, question, answer, generator)
        return self._eased(question, answer, progress, generator)

    def _open(self, progress: float) -> Tensor:
        """Return (sources,) int64: how many puzzles of each source, easiest first, are drawn from."""
        plan = self.settings.difficulty
        share = plan.share + (1 - plan.share) * min(1.0, progress / plan.until)
        counts = [
            max(1, math.ceil(share * n)) if graded else n for n, graded in zip(self.sizes, self.graded, strict=True)
        ]
        return torch.tensor(counts, dtype=torch.int64, device=self.device)

    def _eased(self, question: Tensor, answer: Tensor, progress: float, generator: Generator) -> Drawn:
        plan = self.settings.reveal
        first, last = plan.share
        share = first + (last - first) * min(1.0, progress / plan.until)
        if not plan.most or share <= 0:
            return Drawn(question, answer)
        n = len(question)
        easier = torch.rand(n, generator=generator, device=self.device) < share
        count = torch.randint(1, plan.most + 1, (n,), generator=generator, device=self.device) * easier
        if self.task.family == "maze":
            return Drawn(*fill_dead_ends(question, answer, count, (self.task.rows, self.task.cols)))
        return Drawn(reveal(question, answer, count, generator), answer)
