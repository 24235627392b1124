"""The published EqR layout: names of its tensors, what their shapes tell, and the recipes for the rest.

Figures from the public configurations of github.com/locuslab/EqR (Apache-2.0). Invariants, asserted in
tests/unit/model/test_published.py: the two published networks are recognised by their shapes; a token of the task meets
the network token that the published data sets gave it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqr_ray.model.spec import ModelSpec, Position
from eqr_ray.puzzles.maze import MARKS
from eqr_ray.puzzles.published_folder import PUBLISHED_MARKS
from eqr_ray.puzzles.sudoku import SudokuTask
from eqr_ray.puzzles.task import Task
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.types import InputError

PUBLISHED_MAZE = "maze30x30"
PUBLISHED_PREFIX = 16
"""Tokens that a puzzle embedding takes up in the variants that have one."""
_POSITIONS: dict[str, Position] = {"rope": "rope1d", "rope2d": "rope2d", "none": "none"}
_LAYER = re.compile(r"L_level\.layers\.(\d+)\.(mlp_t|self_attn|mlp)\.(gate_up_proj|down_proj|qkv_proj|o_proj)\.weight")
_OUTER = {
    "embed_tokens.embedding_weight": "embedding", "lm_head.weight": "lm_head.weight", "q_head.weight": "q_head.weight",
    "q_head.bias": "q_head.bias", "puzzle_emb.weights": "prefix",
}  # fmt: skip
_INNER = {
    ("mlp_t", "gate_up_proj"): "mixer.swiglu.gate_up", ("mlp_t", "down_proj"): "mixer.swiglu.down",
    ("self_attn", "qkv_proj"): "mixer.qkv", ("self_attn", "o_proj"): "mixer.out",
    ("mlp", "gate_up_proj"): "mlp.gate_up", ("mlp", "down_proj"): "mlp.down",
}  # fmt: skip
_IGNORED = re.compile(r"(H_init|L_init|puzzle_emb\.local_(weights|ids)|rotary_emb\..*)")
"""Buffers that are drawn or computed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSettings:
    """What shapes do not tell; None: not known, the published recipe decides."""

    heads: int | None = None
    """8 in both recipes."""
    H_cycles: int | None = None
    """3 in both recipes."""
    L_cycles: int | None = None
    """6 for Sudoku, 4 for mazes."""
    position: Position | None = None
    """`rope1d` for attention."""
    rope_base: float | None = None
    """10000."""
    damping: float | None = None
    """λ = 0.05; the published setting `lambda_` is 1 - λ."""
    noise: float | None = None
    """β = 0.01. A property of the weights: the released Sudoku weights are best at 0.5, the maze ones fail there."""
    init_std: float | None = None
    """1.0"""
    norm_eps: float | None = None
    """1e-5"""
    prefix_tokens: int | None = None
    """16 where there is a puzzle embedding and the mixer's shape does not tell."""

    def over(self, other: PublishedSettings) -> PublishedSettings:
        """Return these settings, with `other` where these are not known."""
        mine, others = dataclasses.asdict(self), dataclasses.asdict(other)
        return PublishedSettings(**{name: others[name] if value is None else value for name, value in mine.items()})


def settings_from(arch: Mapping[Any, Any], where: str | Path) -> PublishedSettings:
    """Read the `arch` block of published settings; a value of a wrong kind is an InputError that names `where`."""

    def number(key: str, kind: type[int] | type[float]) -> Any:
        value = arch.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != kind(value):
            raise InputError(
                f"{where}: the setting arch.{key} must be {'a whole' if kind is int else 'a'} number, got {value!r:.40}; mend it"
            )
        return kind(value)

    name = arch.get("name")
    if isinstance(name, str) and "eqr" not in name.lower():
        raise InputError(f"{where}: the settings are those of {name[:40]!r}, and only EqR networks can be converted")
    position = arch.get("pos_encodings")
    if position is not None and position not in _POSITIONS:
        raise InputError(
            f"{where}: the setting arch.pos_encodings must be one of {', '.join(_POSITIONS)}, got {position!r:.40}; mend it"
        )
    kept = number("lambda_", float)
    spreads = [number("H_init_std", float), number("L_init_std", float)]
    if spreads[0] != spreads[1]:
        raise InputError(
            f"{where}: arch.H_init_std {spreads[0]} and arch.L_init_std {spreads[1]} differ, and one spread serves both latents here"
        )
    prefix = number("puzzle_emb_len", int)
    return PublishedSettings(
        heads=number("num_heads", int), H_cycles=number("H_cycles", int), L_cycles=number("L_cycles", int),
        position=None if position is None else _POSITIONS[position], rope_base=number("rope_theta", float),
        damping=None if kept is None else round(1.0 - kept, 12), noise=number("noise_scale", float), init_std=spreads[0],
        norm_eps=number("rms_norm_eps", float), prefix_tokens=prefix or None,
    )  # fmt: skip


