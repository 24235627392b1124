from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from eqr_ray.sim.trace import MANIFEST, TRACE_SCHEMA, TraceFacts, Tracks, pack, read_facts, read_trace, trace_ledger
from eqr_ray.types import InputError

B, D, S = 3, 4, 16
FACTS = TraceFacts("sudoku4", 5, D, B, "tiny", "abc")


def tracks(seed: int) -> Tracks:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 5, (2, S), dtype=np.uint8)[rng.integers(0, 2, (B, D))]
    keys = (tokens.astype(np.uint64) * np.arange(1, S + 1, dtype=np.uint64)).sum(axis=2) + np.uint64(1 << 60)
    floats = rng.random((3, B, D), dtype=np.float32)
    floats[0, :, 0] = np.inf
    floats[:, 1, 3] = np.nan
    return Tracks(*floats, keys, tokens, np.array([D, D - 1, D], np.int32), np.array([False, True, False]))


def row(place: int, label: bytes | None = None) -> dict[str, object]:
    own = tracks(place)
    return {
        "puzzle_id": f"p{place}", "place": place, "source": "made", "question": "." * S, "cells": bytes([place] * S), "label": label,
        "rating": None, **pack(own),
    }  # fmt: skip


def written(folder: Path, rows: list[dict[str, object]]) -> str:
    ledger = trace_ledger(str(folder))
    ledger.append(rows)
    ledger.flush()
    (folder / MANIFEST).write_text(FACTS.to_json())
    return str(folder)


def test_what_is_packed_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, [row(0), row(1)]))
    assert trace.facts == FACTS
    for p in range(2):
        own = tracks(p)
        for name in ("residual", "logit_delta", "q_halt"):
            assert getattr(trace, name)[p].tobytes() == getattr(own, name).tobytes()
        assert np.array_equal(trace.keys[p][trace.code[p]], own.answer_key)
        assert np.array_equal(trace.answers[p][trace.code[p]], own.tokens)
        assert (trace.depth[p].tolist(), trace.diverged[p].tolist()) == (own.depth.tolist(), own.diverged.tolist())


def test_labels_become_the_code_of_the_right_answer(tmp_path: Path) -> None:
    seen = tracks(0).tokens[0, 0]
    trace = read_trace(written(tmp_path, [row(0, seen.tobytes()), row(1, bytes([9] * S)), row(2)]))
    assert np.array_equal(trace.answers[0][trace.right[0]], seen)
    assert trace.right[1:].tolist() == [-1, -2]
    assert trace.labelled.tolist() == [True, True, False]


def test_puzzles_come_in_the_order_of_their_file_and_once(tmp_path: Path) -> None:
    written(tmp_path, [row(2), row(0)])
    trace = read_trace(written(tmp_path, [row(1), row(0)]))
    assert [puzzle.puzzle_id for puzzle in trace.puzzles] == ["p0", "p1", "p2"]
    assert [puzzle.puzzle_id for puzzle in read_trace(str(tmp_path), limit=2).puzzles] == ["p0", "p1"]


def test_taken_puzzles_keep_all_their_columns(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, [row(0), row(1), row(2)]))
    part = trace.take([2, 0])
    for column in fields(part):
        whole, own = getattr(trace, column.name), getattr(part, column.name)
        if isinstance(own, np.ndarray):
            assert own.tobytes() == whole[[2, 0]].tobytes()
    assert [puzzle.puzzle_id for puzzle in part.puzzles] == ["p2", "p0"]


def test_a_folder_without_a_trace_is_refused(tmp_path: Path) -> None:
    assert read_facts(str(tmp_path)) is None
    with pytest.raises(InputError, match=r"holds no trace\.json"):
        read_trace(str(tmp_path))
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(InputError, match="is not the manifest of a trace"):
        read_facts(str(tmp_path))


def test_the_columns_are_those_of_the_schema() -> None:
    assert list(row(0)) == sorted(row(0), key=list(row(0)).index)
    assert set(row(0)) == set(TRACE_SCHEMA.names)
    assert pa.Table.from_pylist([row(0)], schema=TRACE_SCHEMA).num_rows == 1
