"""Settings of a training run: one YAML file, unknown keys refused.

Invariant: settings survive the round trip through JSON, so that a resumed run can be compared with the one it continues.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from eqr_ray.config.reading import Config
from eqr_ray.model.spec import ModelSpec
from eqr_ray.puzzles.task import task as find_task


class SourceSettings(Config):
    """One set of training puzzles."""

    path: str
    """Puzzle file (CSV, text, Parquet, gzip) or `.npz` with arrays question and answer, (N, S) uint8."""
    weight: float | None = Field(default=None, gt=0)
    """Share of the draws, relative to the other sources; by default its number of puzzles."""
    only: tuple[str, ...] = ()
    """Keep only puzzles whose `source` is one of these; all by default."""
    skip: int = Field(default=0, ge=0)
    """Leave out the first so many of the puzzles that `only` and the ratings keep (kept back for calibration or tests)."""
    min_rating: float | None = None
    """Keep only puzzles rated so or higher; one without a rating is left out."""
    max_rating: float | None = None
    """Keep only puzzles rated so or lower, likewise."""


class RevealSettings(Config):
    """Difficulty curriculum: some fresh puzzles are made easier, fewer as training goes on.

    A Sudoku starts with solved cells revealed, a maze with its dead ends walled up from their tips.
    """

    share: tuple[float, float] = (0.0, 0.0)
    """Share of fresh puzzles that are made easier, at the first step and from `until` on; linear between."""
    most: int = Field(default=0, ge=0)
    """Up to so many cells are revealed, or cells of every dead end filled, uniformly."""
    until: float = Field(default=0.5, gt=0, le=1)
    """Fraction of the run at which the share has reached its end value."""


class DifficultySettings(Config):
    """Difficulty curriculum: draws come from the easiest puzzles of each source first, by the file's ratings.

    A source without ratings takes no part: all of its puzzles are drawn from the start.
    """

    share: float = Field(default=1.0, gt=0, le=1)
    """Share of a source's puzzles, easiest first, that the first steps draw from."""
    until: float = Field(default=0.5, gt=0, le=1)
    """Fraction of the run at which all puzzles are drawn; linear between."""


class NetworkSettings(Config):
    """The free choices of `ModelSpec`; the rest follows from the task."""

    form: Literal["compact", "hierarchical"] = "compact"
    mixer: Literal["attention", "mlp", "units"] = "attention"
    position: Literal["none", "learned", "rope1d", "rope2d", "grid"] = "rope2d"
    hidden: int = 128
    layers: int = 2
    heads: int = 4
    token_width: int = 0
    ff_width: int = 256
    H_cycles: int = 1
    L_cycles: int = 1
    rope_base: float = 10.0
    damping: float = 0.05
    noise: float = 0.01
    init_std: float = 1.0
    random_init: bool = True
    """RI: a random initial state a trajectory; false: one state for all, drawn once and kept with the weights."""

    def spec(self, task: str) -> ModelSpec:
        """Return the full specification for a task."""
        rules = find_task(task)
        box = getattr(rules, "box", None)
        return ModelSpec(
            task=rules.name, rows=rules.rows, cols=rules.cols, box_rows=box.rows if box else 0, box_cols=box.cols if box else 0,
            vocab=rules.vocab, model_vocab=rules.vocab, token_map=tuple(range(rules.vocab)), **self.model_dump(),
        )  # fmt: skip


class EvaluationSettings(Config):
    """Accuracy by depth during training, on puzzles that training never draws."""

    path: str | None = None
    puzzles: int = Field(default=256, ge=1)
    """Take the first so many of the file."""
    per_source: int | None = Field(default=None, ge=1)
    """Take the first so many of each source instead."""
    depths: tuple[int, ...] = (1, 4, 16, 64)
    every: int = Field(default=1000, ge=1)
    """Steps between two evaluations."""


class TrainSettings(Config):
    """A training run. One step is one segment: loss, gradient, optimizer step, detached carry (SOT)."""

    task: str
    sources: tuple[SourceSettings, ...] = Field(min_length=1)
    network: NetworkSettings = NetworkSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    reveal: RevealSettings = RevealSettings()
    difficulty: DifficultySettings = DifficultySettings()
    start_from: str | None = None
    """Checkpoint (name, folder or URI) whose weights the run starts from; by default random ones. A compact network may have more
    layers or a larger `ff_width` than the checkpoint: it begins as the same function.
    """
    augment: bool = True
    """Draw a random symmetry of every fresh puzzle."""
    steps: int = Field(default=20_000, ge=1)
    batch: int = Field(default=256, ge=1)
    segments: int = Field(default=16, ge=1)
    """A row is replaced after at most so many segments."""
    segment_iterations: int = Field(default=1, ge=1)
    """Iterations of one segment, all with gradient."""
    supervise: Literal["last", "all"] = "last"
    """Which iterations of a segment carry a loss."""
    grad_cycles: int | None = 1
    """H cycles with gradient, of the hierarchical form; the published recipe tracks the last one."""
    loss: Literal["softmax", "stablemax"] = "softmax"
    q_weight: float = Field(default=0.5, ge=0)
    act: bool = True
    """A row that the q head halts is replaced by a fresh puzzle; false: every row runs all its segments."""
    halt_exploration: float = Field(default=0.1, ge=0, le=1)
    """Share of rows that must run a random minimum of segments before the q head may replace them."""
    optimizer: Literal["adamw", "adam_atan2"] = "adamw"
    lr: float = Field(default=2e-3, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    """Course of the learning rate after the warm-up."""
    lr_end: float = Field(default=0.0, ge=0)
    """Learning rate at the last step, of the cosine."""
    warmup: int = Field(default=200, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.999, ge=0, lt=1)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the forward and backward pass; weights and optimizer stay float32. `auto`: bfloat16 where the device has
    instructions for it.
    """
    seed: int = 0
    log_every: int = Field(default=100, ge=1)
    save_every: int = Field(default=1000, ge=1)
