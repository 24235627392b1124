"""Verdicts do not depend on what happens to the replicas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from disturbed import Disturbed

from eqr_ray.coordinator import Coordinator, drive_local
from eqr_ray.policy import Policy, policy_from
from eqr_ray.sim import Landscape, SimEngine
from eqr_ray.types import Puzzle, Verdict

RICH = Landscape()
MOSTLY_EASY = Landscape(easy=0.96, hard_depth=8.0)


def puzzles(n: int) -> list[Puzzle]:
    cells = np.random.default_rng(n).integers(0, 5, (n, 16), dtype=np.uint8)
    return [Puzzle(f"p{i}", "sudoku4", row) for i, row in enumerate(cells)]


def facts(verdict: Verdict) -> tuple[object, ...]:
    """Return all that a verdict says, bit for bit."""
    votes = [
        (v.answer_key, v.answer.tobytes(), v.count, v.weight, v.best_residual, v.best_logit_delta)
        for v in verdict.ballot
    ]
    plain = {name: getattr(verdict, name) for name in Verdict.__slots__ if name not in ("answer", "ballot")}
    return (*plain.values(), verdict.answer.tobytes(), *votes)


def undisturbed(policy: Policy, asked: list[Puzzle], world: Landscape) -> dict[str, tuple[object, ...]]:
    run = Coordinator(policy, seed=9, slice_rows=2048, leg=10_000, open_limit=8192)
    return {v.puzzle_id: facts(v) for v in drive_local(run, SimEngine(world), asked)}


def compare(policy: Policy, n: int, world: Landscape, trouble: float = 1.0, **limits: int) -> None:
    """Run the puzzles undisturbed and disturbed; `trouble` is a factor on the chances of the rarer disturbances."""
    asked = puzzles(n)
    expected = undisturbed(policy, asked, world)
    run = Coordinator(policy, seed=9, **limits)
    troubles = Disturbed(
        run, world, seed=n, lose=0.004 * trouble, leave=0.004 * trouble, fail=0.01 * trouble, repeat=0.05 * trouble
    )
    found = troubles.verdicts(asked)
    assert len(found) == len(expected) == n
    budget = policy.budget
    assert all(v.nfe <= budget.nfe and v.breadth <= budget.breadth and v.depth <= budget.depth for v in found)
    assert {v.puzzle_id: facts(v) for v in found} == expected
    counters = run.counters()
    assert troubles.happened.keys() == {"lost", "left", "failed", "shuffled", "stale", "copied"}
    assert counters.lost_slices > 0
    assert counters.copied_slices == troubles.happened["copied"]
    # Of a slice and its copy one is ignored, if both come back.
    assert 0 <= counters.ignored_results - troubles.happened["stale"] <= counters.copied_slices
    assert counters.nfe == sum(v.nfe for v in found) < counters.nfe_computed
    assert (counters.puzzles_done, counters.rows_in_flight, counters.backlog_iterations) == (n, 0, 0)


@pytest.mark.parametrize(
    "policy",
    [
        policy_from("adaptive", depth=128, breadth=8, nfe=600),
        policy_from("adaptive", depth=96, breadth=12, nfe=200, accept_q="inf", agree=3, first_breadth=2),
        policy_from("fixed", depth=48, breadth=4),
        policy_from("fixed", depth=48, breadth=4, nfe=120, select_by="top1_residual"),
    ],
    ids=["adaptive", "adaptive, three agree", "fixed", "fixed, capped"],
)
def test_a_disturbed_run_gives_the_verdicts_of_an_undisturbed_one(policy: Policy) -> None:
    compare(policy, 1500, RICH, trouble=4, slice_rows=64, leg=16, open_limit=400)


def test_a_hundred_thousand_puzzles_get_one_verdict_each_whatever_happens() -> None:
    compare(
        policy_from("adaptive", depth=64, breadth=6, nfe=160),
        100_000,
        MOSTLY_EASY,
        trouble=6,
        slice_rows=1024,
        open_limit=16_384,
    )


@pytest.mark.slow
def test_a_hundred_thousand_hard_puzzles_get_one_verdict_each_whatever_happens() -> None:
    compare(policy_from("adaptive"), 100_000, RICH, slice_rows=512, open_limit=8192)


def test_another_run_seed_draws_other_trajectories() -> None:
    asked = puzzles(200)
    runs = [Coordinator(policy_from("fixed", depth=8), seed=seed) for seed in (1, 2, 1)]
    keys = [sorted(facts(v) for v in drive_local(run, SimEngine(RICH), asked)) for run in runs]
    assert keys[0] == keys[2] != keys[1]


def test_the_adaptive_policy_is_as_right_as_the_fixed_one_for_a_fraction_of_the_iterations() -> None:
    world = replace(RICH, hard_depth=20.0, least_right=0.5)
    asked, oracle = puzzles(2000), SimEngine(world)
    solution = {p.puzzle_id: oracle.solution(p.cells) for p in asked}
    accuracy, nfe = {}, {}
    for name in ("fixed", "adaptive"):
        run = Coordinator(policy_from(name, depth=128, breadth=8), seed=3, slice_rows=1024)
        found = list(drive_local(run, SimEngine(world), asked))
        accuracy[name] = np.mean([np.array_equal(v.answer, solution[v.puzzle_id]) for v in found])
        nfe[name] = np.mean([v.nfe for v in found])
    assert nfe["fixed"] > 0.99 * 128 * 8
    assert nfe["adaptive"] < 0.2 * nfe["fixed"]
    assert accuracy["adaptive"] > accuracy["fixed"] - 0.02
