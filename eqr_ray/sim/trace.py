"""Recorded trajectories: every iteration of B trajectories of P puzzles, in memory and as rows of a Parquet ledger.

Floats are kept as they were reported, to the bit: a policy compares them with thresholds, so that a rounded trace would
replay other verdicts than a live run. Answers are kept once a puzzle and named by their place.
Invariants, asserted in tests/unit/sim/test_trace.py: what is packed is read back the same; a trace never holds a
puzzle twice; a column after a divergence is NaN.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa

from eqr_ray.coordinator import Ledger
from eqr_ray.storage import Place
from eqr_ray.types import F32, F64, I32, U8, U64, Bool, InputError, Puzzle, StorageError

TRACE_SCHEMA = pa.schema(
    [
        ("puzzle_id", pa.string()),
        ("place", pa.int64()),
        ("source", pa.string()),
        ("question", pa.string()),
        ("cells", pa.binary()),
        ("label", pa.binary()),
        ("rating", pa.float64()),
        ("depth", pa.list_(pa.int32())),
        ("diverged", pa.list_(pa.bool_())),
        ("residual", pa.list_(pa.float32())),
        ("logit_delta", pa.list_(pa.float32())),
        ("q_halt", pa.list_(pa.float32())),
        ("code", pa.list_(pa.uint32())),
        ("keys", pa.list_(pa.uint64())),
        ("answers", pa.binary()),
    ]
)
"""One row a puzzle; the lists hold B or B * D values, trajectory by trajectory; `code` names one of the K `keys`, whose decoded
answers stand end to end in `answers`."""
WRITE_OPTIONS: Mapping[str, object] = {
    "compression": "zstd",
    "use_byte_stream_split": [f"{name}.list.element" for name in ("residual", "logit_delta", "q_halt")],
    "use_dictionary": ["code.list.element", "source"],
}
"""Bytes of equal rank stand together, which halves the floats of settled trajectories."""
MANIFEST, FOLDER = "trace.json", "trace"
BYTES_PER_ITERATION = 14.0
"""Compressed size of an iteration, answers included: 10 bytes were measured on 6x6 boards and 18 on 9x9 ones."""


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What made a trace: with the puzzles, all that its columns depend on."""

    task: str
    seed: int
    depth: int
    """D"""
    breadth: int
    """B"""
    checkpoint: str
    checkpoint_sha256: str
    dtype: str = "float32"
    beta: float | None = None
    init_std: float | None = None
    damping: float | None = None
    tile: int | None = None
    compiled: bool = False

    def to_json(self) -> str:
        """Return the manifest."""
        return json.dumps({"version": 1, **asdict(self)}, indent=1) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """P puzzles, B trajectories, D iterations; column d - 1 is the state at depth d."""

    facts: TraceFacts
    puzzles: tuple[Puzzle, ...]
    source: tuple[str, ...]
    questions: tuple[str, ...]
    rating: F64
    """(P,) NaN where the file had none."""
    residual: F32
    """(P, B, D)"""
    logit_delta: F32
    """(P, B, D)"""
    q_halt: F32
    """(P, B, D)"""
    code: I32
    """(P, B, D) place of the decoded answer among the puzzle's answers."""
    depth: I32
    """(P, B) iterations recorded: D, or the one that diverged."""
    diverged: Bool
    """(P, B)"""
    keys: tuple[U64, ...]
    """P of (K,): answer keys."""
    answers: tuple[U8, ...]
    """P of (K, S)."""
    right: I32
    """(P,) code of the right answer, -1 where no trajectory ever decoded to it, -2 where the file had no answer."""

    def __len__(self) -> int:
        return len(self.puzzles)

    @property
    def labelled(self) -> Bool:
        """(P,) whether the file had an answer."""
        return np.asarray(self.right > -2, dtype=np.bool_)

    def take(self, rows: Sequence[int] | np.ndarray) -> Trace:
        """Return the puzzles at these positions."""
        at = np.asarray(rows, dtype=np.int64)
        columns: dict[str, Any] = {}
        for column in fields(self):
            value = getattr(self, column.name)
            if isinstance(value, np.ndarray):
                columns[column.name] = value[at]
            elif isinstance(value, tuple):
                columns[column.name] = tuple(value[i] for i in at.tolist())
            else:
                columns[column.name] = value
        return Trace(**columns)


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The trajectories of one puzzle as they were recorded: B trajectories, D iterations."""

    residual: F32
    logit_delta: F32
    q_halt: F32
    answer_key: U64
    """(B, D)"""
    tokens: U8
    """(B, D, S)"""
    depth: I32
    """(B,)"""
    diverged: Bool
    """(B,)"""


def pack(tracks: Tracks) -> dict[str, object]:
    """Return the columns of `TRACE_SCHEMA` that follow from a recording; the puzzle's own columns are added by whoever knows it."""
    keys, first, code = np.unique(tracks.answer_key.reshape(-1), return_index=True, return_inverse=True)
    cells = tracks.tokens.shape[2]
    return {
        "depth": tracks.depth,
        "diverged": tracks.diverged,
        "residual": tracks.residual.reshape(-1),
        "logit_delta": tracks.logit_delta.reshape(-1),
        "q_halt": tracks.q_halt.reshape(-1),
        "code": code.reshape(-1).astype(np.uint32),
        "keys": keys,
        "answers": tracks.tokens.reshape(-1, cells)[first].tobytes(),
    }


