"""Mines hard Sudoku puzzles around given ones.

Invariants, asserted in tests/unit/puzzles/test_prospecting.py: every puzzle mined has exactly one solution, needs every clue, is rated as
asked for, is none of the given ones and comes once; the same seeds and given puzzles make the same puzzles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from eqr_ray.puzzles.generator import FRUITLESS, Wish
from eqr_ray.puzzles.record import Record, Registrar, Row
from eqr_ray.puzzles.sudoku import SudokuTask
from eqr_ray.puzzles.task import task
from eqr_ray.types import InputError, draw_key

BATCH = 256
MOST_PARENTS = 8192
"""Puzzles around which is mined: the given ones and those found, the latest of them when there are more."""


def mine(given: Sequence[Record], count: int, seed: int, wish: Wish, exchange: int = 3) -> Iterator[Record]:
    """Yield `count` new puzzles: of a given or found one, take out 1 to `exchange` clues, draw a grid of the rest, make it unique again
    with clues of that grid, and leave out whatever is not needed.

    Raises InputError when no more puzzles as wished for are found.
    """
    from eqr_ray.puzzles.mining import remake

    if not given:
        raise InputError("puzzles are mined around others, got none; give a file of hard puzzles")
    rules = task(given[0].puzzle.task)
    if not isinstance(rules, SudokuTask):
        raise InputError(
            f"clues are exchanged in Sudoku puzzles, got {rules.name}; make mazes with `eqr-ray data generate`"
        )
    rng = np.random.default_rng(seed)
    registrar = Registrar(rules)
    parents = np.stack([record.puzzle.cells for record in given])[-MOST_PARENTS:]
    seen = {int(draw_key(rules.name, record.puzzle.cells)) for record in given}
    found = fruitless = 0
    while found < count:
        if fruitless == FRUITLESS:
            raise InputError(
                f"no further {rules.name} puzzle as wished for was found after {found}; ask for fewer, for a lower rating, "
                "or give more puzzles"
            )
        fruitless += 1
        chosen = parents[rng.integers(len(parents), size=BATCH)]
        seeds = rng.integers(1, 2**63, size=BATCH, dtype=np.uint64)
        made = remake(chosen, rules.box, seeds, n_drop=int(rng.integers(1, exchange + 1)), extra=wish.extra_clues)
        fresh = []
        for question, answer, rating in zip(made.questions, made.answers, made.guesses.tolist(), strict=True):
            key = int(draw_key(rules.name, question))
            if rating < wish.min_rating or (wish.max_rating is not None and rating > wish.max_rating) or key in seen:
                continue
            seen.add(key)
            fresh.append(question)
            if found < count:
                found += 1
                row = Row(rules.format(question), "", "", "mined", found, f"mined with seed {seed}")
                yield registrar.register(question, answer, float(rating), row)
        if fresh:
            fruitless = 0
            parents = np.concatenate([parents, np.stack(fresh)])[-MOST_PARENTS:]
