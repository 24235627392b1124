from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_verdicts import batches, row, unlabelled, wrong

from eqr_ray.evaluation.summary import NO_SOURCE, CheckpointFacts, RunFacts, Running, Summary
from eqr_ray.evaluation.verdicts import VerdictRow, to_table

CONTRACT = {
    "puzzles", "exact_accuracy", "exact_accuracy_ci95", "valid_accuracy", "token_accuracy", "nfe_mean", "nfe_total", "nfe_computed",
    "nle_mean", "puzzles_per_s", "wall_s", "replicas", "lost_slices", "by_source", "stop", "checkpoint", "policy", "seed", "version",
    "device",
}  # fmt: skip
FACTS = RunFacts(
    nfe_computed=70, nle_per_nfe=42, wall_s=2.0, replicas=3, lost_slices=1,
    checkpoint=CheckpointFacts("sudoku4", "ab" * 32, 1000), policy={"name": "fixed", "depth": 8}, seed=5, version="0.1.0",
    device="cpu",
)  # fmt: skip


def summarize(*rows: VerdictRow, facts: RunFacts = FACTS) -> Summary:
    running = Running()
    running.add(to_table(rows))
    return running.summary(facts)


def test_every_key_of_the_contract_is_there_and_the_json_is_strict() -> None:
    written = json.loads(summarize(row(), wrong(1)).to_json(), parse_constant=pytest.fail)
    assert written.keys() >= CONTRACT
    assert written["checkpoint"] == {"name": "sudoku4", "sha256": "ab" * 32, "parameters": 1000}
    assert written["by_source"] == {"made": {"puzzles": 2, "exact_accuracy": 0.5, "nfe_mean": 16.0}}


def test_the_arithmetic_of_a_hand_made_run() -> None:
    got = summarize(
        row(0, source="a", nfe=10), row(1, source="a", nfe=20), wrong(2, source="b", nfe=30, stop="nfe_spent"), unlabelled(3, nfe=4)
    )  # fmt: skip
    assert (got.puzzles, got.puzzles_with_answer) == (4, 3)
    assert got.exact_accuracy == pytest.approx(2 / 3)
    assert got.exact_accuracy_ci95 == pytest.approx([0.2077, 0.9385], abs=1e-4)
    assert got.valid_accuracy == 3 / 4
    assert got.token_accuracy == pytest.approx((16 + 16 + 14) / 48)
    assert (got.nfe_total, got.nfe_mean, got.nfe_computed) == (64, 16.0, 70)
    assert got.nle_mean == 16.0 * 42
    assert got.puzzles_per_s == 2.0
    assert got.stop == {"consensus": 3, "nfe_spent": 1}
    assert got.by_source["b"].exact_accuracy == 0.0
    assert got.by_source["made"].exact_accuracy is None


def test_without_labels_accuracy_is_null_and_never_zero() -> None:
    got = summarize(unlabelled(0), unlabelled(1))
    assert got.exact_accuracy is None
    assert got.exact_accuracy_ci95 is None
    assert got.token_accuracy is None
    assert set(got.selection.values()) == {None}
    assert got.valid_accuracy == 1.0


def test_a_run_without_a_verdict_has_no_means() -> None:
    got = summarize()
    assert (got.puzzles, got.nfe_total) == (0, 0)
    assert got.nfe_mean is None
    assert got.valid_accuracy is None
    assert json.loads(got.to_json())["by_source"] == {}


def test_a_run_that_was_cut_off_knows_no_facts() -> None:
    got = summarize(row(), facts=RunFacts())
    assert (got.wall_s, got.puzzles_per_s, got.nfe_computed, got.nle_mean, got.checkpoint) == (None,) * 5


def test_puzzles_without_a_source_are_counted_together() -> None:
    assert summarize(row(0, source=None), row(1, source=None)).by_source[NO_SOURCE].puzzles == 2


def test_a_null_character_in_a_source_does_not_merge_it_with_another() -> None:
    assert summarize(row(0, source="a"), row(1, source="a\0")).by_source.keys() == {"a", "a\0"}


def test_accuracy_so_far_follows_each_batch() -> None:
    running = Running()
    assert running.exact_accuracy is None
    running.add(to_table([row(0)]))
    assert running.exact_accuracy == 1.0
    running.add(to_table([wrong(1)]).to_batches()[0])
    assert (running.exact_accuracy, running.puzzles, running.nfe_total) == (0.5, 2, 32)


def test_other_selection_rules_are_reported_over_labelled_puzzles() -> None:
    got = summarize(row(0), wrong(1, any_correct=True, top1_residual_exact=True), unlabelled(2))
    assert got.selection == {"any_correct": 1.0, "majority": 0.5, "top1_residual": 1.0, "top1_logit": 0.5}


@given(st.lists(st.integers(0, 5), max_size=6), st.randoms(use_true_random=False))
def test_the_numbers_do_not_depend_on_batches_or_order(sizes: list[int], chance: random.Random) -> None:
    rows = [
        row(0, source="b"),
        wrong(1, nfe=99),
        unlabelled(2, source=None),
        row(3, stop="nfe_spent"),
        wrong(4, source="b"),
    ]
    whole = summarize(*rows)
    chance.shuffle(rows)
    running = Running()
    for piece in batches(to_table(rows), sizes):
        running.add(piece)
    assert running.summary(FACTS) == whole
