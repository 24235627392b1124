"""Layers of the network: SwiGLU, token mixers, position codes. Plain PyTorch, weights only, no state.

Follows the published architecture (arXiv 2605.21488, section 3; numbers in docs/architecture.md): RMS norm without
weight, SwiGLU without bias, weights drawn from a truncated normal of standard deviation 1/sqrt(fan in).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eqr_ray.model.spec import ModelSpec

TRUNCATED_STD = 0.8796256610342398
"""Standard deviation of a unit normal cut at two sigma; dividing by it restores a standard deviation of 1."""


def truncated_normal_(tensor: Tensor, std: float, generator: torch.Generator | None = None) -> Tensor:
    """Fill with draws of a normal cut at two sigma, rescaled so that the result has standard deviation `std`."""
    with torch.no_grad():
        return nn.init.trunc_normal_(tensor, 0.0, 1.0, -2.0, 2.0, generator=generator).mul_(std / TRUNCATED_STD)


def linear(fan_in: int, fan_out: int, bias: bool = False) -> nn.Linear:
    """Return a linear layer whose weights have standard deviation 1/sqrt(fan_in)."""
    layer = nn.Linear(fan_in, fan_out, bias=bias)
    truncated_normal_(layer.weight, fan_in**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """Scale the last dimension to unit root mean square, in float32."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) over the last dimension."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = linear(width, 2 * inner)
        self.down = linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., width)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class TokenMLP(nn.Module):
    """The published Sudoku mixer: a SwiGLU over the tokens, the same for every feature."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.swiglu = SwiGLU(spec.tokens, spec.token_width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, d) to (N, T, d)."""
        return self.swiglu(x.transpose(1, 2)).transpose(1, 2)


def rotary_angles(spec: ModelSpec) -> Tensor:
    """Return (T, head_dim / 2) angles: by token for `rope1d`; half by row and half by column for `rope2d`.

    Feature i turns together with feature i + head_dim / 2 (`rope1d`), or within its half (`rope2d`). Prefix tokens keep
    angle 0 in 2D.
    """
    head = spec.hidden // spec.heads
    if spec.position == "rope1d":
        frequency = 1 / spec.rope_base ** (torch.arange(0, head, 2, dtype=torch.float32) / head)
        return torch.outer(torch.arange(spec.tokens, dtype=torch.float32), frequency)
    half = head // 2
    frequency = 1 / spec.rope_base ** (torch.arange(0, half, 2, dtype=torch.float32) / half)
    cell = torch.arange(spec.cells)
    by_row = torch.outer((cell // spec.cols).float(), frequency)
    by_col = torch.outer((cell % spec.cols).float(), frequency)
    angles = torch.cat([by_row, by_col], dim=-1)
    return torch.cat([torch.zeros(spec.prefix_tokens, half), angles])


def rotate(x: Tensor, cos: Tensor, sin: Tensor, two_dimensional: bool) -> Tensor:
    """Turn feature pairs of x (N, heads, T, head_dim) by the angles whose cos and sin are (T, head_dim / 2)."""
    dtype = x.dtype
    x = x.float()
    if two_dimensional:
        by_row, by_col = x.chunk(2, dim=-1)
        (a, b), (c, d) = by_row.chunk(2, dim=-1), by_col.chunk(2, dim=-1)
        (cos_r, cos_c), (sin_r, sin_c) = cos.chunk(2, dim=-1), sin.chunk(2, dim=-1)
        turned = [a * cos_r - b * sin_r, b * cos_r + a * sin_r, c * cos_c - d * sin_c, d * cos_c + c * sin_c]
    else:
        a, b = x.chunk(2, dim=-1)
        turned = [a * cos - b * sin, b * cos + a * sin]
    return torch.cat(turned, dim=-1).to(dtype)


def shared_units(spec: ModelSpec) -> Tensor:
    """Return (U, T, T) float32: 1 where two cells share a row, a column or (where the task has boxes) a box."""
    cell = torch.arange(spec.cells)
    row, col = cell // spec.cols, cell % spec.cols
    units = [row, col]
    if spec.box_rows:
        units.append(row // spec.box_rows * (spec.cols // spec.box_cols) + col // spec.box_cols)
    shared = torch.zeros(len(units), spec.tokens, spec.tokens)
    for k, unit in enumerate(units):
        shared[k, spec.prefix_tokens :, spec.prefix_tokens :] = (unit[:, None] == unit[None, :]).float()
    return shared


class Attention(nn.Module):
    """Multi-head self-attention with the spec's position code.

    `grid` adds a learned gain to the score of two cells that share a row, a column or a box: a prior on which cells
    belong together, to be stated in a checkpoint's card. The other codes know nothing of the task.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.heads, self.position = spec.heads, spec.position
        self.qkv = linear(spec.hidden, 3 * spec.hidden)
        self.out = linear(spec.hidden, spec.hidden)
        if spec.position in ("rope1d", "rope2d"):
            angles = rotary_angles(spec)
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)
        elif spec.position == "grid":
            units = shared_units(spec)
            self.register_buffer("units", units, persistent=False)
            gain = torch.zeros(spec.heads, len(units))
            for head in range(
                min(spec.heads, len(units))
            ):  # the first heads start out looking at one kind of unit each
                gain[head, head] = 3.0
            self.unit_gain = nn.Parameter(gain)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, d) to (N, T, d)."""
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if self.position in ("rope1d", "rope2d"):
            q = rotate(q, self.cos, self.sin, self.position == "rope2d")
            k = rotate(k, self.cos, self.sin, self.position == "rope2d")
        bias = torch.einsum("hu,uts->hts", self.unit_gain, self.units).to(q.dtype) if self.position == "grid" else None
        y = attend(q, k, v, bias)
        return self.out(y.transpose(1, 2).reshape(n, t, d))


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(q k' / sqrt(head_dim) + bias) v for (N, heads, T, head_dim); bias is (heads, T, T)."""
    if q.device.type == "cpu" and torch.is_grad_enabled():
        # The fused CPU kernel's backward pass is several times slower than these two products at our sizes.
        scores = torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        scores = scores if bias is None else scores + bias
        return torch.matmul(torch.softmax(scores.float(), dim=-1).to(v.dtype), v)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.unsqueeze(0))