def trace_ledger(uri: str) -> Ledger:
    """Open the ledger of a trace's folder."""
    return Ledger(Place(uri).at(FOLDER).uri, TRACE_SCHEMA, write_options=WRITE_OPTIONS)


def read_facts(uri: str) -> TraceFacts | None:
    """Return what made the trace of a folder, None where there is none; InputError for a manifest that cannot be read."""
    place = Place(uri)
    try:
        content = place.read(MANIFEST)
    except StorageError as error:
        raise InputError(str(error)) from None
    if content is None:
        return None
    try:
        values = json.loads(content)
        known = {column.name for column in fields(TraceFacts)}
        return TraceFacts(**{name: value for name, value in values.items() if name in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{uri}/{MANIFEST} is not the manifest of a trace ({error}); record the trace again") from None


def read_trace(uri: str, limit: int | None = None) -> Trace:
    """Return the first `limit` puzzles of a trace, in the order of its puzzle file; InputError where there is no trace."""
    facts = read_facts(uri)
    if facts is None:
        raise InputError(f"{uri} holds no {MANIFEST}; give the --out folder of `eqr-ray trace`")
    table = trace_ledger(uri).table()
    if not table.num_rows:
        raise InputError(f"{uri} holds a trace without puzzles; record it with `eqr-ray trace --resume`")
    places = table["place"].to_numpy()
    _, first = np.unique(places, return_index=True)
    return unpack(facts, table.take(first if limit is None else first[:limit]))


def unpack(facts: TraceFacts, table: pa.Table) -> Trace:
    """Return rows of `TRACE_SCHEMA` as a trace."""
    n, shape = table.num_rows, (table.num_rows, facts.breadth, facts.depth)

    def dense(name: str) -> np.ndarray:
        values = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if values.size != n * facts.breadth * facts.depth:
            raise InputError(
                f"a trace of {facts.breadth} x {facts.depth} iterations has {n} rows with other lengths; record it again"
            )
        return np.asarray(values).reshape(shape)

    cells = [np.frombuffer(row, np.uint8) for row in table["cells"].to_pylist()]
    ids = table["puzzle_id"].to_pylist()
    keys = tuple(np.asarray(row.values.to_numpy(), np.uint64) for row in table["keys"])
    answers = tuple(
        np.frombuffer(row, np.uint8).reshape(-1, len(own))
        for row, own in zip(table["answers"].to_pylist(), cells, strict=True)
    )
    labels = table["label"].to_pylist()
    return Trace(
        facts=facts,
        puzzles=tuple(Puzzle(name, facts.task, own) for name, own in zip(ids, cells, strict=True)),
        source=tuple(table["source"].to_pylist()),
        questions=tuple(table["question"].to_pylist()),
        rating=np.array([np.nan if value is None else value for value in table["rating"].to_pylist()], np.float64),
        residual=dense("residual"),
        logit_delta=dense("logit_delta"),
        q_halt=dense("q_halt"),
        code=dense("code").astype(np.int32),
        depth=np.stack([np.asarray(row.values.to_numpy(), np.int32) for row in table["depth"]]),
        diverged=np.stack(
            [np.asarray(row.values.to_numpy(zero_copy_only=False), np.bool_) for row in table["diverged"]]
        ),
        keys=keys,
        answers=answers,
        right=np.array([_code_of(label, own) for label, own in zip(labels, answers, strict=True)], np.int32),
    )


def _code_of(label: bytes | None, answers: U8) -> int:
    if label is None:
        return -2
    same = np.flatnonzero((answers == np.frombuffer(label, np.uint8)).all(axis=1))
    return int(same[0]) if len(same) else -1
