"""What a network is made of: enough to build it, nothing about how it was trained.

Invariants: a spec survives the round trip through JSON; an impossible combination is refused when the spec is made.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from eqr_ray.types import InputError

Form = Literal["hierarchical", "compact"]
Mixer = Literal["mlp", "attention", "units"]
Position = Literal["none", "learned", "rope1d", "rope2d", "grid"]

LARGEST = 1 << 16
"""Bound on every size: far above any network of this kind, and low enough that a damaged file cannot ask for absurd
shapes.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A weight-tied operator z' = (1 - λ') z + λ' f_θ(z; x) + β ε, arXiv 2605.21488 Eq. 2, and its read-out heads.

    `hierarchical` is the published form: two latents z_H and z_L, `H_cycles x [L_cycles x (z_L <- block(z_L, z_H + x));
    z_H <- block(z_H, z_L)]` an iteration, post-norm. `compact` has one latent: `L_cycles x (z <- block(z, x))`,
    pre-norm.
    """

    task: str
    """Name of the task whose cells the network reads, such as `sudoku9`."""
    rows: int
    cols: int
    box_rows: int = 0
    """Rows of a Sudoku box, for `position = "grid"` and `mixer = "units"`; 0 where the task has no boxes."""
    box_cols: int = 0
    vocab: int
    """Tokens of the task, blank included."""
    model_vocab: int
    """Tokens of the embedding and of the read-out; a token t of the task is token `token_map[t]` of the network."""
    token_map: tuple[int, ...]
    form: Form = "compact"
    mixer: Mixer = "attention"
    position: Position = "rope2d"
    hidden: int = 128
    layers: int = 2
    heads: int = 4
    token_width: int = 0
    """Inner width of the token-mixing SwiGLU (`mixer = "mlp"`), or of each kind of unit (`mixer = "units"`)."""
    ff_width: int = 256
    """Inner width of the per-token SwiGLU."""
    H_cycles: int = 1
    L_cycles: int = 1
    prefix_tokens: int = 0
    """Learned tokens in front of the cells (16 in the published 97-token variants)."""
    rope_base: float = 10.0
    damping: float = 0.05
    """λ: the share of the old latent kept at every block application."""
    noise: float = 0.01
    """β at evaluation: scale of the path noise added at every block application."""
    init_std: float = 1.0
    """σ of the initial latents (truncated at two sigma, compensated)."""
    random_init: bool = True
    """RI: every trajectory starts from latents of its own. False: all start from one state, drawn with the weights."""
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        self._check_kinds()
        for name in ("rows", "cols", "vocab", "hidden", "layers", "heads", "ff_width", "H_cycles", "L_cycles"):
            if getattr(self, name) < 1:
                raise InputError(f"model {name} must be at least 1, got {name}={getattr(self, name)}")
        for name in ("noise", "init_std", "prefix_tokens", "token_width", "box_rows", "box_cols"):
            if getattr(self, name) < 0:
                raise InputError(f"model {name} must be 0 or more, got {name}={getattr(self, name)}")
        for name in ("norm_eps", "rope_base"):
            if getattr(self, name) <= 0:
                raise InputError(f"model {name} must be above 0, got {name}={getattr(self, name)}")
        if not 0.0 <= self.damping < 1.0:
            raise InputError(f"model damping must be in [0, 1), got damping={self.damping}")
        self._check_heads()
        self._check_units()
        if self.mixer in ("mlp", "units") and self.token_width < 1:
            raise InputError(f"mixer {self.mixer} needs token_width, the inner width of what mixes the tokens")
        if len(self.token_map) != self.vocab or not all(0 <= token < self.model_vocab for token in self.token_map):
            raise InputError(
                f"model token_map must give one of the network's {self.model_vocab} tokens for each of the task's {self.vocab}, "
                f"got {list(self.token_map)}"
            )
        if self.form == "compact" and self.H_cycles != 1:
            raise InputError(f"the compact form has one latent and so H_cycles = 1, got H_cycles={self.H_cycles}")
        if self.box_rows and (self.box_cols < 1 or self.rows % self.box_rows or self.cols % self.box_cols):
            raise InputError(
                f"boxes of {self.box_rows} x {self.box_cols} do not tile a board of {self.rows} x {self.cols}"
            )

    def _check_kinds(self) -> None:
        """Refuse a field of a wrong type: specs are read from files."""
        choices = {"form": Form, "mixer": Mixer, "position": Position}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in choices:
                known = get_args(choices[field.name])
                if value not in known:
                    raise InputError(f"model {field.name} must be one of {', '.join(known)}, got {value!r:.40}")
            elif field.type == "int" and not (type(value) is int and value <= LARGEST):
                raise InputError(f"model {field.name} must be a whole number up to {LARGEST}, got {value!r:.40}")
            elif field.type == "float" and not (type(value) in (int, float) and math.isfinite(value)):
                raise InputError(f"model {field.name} must be a number, got {value!r:.40}")
            elif field.type == "bool" and type(value) is not bool:
                raise InputError(f"model {field.name} must be true or false, got {value!r:.40}")
            elif field.type == "str" and not isinstance(value, str):
                raise InputError(f"model {field.name} must be text, got {value!r:.40}")
        if not (isinstance(self.token_map, tuple) and all(type(token) is int for token in self.token_map)):
            raise InputError(f"model token_map must be a list of whole numbers, got {self.token_map!r:.40}")

    def _check_heads(self) -> None:
        """Refuse heads that do not divide the features, or do not leave each of them whole pairs to rotate."""
        if self.mixer != "attention":
            return
        if self.hidden % self.heads:
            raise InputError(f"model hidden must be a multiple of heads, got hidden={self.hidden}, heads={self.heads}")
        of_head = self.hidden // self.heads
        if self.position == "rope1d" and of_head % 2:
            raise InputError(f"rope1d needs hidden / heads to be even, got {of_head}")
        if self.position == "rope2d" and of_head % 4:
            raise InputError(f"rope2d needs hidden / heads to be a multiple of 4, got {of_head}")

    def _check_units(self) -> None:
        """Refuse what a network over cells and symbols has no place for."""
        if self.mixer != "units":
            return
        if self.form != "compact" or self.position != "none" or self.prefix_tokens:
            raise InputError(
                "mixer units has the compact form, position none and no prefix tokens, "
                f"got form={self.form}, position={self.position}, prefix_tokens={self.prefix_tokens}"
            )
        if self.vocab < 2 or self.model_vocab != self.vocab or self.token_map != tuple(range(self.vocab)):
            raise InputError(f"mixer units reads the task's own tokens, got token_map {list(self.token_map)!s:.60}")
        if self.tokens > LARGEST:  # no weight depends on them, so a damaged file would be found by nothing else
            raise InputError(f"mixer units has a token for every cell and symbol, at most {LARGEST}, got {self.tokens}")

    @property
    def cells(self) -> int:
        """S, cells of a puzzle."""
        return self.rows * self.cols

    @property
    def tokens(self) -> int:
        """T, tokens of the network: prefix and cells, or every pair of a cell and a symbol (`mixer = "units"`)."""
        return self.cells * self.symbols if self.mixer == "units" else self.prefix_tokens + self.cells

    @property
    def symbols(self) -> int:
        """Tokens of the task that are not blank."""
        return self.vocab - 1

    @property
    def latents(self) -> int:
        """How many latents a state holds: (z_H, z_L) or z alone."""
        return 2 if self.form == "hierarchical" else 1

    @property
    def draws_per_iteration(self) -> int:
        """Noise draws of one iteration: one at every block application."""
        return self.H_cycles * (self.L_cycles + 1) if self.form == "hierarchical" else self.L_cycles

    @property
    def nle_per_iteration(self) -> int:
        """Layer evaluations of one iteration: 42 for the published Sudoku network, 15 for the Maze one."""
        return self.layers * self.draws_per_iteration

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return {**dataclasses.asdict(self), "token_map": list(self.token_map)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ModelSpec:
        """Build a spec from JSON values; an unknown or missing key is an InputError."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(
                f"model spec has the unknown key {unknown[0]!r}; known keys are {', '.join(sorted(known))}"
            )
        token_map = values.get("token_map", ())
        try:
            return cls(**{**values, "token_map": tuple(token_map) if isinstance(token_map, list) else token_map})
        except TypeError as error:
            raise InputError(f"model spec is incomplete: {error}") from error
