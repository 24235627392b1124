"""The simulator's world looks like what is reported of real trajectories."""

from __future__ import annotations

import numpy as np
import pytest

from eqr_ray.policy.halting import RESIDUAL_BELOW
from eqr_ray.sim import Landscape
from eqr_ray.sim.landscape import Paths, attractor_key, uniform

N = 20_000
DIGEST = np.random.default_rng(0).integers(0, 2**63, N).astype(np.uint64)
SEED = np.random.default_rng(1).integers(0, 2**63, N).astype(np.uint64)


def paths(landscape: Landscape, digest: np.ndarray = DIGEST, seed: np.ndarray = SEED) -> Paths:
    return landscape.trajectories(digest, seed, *landscape.puzzles(digest))


def test_the_same_digest_and_seed_give_the_same_trajectory() -> None:
    world, some = Landscape(), np.arange(0, N, 7)
    whole, part = paths(world), paths(world, DIGEST[some], SEED[some])
    for name in Paths.__slots__:
        assert np.array_equal(getattr(whole, name)[some], getattr(part, name)), name


def test_easy_questions_settle_within_few_iterations_and_hard_ones_need_hundreds() -> None:
    world = Landscape()
    median, right = world.puzzles(DIGEST)
    easy = right == 1.0
    assert easy.mean() == pytest.approx(world.easy, abs=0.02)
    settles = paths(world).settles
    assert np.quantile(settles[easy], 0.9) <= 5
    assert 20 < np.median(settles[~easy]) < 80
    assert (settles[~easy] > 200).mean() > 0.01
    assert np.median(median[~easy]) == pytest.approx(world.hard_depth, rel=0.1)


def test_easy_questions_have_no_spurious_attractor_and_hard_ones_share_theirs() -> None:
    world = Landscape()
    _, right = world.puzzles(DIGEST)
    found = paths(world).attractor
    assert (found[right == 1.0] == 0).all()
    hard = right < 1.0
    assert (found[hard] == 0).mean() == pytest.approx(right[hard].mean(), abs=0.02)
    counts = np.bincount(found[hard], minlength=world.n_spurious + 1)
    assert len(counts) == world.n_spurious + 1
    assert (counts[1:4] > counts[2:5]).all()


def test_the_residual_falls_below_the_default_bound_soon_after_settling_and_not_before() -> None:
    world = Landscape(easy=0.0)
    some = paths(world).take(np.arange(500))
    settles = some.settles
    late = settles > 3
    before = world.observe(some, np.maximum(settles - 1, 1), 1).residual[:, 0]
    after = world.observe(some, settles + 4, 1).residual[:, 0]
    assert (before[late] > RESIDUAL_BELOW).all()
    assert (after < RESIDUAL_BELOW).all()


def test_the_halting_head_is_confident_at_the_right_attractor_and_in_some_wrong_ones() -> None:
    world = Landscape(easy=0.0, least_right=0.0)
    found = paths(world)
    q = world.observe(found, found.settles + 1, 1).q_halt[:, 0]
    assert (q[found.attractor == 0] > 4).all()
    wrong = q[found.attractor > 0]
    assert 0.05 < (wrong > 0).mean() < 0.6


def test_what_is_seen_does_not_depend_on_the_window() -> None:
    world = Landscape()
    some = paths(world).take(np.arange(50))
    wide = world.observe(some, np.full(50, 1), 30)
    for first, width in ((1, 1), (4, 7), (20, 11)):
        narrow = world.observe(some, np.full(50, first), width)
        for name in ("residual", "logit_delta", "q_halt"):
            assert np.array_equal(getattr(narrow, name), getattr(wide, name)[:, first - 1 : first - 1 + width]), name


def test_answers_change_while_wandering_and_stay_once_settled() -> None:
    world = Landscape(easy=0.0)
    some = paths(world).take(np.arange(200))
    early, later = np.ones(200, np.int64), some.settles
    long_way = later > 12
    keys = [world.answer_keys(DIGEST[:200], some, depth) for depth in (early, later, later + 50)]
    assert (keys[0] != keys[1])[long_way].all()
    assert np.array_equal(keys[1], keys[2])
    assert np.array_equal(keys[1], attractor_key(DIGEST[:200], some.attractor))


def test_uniform_numbers_fill_the_unit_interval() -> None:
    words = np.arange(N, dtype=np.uint64)
    for stream in (0, 1, 9):
        u = uniform(words, stream)
        assert 0 <= u.min() < 0.01
        assert 0.99 < u.max() < 1
        assert u.mean() == pytest.approx(0.5, abs=0.01)