def our_names(tensors: Mapping[str, Tensor], source: str | Path) -> dict[str, Tensor]:
    """Return the tensors under the names of `EquilibriumReasoner`, float32; InputError for one that has no counterpart."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer = _LAYER.fullmatch(name)
        if name in _OUTER:
            renamed[_OUTER[name]] = tensor.float()
        elif layer and (layer[2], layer[3]) in _INNER:
            renamed[f"layers.{int(layer[1])}.{_INNER[layer[2], layer[3]]}.weight"] = tensor.float()
        elif not _IGNORED.fullmatch(name):
            raise InputError(
                f"{source} holds the tensor {name[:80]}, which no published EqR network has; name a published EqR .pth file"
            )
    return renamed


def infer_spec(
    tensors: dict[str, Tensor], settings: PublishedSettings, task: str | None, source: str | Path
) -> ModelSpec:
    """Return the specification that the tensors (under our names) and the settings make.

    A puzzle embedding among the tensors is rewritten to the prefix tokens that it stands for. Raises InputError where
    the task or a shape does not fit.
    """
    for name in ("embedding", "layers.0.mlp.gate_up.weight"):
        if name not in tensors or tensors[name].dim() != 2:
            raise InputError(f"{source} lacks a tensor for {name} with two dimensions; name a published EqR .pth file")
    vocab, hidden = tensors["embedding"].shape
    token_mixer = tensors.get("layers.0.mixer.swiglu.gate_up.weight")
    tokens = int(token_mixer.shape[1]) if token_mixer is not None and token_mixer.dim() == 2 else None
    prefix = _prefix_tokens(tensors, settings, source)
    board = find_task(task) if task else _board(vocab, tokens, prefix, source)
    token_map = _token_map(board)
    if max(token_map) >= vocab or (tokens is not None and tokens < board.n_cells):
        size = f"{vocab} network tokens" + ("" if tokens is None else f" over {tokens} places")
        raise InputError(f"{source}: task {board.name} has {board.n_cells} cells and needs {max(token_map) + 1} network tokens, "
                         f"the checkpoint has {size}; name the right task with --task")  # fmt: skip
    if tokens is not None:
        prefix = tokens - board.n_cells
    if "prefix" in tensors:
        tensors["prefix"] = _prefix(tensors["prefix"], prefix, hidden, source)
    layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
    sudoku = isinstance(board, SudokuTask)
    position: Position = settings.position or "rope1d"
    return ModelSpec(
        task=board.name, rows=board.rows, cols=board.cols, vocab=board.vocab, model_vocab=int(vocab), token_map=token_map,
        form="hierarchical", mixer="attention" if tokens is None else "mlp",
        # The token mixer takes no notice of a rotation, and the published settings name one all the same.
        position=position if tokens is None else "none",
        hidden=int(hidden), layers=layers, heads=settings.heads or 8,
        token_width=0 if token_mixer is None else int(token_mixer.shape[0]) // 2,
        ff_width=int(tensors["layers.0.mlp.gate_up.weight"].shape[0]) // 2,
        H_cycles=settings.H_cycles or 3, L_cycles=settings.L_cycles or (6 if sudoku else 4), prefix_tokens=prefix,
        rope_base=10000.0 if settings.rope_base is None else settings.rope_base,
        damping=0.05 if settings.damping is None else settings.damping,
        noise=0.01 if settings.noise is None else settings.noise,
        init_std=1.0 if settings.init_std is None else settings.init_std,
        norm_eps=1e-5 if settings.norm_eps is None else settings.norm_eps,
    )  # fmt: skip


def _board(vocab: int, tokens: int | None, prefix: int, source: str | Path) -> Task:
    """Return the task that vocabulary and token places tell: symbols, blank and padding of Sudoku, or the five maze
    cells and padding.
    """
    side = vocab - 2
    if tokens is None and vocab == len(PUBLISHED_MARKS) + 1:
        return find_task(PUBLISHED_MAZE)
    if side > 1 and (tokens is None or tokens in (side * side, side * side + prefix, side * side + PUBLISHED_PREFIX)):
        return find_task(f"sudoku{side}")
    if tokens is not None and vocab == len(PUBLISHED_MARKS) + 1:
        width = round((tokens - prefix) ** 0.5)
        if width * width == tokens - prefix:
            return find_task(f"maze{width}x{width}")
    raise InputError(
        f"{source}: {vocab} network tokens over {tokens or 'any number of'} places fit no known task; name it with --task"
    )


def _token_map(board: Task) -> tuple[int, ...]:
    """Return the published network's token for each token of the task; its token 0 pads."""
    if isinstance(board, SudokuTask):
        return tuple(range(1, board.vocab + 1))
    return tuple(PUBLISHED_MARKS.index(mark) + 1 for mark in MARKS)


def _prefix_tokens(tensors: Mapping[str, Tensor], settings: PublishedSettings, source: str | Path) -> int:
    if "prefix" not in tensors:
        return 0
    embedding = tensors["prefix"]
    if embedding.dim() != 2 or embedding.shape[0] < 1:
        raise InputError(
            f"{source}: the puzzle embedding has shape {tuple(embedding.shape)}, and must be (puzzles, width); the file is damaged"
        )
    return settings.prefix_tokens or PUBLISHED_PREFIX


def _prefix(embedding: Tensor, n: int, hidden: int, source: str | Path) -> Tensor:
    """Return (n, hidden) prefix tokens: the embedding of puzzle 0, which both published tasks share, filled up with
    zeros.
    """
    first = embedding[0].float()
    if first.numel() > n * hidden:
        raise InputError(
            f"{source}: the puzzle embedding has {first.numel()} numbers and {n} prefix tokens of {hidden} hold fewer; "
            "name the right task with --task"
        )
    return torch.cat([first, first.new_zeros(n * hidden - first.numel())]).view(n, hidden)
