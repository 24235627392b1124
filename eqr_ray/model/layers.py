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
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class TokenMLP(nn.Module):
    """The published Sudoku mixer: a SwiGLU over the tokens, the same for every feature."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.swiglu = SwiGLU(spec.tokens, spec.token_width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, d) to (N, T, d)."""
        mixed: Tensor = self.swiglu(x.transpose(1, 2))
        return mixed.transpose(1, 2)


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


def rotary_tables(spec: ModelSpec) -> tuple[Tensor, Tensor]:
    """Return cos and signed sin of the angles, (T, head_dim) each: `rotate` adds x cos and (x with partners swapped)
    sin.
    """
    parts = rotary_angles(spec).chunk(2 if spec.position == "rope2d" else 1, dim=-1)
    cos = torch.cat([table for part in parts for table in (part.cos(), part.cos())], dim=-1)
    sin = torch.cat([table for part in parts for table in (-part.sin(), part.sin())], dim=-1)
    return cos, sin


def rotate(x: Tensor, cos: Tensor, sin: Tensor, groups: int) -> Tensor:
    """Turn feature pairs of x (..., T, head_dim) by the tables (T, head_dim); pairs lie within `groups` equal parts."""
    wide = x.float()
    swapped = wide.reshape(*wide.shape[:-1], groups, 2, -1).flip(-2).flatten(-3)
    return (wide * cos + swapped * sin).to(x.dtype)


def shared_units(spec: ModelSpec) -> Tensor:
    """Return (3, T, T) float32: 1 where two cells share a row, a column, and a box; or, in a task without boxes, an edge."""
    cell = torch.arange(spec.cells)
    row, col = cell // spec.cols, cell % spec.cols
    if spec.box_rows:
        box = row // spec.box_rows * (spec.cols // spec.box_cols) + col // spec.box_cols
        third = box[:, None] == box[None, :]
    else:
        third = (row[:, None] - row[None, :]).abs() + (col[:, None] - col[None, :]).abs() == 1
    shared = torch.zeros(3, spec.tokens, spec.tokens)
    for k, pairs in enumerate((row[:, None] == row[None, :], col[:, None] == col[None, :], third)):
        shared[k, spec.prefix_tokens :, spec.prefix_tokens :] = pairs.float()
    return shared


class Attention(nn.Module):
    """Multi-head self-attention with the spec's position code.

    `grid` adds a learned gain to the score of two cells that share a row, a column, or a box (an edge, in a task without
    boxes): a prior on which cells belong together, to be stated in a checkpoint's card. The other codes know nothing of
    the task.
    """

    cos: Tensor
    sin: Tensor
    units: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.heads, self.position = spec.heads, spec.position
        self.qkv = linear(spec.hidden, 3 * spec.hidden)
        self.out = linear(spec.hidden, spec.hidden)
        if spec.position in ("rope1d", "rope2d"):
            cos, sin = rotary_tables(spec)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
        elif spec.position == "grid":
            units = shared_units(spec)
            self.register_buffer("units", units, persistent=False)
            gain = torch.zeros(spec.heads, len(units))
            for head in range(min(gain.shape)):  # the first heads start out looking at one kind of unit each
                gain[head, head] = 3.0
            self.unit_gain = nn.Parameter(gain)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, d) to (N, T, d)."""
        n, t, d = x.shape
        qkv = self.qkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv
        bias = None
        if self.position in ("rope1d", "rope2d"):
            q, k = rotate(qkv[:2], self.cos, self.sin, groups=2 if self.position == "rope2d" else 1)
        elif self.position == "grid":
            bias = (self.unit_gain @ self.units.flatten(1)).view(self.heads, t, t)
        mixed: Tensor = self.out(attend(q, k, v, bias).transpose(1, 2).reshape(n, t, d))
        return mixed


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(q k' / sqrt(head_dim) + bias) v for (N, heads, T, head_dim); bias is (heads, T, T)."""
    if q.device.type == "cpu" and torch.is_grad_enabled():
        # The fused CPU kernel's backward pass is several times slower than these two products at our sizes.
        scores = torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        scores = scores if bias is None else scores + bias
        return torch.matmul(torch.softmax(scores.float(), dim=-1).to(v.dtype), v)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.unsqueeze(0))
