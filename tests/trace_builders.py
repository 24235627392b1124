"""Traces for tests: recorded from a tiny network or from the bundled weights."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch

from eqr_ray.coordinator import trajectory_seeds
from eqr_ray.engine.factory import EngineSpec
from eqr_ray.engine.recording import Recorder, RecorderSpec, Recording
from eqr_ray.engine.torch_engine import TorchEngine
from eqr_ray.model.checkpoint import fetch
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec
from eqr_ray.puzzles.demo import demo_path
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.sim.trace import TRACE_SCHEMA, Trace, TraceFacts, Tracks, pack, unpack
from eqr_ray.types import U8, Puzzle, Verdict

QUESTIONS = list(np.random.default_rng(3).integers(0, 5, (4, 16), dtype=np.uint8))
SPEC = ModelSpec(
    task="sudoku4", rows=4, cols=4, vocab=5, model_vocab=5, token_map=(0, 1, 2, 3, 4), box_rows=2, box_cols=2,
    hidden=16, layers=1, heads=2, ff_width=24, position="grid", noise=0.05,
)  # fmt: skip


def tiny_network() -> EquilibriumReasoner:
    torch.manual_seed(5)
    model = EquilibriumReasoner(SPEC)
    with torch.no_grad():
        model.q_head.weight.normal_()
        model.q_head.bias.zero_()
    return model


def tiny_engine() -> TorchEngine:
    return TorchEngine(tiny_network(), tile=4)


def recorded(questions: list[U8], depth: int, breadth: int, seed: int) -> Trace:
    """Record the tiny network on questions of the task `contract`."""
    puzzles = [Puzzle(f"p{n}", "contract", cells) for n, cells in enumerate(questions)]
    return record(Recorder(tiny_network(), tile=4), puzzles, [None] * len(puzzles), depth, breadth, seed)


@lru_cache(maxsize=4)
def bundled_trace(puzzles: int, depth: int, breadth: int, checkpoint: str = "sudoku6") -> Trace:
    """Record the bundled weights on the bundled puzzles, hardest last."""
    records = list(read_puzzles(str(demo_path(checkpoint)), limit=puzzles))
    recorder = RecorderSpec(EngineSpec(fetch(checkpoint), "cpu"))()
    return record(recorder, [r.puzzle for r in records], [r.answer for r in records], depth, breadth, 0)


def record(
    recorder: Recorder, puzzles: list[Puzzle], labels: list[U8 | None], depth: int, breadth: int, seed: int
) -> Trace:
    index = np.tile(np.arange(breadth, dtype=np.int32), len(puzzles))
    keys = np.repeat(np.array([puzzle.draw_key for puzzle in puzzles], np.uint64), breadth)
    cells = [puzzle.cells for puzzle in puzzles for _ in range(breadth)]
    found = recorder.record(cells, trajectory_seeds(seed, keys, index), depth)
    rows = [
        {
            "puzzle_id": puzzle.puzzle_id, "place": n, "source": "made", "question": "", "cells": puzzle.cells.tobytes(),
            "label": None if labels[n] is None else labels[n].tobytes(), "rating": None,
            **pack(tracks_of(found, slice(n * breadth, (n + 1) * breadth))),
        }
        for n, puzzle in enumerate(puzzles)
    ]  # fmt: skip
    facts = TraceFacts(puzzles[0].task, seed, depth, breadth, "made", "")
    return unpack(facts, pa.Table.from_pylist(rows, schema=TRACE_SCHEMA))


def tracks_of(found: Recording, own: slice) -> Tracks:
    return Tracks(
        found.residual[own], found.logit_delta[own], found.q_halt[own], found.answer_key[own], found.tokens[own],
        found.depth[own], found.diverged[own],
    )  # fmt: skip


def verdict_facts(verdict: Verdict) -> tuple[object, ...]:
    """Return all that a verdict says, comparable."""
    ballot = [
        (vote.answer_key, vote.answer.tobytes(), vote.count, vote.weight, vote.best_residual, vote.best_logit_delta)
        for vote in verdict.ballot
    ]
    return (
        verdict.answer.tobytes(), verdict.selection, verdict.confidence, verdict.votes, verdict.distinct_answers,
        verdict.breadth, verdict.depth, verdict.nfe, verdict.residual, verdict.stop, ballot,
    )  # fmt: skip
