"""One network, variants by `ModelSpec`: embedding, weight-tied operator, read-out heads.

Invariants: a module holds weights and constant tables only; everything that changes from call to call (latents, noise)
is an argument. A state is one tensor (N, K, T, d), K = 2 latents (z_H, z_L) for the hierarchical form and 1 for the
compact one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eqr_ray.model.layers import Attention, SwiGLU, TokenMLP, linear, rms_norm, truncated_normal_
from eqr_ray.model.spec import ModelSpec
from eqr_ray.model.units import BLANK_LOGIT, GIVEN, UnitMixer, given

Noise = Callable[[int], Tensor]
"""Gives the (N, T, d) unit normal draws of the k-th block application of an iteration."""


class Layer(nn.Module):
    """A token mixer and a SwiGLU, post-norm as published or pre-norm as in the compact form."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.mixer = {"mlp": TokenMLP, "attention": Attention, "units": UnitMixer}[spec.mixer](spec)
        self.mlp = SwiGLU(spec.hidden, spec.ff_width)
        self.post_norm = spec.form == "hierarchical"
        self.eps = spec.norm_eps

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, T, d) to (N, T, d)."""
        if not self.post_norm:
            h = h + self.mixer(rms_norm(h, self.eps))
            out: Tensor = h + self.mlp(rms_norm(h, self.eps))
            return out
        if isinstance(self.mixer, TokenMLP):
            # The published mixer norms over the tokens of one feature, not over the features of one token.
            h = rms_norm((h + self.mixer(h)).transpose(1, 2), self.eps).transpose(1, 2)
        else:
            h = rms_norm(h + self.mixer(h), self.eps)
        return rms_norm(h + self.mlp(h), self.eps)


class EquilibriumReasoner(nn.Module):
    """f_θ with its embedding and heads; see `ModelSpec` for the two forms."""

    token_map: Tensor
    fixed_start: Tensor
    """(K, d) unit draws, of a network without random initialisation alone."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        units = spec.mixer == "units"
        kinds = len(GIVEN) if units else spec.model_vocab
        self.embedding = nn.Parameter(truncated_normal_(torch.empty(kinds, spec.hidden), spec.hidden**-0.5))
        self.layers = nn.ModuleList(Layer(spec) for _ in range(spec.layers))
        self.lm_head = linear(spec.hidden, 1 if units else spec.model_vocab)
        self.q_head = linear(2 * spec.hidden if units else spec.hidden, 2, bias=True)
        with torch.no_grad():
            self.q_head.weight.zero_()
            self.q_head.bias.fill_(-5.0)
        if spec.prefix_tokens:
            self.prefix = nn.Parameter(torch.zeros(spec.prefix_tokens, spec.hidden))
        if spec.position == "learned":
            self.positions = nn.Parameter(truncated_normal_(torch.empty(spec.tokens, spec.hidden), spec.hidden**-0.5))
        self.register_buffer("token_map", torch.tensor(spec.token_map), persistent=False)
        if not spec.random_init:
            self.register_buffer("fixed_start", truncated_normal_(torch.empty(spec.latents, spec.hidden), 1.0))

    def embed(self, cells: Tensor) -> Tensor:
        """Return the injected input x (N, T, d) of questions (N, S)."""
        if self.spec.mixer == "units":
            return F.embedding(given(cells, self.spec.symbols), self.embedding) * math.sqrt(self.spec.hidden)
        # Indexing gives the same, but its gradient (index_put) took 6 % of a training step on a CPU.
        x = F.embedding(self.token_map[cells.long()], self.embedding)
        if self.spec.prefix_tokens:
            x = torch.cat([self.prefix.to(x.dtype).expand(len(x), -1, -1), x], dim=1)
        if self.spec.position == "learned":
            x = (x + self.positions) * math.sqrt(0.5)
        return x * math.sqrt(self.spec.hidden)

    def start(self, n: int, draw: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
        """Return n initial states (n, K, T, d): random (RI) from `draw`, which gives truncated unit normals of a shape, or all the
        same where the spec says so.
        """
        spec = self.spec
        if spec.random_init:
            return draw((n, spec.latents, spec.tokens, spec.hidden)) * spec.init_std
        return (self.fixed_start[None, :, None] * spec.init_std).repeat(n, 1, spec.tokens, 1)

    def block(self, z: Tensor, injected: Tensor, noise: Tensor | None, beta: float) -> Tensor:
        """Return (1 - λ) f(z + injected) + λ z + β ε, one damped block application (arXiv 2605.21488 Eq. 2)."""
        h = z + injected
        for layer in self.layers:
            h = layer(h)
        if self.spec.form == "compact":
            h = rms_norm(h, self.spec.norm_eps)
        z = self.spec.damping * z + (1 - self.spec.damping) * h
        return z if noise is None else z + beta * noise.to(z.dtype)

    def iterate(self, z: Tensor, x: Tensor, noise: Noise | None = None, beta: float | None = None,
                grad_cycles: int | None = None) -> Tensor:  # fmt: skip
        """Advance states z (N, K, T, d) by one iteration (one function evaluation).

        Without `noise` the path is deterministic. `beta` defaults to the spec's. `grad_cycles` limits the gradient to
        the last so many H cycles (the published recipe: 1).
        """
        beta = self.spec.noise if beta is None else beta
        use = noise if noise is not None and beta > 0 else None
        site = 0

        def draw() -> Tensor | None:
            nonlocal site
            site += 1
            return use(site - 1) if use is not None else None

        if self.spec.form == "compact":
            latent = z[:, 0]
            for _ in range(self.spec.L_cycles):
                latent = self.block(latent, x, draw(), beta)
            return latent.unsqueeze(1)
        z_H, z_L = z[:, 0], z[:, 1]
        for cycle in range(self.spec.H_cycles):
            tracked = torch.is_grad_enabled() and (grad_cycles is None or cycle >= self.spec.H_cycles - grad_cycles)
            with torch.set_grad_enabled(tracked):
                for _ in range(self.spec.L_cycles):
                    z_L = self.block(z_L, z_H + x, draw(), beta)
                z_H = self.block(z_H, z_L, draw(), beta)
        return torch.stack([z_H, z_L], dim=1)

    def logits(self, z: Tensor) -> Tensor:
        """Return (N, S, vocab) float32 logits over the task's tokens, read from z_H (or z)."""
        if self.spec.mixer == "units":
            symbols = self.lm_head(z[:, 0]).float().view(len(z), self.spec.cells, self.spec.symbols)
            return F.pad(symbols, (1, 0), value=BLANK_LOGIT)
        cells = z[:, 0, self.spec.prefix_tokens :]
        logits: Tensor = self.lm_head(cells)
        return logits[..., self.token_map].float()

    def q_halt(self, z: Tensor) -> Tensor:
        """Return (N,) float32 halting logits, read from the first token of z_H (or z), or from mean and maximum of all where
        none comes first (`mixer = "units"`).
        """
        latent = z[:, 0]
        seen = torch.cat([latent.mean(1), latent.amax(1)], dim=1) if self.spec.mixer == "units" else latent[:, 0]
        decisions: Tensor = self.q_head(seen)
        return decisions[:, 0].float()

    @property
    def n_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())
