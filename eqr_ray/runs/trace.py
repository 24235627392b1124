"""Recording a trace: every trajectory of every puzzle to full depth, on Ray or in this process.

Invariants, asserted in tests/cli/test_trace_commands.py and tests/ray_local/test_crew.py: the size is stated before anything
is recorded; a trace that was cut off goes on with `resume` and holds every puzzle once; a folder with another trace is
never touched.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from eqr_ray.config.trace import TraceConfig
from eqr_ray.coordinator import Ledger, trajectory_seeds
from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import task as find_task
from eqr_ray.runs.progress import Progress, Standing
from eqr_ray.sim.trace import BYTES_PER_ITERATION, MANIFEST, TraceFacts, Tracks, pack, read_facts, trace_ledger
from eqr_ray.storage import Place, RunLock
from eqr_ray.types import U8, InputError, StorageError

if TYPE_CHECKING:
    from eqr_ray.distributed.crew import Done
    from eqr_ray.engine.recording import RecorderSpec

FLUSH_ROWS, FLUSH_S = 256, 60.0
"""A part of the trace is written after so many puzzles or so long: what a killed driver records again at most."""
Piece = list[tuple[str, int, U8]]
"""(puzzle id, draw key, cells) of a few puzzles."""
Recorded = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """What a session recorded."""

    puzzles: int
    """In the trace, earlier sessions included."""
    iterations: int
    """Of this session."""
    wall_s: float
    out: str


@dataclass(frozen=True, slots=True)
class PieceRecorder:
    """Builds, in a worker, the function that records a piece; picklable, weights included."""

    spec: RecorderSpec
    depth: int
    breadth: int
    seed: int

    def __call__(self) -> RecordPiece:
        """Build it."""
        return RecordPiece(self)


class RecordPiece:
    """Records the trajectories of a few puzzles and packs them into rows of a trace."""

    def __init__(self, recipe: PieceRecorder) -> None:
        self._recipe, self._recorder = recipe, recipe.spec()

    def __call__(self, piece: Piece) -> Recorded:
        """Return one row a puzzle, without the columns that only the reader of the file knows."""
        recipe = self._recipe
        index = np.tile(np.arange(recipe.breadth, dtype=np.int32), len(piece))
        keys = np.repeat(np.array([key for _, key, _ in piece], np.uint64), recipe.breadth)
        cells = [own for _, _, own in piece for _ in range(recipe.breadth)]
        found = self._recorder.record(cells, trajectory_seeds(recipe.seed, keys, index), recipe.depth)
        rows = []
        for p, (puzzle_id, _, _) in enumerate(piece):
            own = slice(p * recipe.breadth, (p + 1) * recipe.breadth)
            tracks = Tracks(
                found.residual[own], found.logit_delta[own], found.q_halt[own], found.answer_key[own], found.tokens[own],
                found.depth[own], found.diverged[own],
            )  # fmt: skip
            rows.append({"puzzle_id": puzzle_id, **pack(tracks)})
        return rows


def run_trace(config: TraceConfig, quiet: bool = False) -> TraceSummary:
    """Record a trace and return what it took; InputError for bad input, RuntimeError when a piece cannot be recorded."""
    task = find_task(config.task) if config.task else None
    records = list(read_puzzles(config.puzzles, task, config.limit))
    facts, recipe = _recipe(config, records[0].puzzle.task)
    before = read_facts(config.out)
    ledger = trace_ledger(config.out)
    _check_earlier(config, before, facts, bool(ledger.parts))
    own = Place(config.out)
    with RunLock(own, config.resume):
        if before is None:
            _write_manifest(own, facts)
        ledger.refresh()
        return _record(config, recipe, records, ledger, quiet)


def _record(
    config: TraceConfig, recipe: PieceRecorder, records: list[Record], ledger: Ledger, quiet: bool
) -> TraceSummary:
    finished = ledger.finished_ids() if ledger.parts else set()
    left = [(place, record) for place, record in enumerate(records) if record.puzzle.puzzle_id not in finished]
    n_iterations = len(left) * config.depth * config.breadth
    if not quiet:
        print_size(len(left), config)
    started = time.monotonic()
    by_id = {record.puzzle.puzzle_id: (place, record) for place, record in left}
    pieces = _pieces([record for _, record in left], config.piece)
    progress = Progress(len(records), len(finished), quiet)
    waiting: list[dict[str, object]] = []
    flushed = started

    def flush() -> None:
        ledger.append(waiting)
        ledger.flush()
        waiting.clear()

    replicas = 1

    def began(n: int) -> None:
        nonlocal replicas
        replicas = n

    n_done, done = len(finished), _work(config, recipe, pieces, began)
    try:
        for piece in done:
            if piece.value is None:
                raise RuntimeError(
                    f"a piece of the trace could not be recorded: {piece.error}; what is done is kept, go on with --resume"
                )
            for row in piece.value:
                place, record = by_id[str(row["puzzle_id"])]
                waiting.append({**row, **known_columns(place, record)})
            n_done += len(piece.value)
            now = time.monotonic()
            charged = n_done * config.depth * config.breadth
            progress.show(Standing(n_done, len(finished), len(records), now - started, None, charged, replicas))
            if len(waiting) >= FLUSH_ROWS or now - flushed > FLUSH_S:
                flush()
                flushed = now
    finally:
        flush()
        progress.close()
        done.close()
    return TraceSummary(n_done, n_iterations, time.monotonic() - started, config.out)


def print_size(n_puzzles: int, config: TraceConfig) -> None:
    """Say on standard error what is about to be recorded and how large it will be."""
    iterations = n_puzzles * config.depth * config.breadth
    size = size_text(BYTES_PER_ITERATION * iterations)
    print(
        f"{n_puzzles:,} puzzles x {config.breadth} trajectories x {config.depth} iterations = {iterations:,}, about {size} in {config.out}",
        file=sys.stderr,
        flush=True,
    )


def size_text(n_bytes: float) -> str:
    """Return a size as `3.1 MB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n_bytes < 1000 or unit == "TB":
            break
        n_bytes /= 1000
    return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"


def _recipe(config: TraceConfig, task: str) -> tuple[TraceFacts, PieceRecorder]:
    from eqr_ray.engine.factory import EngineSpec, pick_device
    from eqr_ray.engine.recording import Dynamics, RecorderSpec
    from eqr_ray.model.checkpoint import build
    from eqr_ray.model.matching import checkpoint_for

    if config.address in ("local", "none"):
        pick_device(config.device)
    files = checkpoint_for(task, config.checkpoint, config.puzzles)
    build(files)
    dynamics = Dynamics(config.beta, config.init_std, config.damping)
    threads = config.threads or 1
    engine = EngineSpec(files, config.device, config.dtype, threads, config.slots, compiled=config.compile)
    spec = RecorderSpec(engine, dynamics)
    facts = TraceFacts(
        task, config.seed, config.depth, config.breadth, files.name, files.sha256, config.dtype, dynamics.beta,
        dynamics.init_std, dynamics.damping, config.slots, config.compile,
    )  # fmt: skip
    return facts, PieceRecorder(spec, config.depth, config.breadth, config.seed)


def _check_earlier(config: TraceConfig, before: TraceFacts | None, facts: TraceFacts, has_parts: bool) -> None:
    if before is None:
        if has_parts:
            raise InputError(
                f"{config.out} holds parts of a trace without {MANIFEST}; choose another folder with --out"
            )
        return
    if has_parts and not config.resume:
        raise InputError(
            f"{config.out} holds an earlier trace; go on with it by --resume, or choose another folder with --out"
        )
    for name in TraceFacts.__dataclass_fields__:
        old, new = getattr(before, name), getattr(facts, name)
        if name != "checkpoint" and old != new:
            raise InputError(
                f"{config.out} was begun with {name} {old} and this trace has {new}; choose another folder with --out"
            )


def _write_manifest(place: Place, facts: TraceFacts) -> None:
    try:
        place.write(MANIFEST, facts.to_json().encode())
    except StorageError as error:
        raise InputError(f"{error}; the folder is what out names") from None


def known_columns(place: int, record: Record) -> dict[str, object]:
    """Return the columns of a trace's row that the puzzle file knows."""
    return {
        "place": place,
        "source": record.source,
        "question": record.question,
        "cells": record.puzzle.cells.tobytes(),
        "label": None if record.answer is None else record.answer.tobytes(),
        "rating": record.rating,
    }


def _pieces(records: list[Record], size: int) -> Iterator[Piece]:
    source = iter(records)
    while chunk := list(islice(source, size)):
        yield [(record.puzzle.puzzle_id, record.puzzle.draw_key, record.puzzle.cells) for record in chunk]


def _work(
    config: TraceConfig, recipe: PieceRecorder, pieces: Iterator[Piece], began: Callable[[int], None]
) -> Generator[Done[Piece, Recorded], None, None]:
    from dataclasses import replace

    from eqr_ray.distributed.crew import Crew, work_here

    if config.address == "none":
        yield from work_here(recipe, pieces)
        return
    from eqr_ray.distributed.cluster import connect
    from eqr_ray.distributed.shares import capacity, share_out

    with connect(config.address) as cluster:
        nodes = cluster.nodes()
        cuda = config.device == "cuda" or (config.device == "auto" and any(node.n_gpus > 0 for node in nodes))
        share = share_out(nodes, config.replicas, config.gpus_per_replica if cuda else None, config.threads)
        device = "cuda" if cuda else "cpu" if config.device == "auto" else config.device
        engine = replace(recipe.spec.engine, device=device, threads=share.threads)
        recipe = replace(recipe, spec=replace(recipe.spec, engine=engine))
        n = config.replicas or max(1, capacity(nodes, share))
        began(n)
        yield from Crew(recipe, share, n).work(pieces)
