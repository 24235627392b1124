"""Makes the bundled puzzles anew: `python -m eqr_ray.puzzles.demo.make FOLDER`; the same bytes every time.

Seeds and bands were fixed before any network saw the puzzles.
"""

from __future__ import annotations

import sys
from pathlib import Path

from eqr_ray.puzzles.generator import Wish, generate
from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.task import task
from eqr_ray.puzzles.writing import write_puzzles

BANDS = (
    (15, Wish(max_rating=0)),
    (15, Wish(min_rating=1, max_rating=9)),
    (15, Wish(min_rating=10, max_rating=49)),
    (8, Wish(min_rating=50, max_rating=199)),
    (7, Wish(min_rating=200)),
)
"""How many sudoku9 puzzles of which ratings."""
N_SUDOKU6 = 200


def make(folder: Path) -> None:
    """Write `sudoku9.csv` and `sudoku6.csv` into a folder."""
    nine = [
        record
        for seed, (count, wish) in enumerate(BANDS, 900)
        for record in generate(task("sudoku9"), count, seed, wish)
    ]
    write_puzzles(str(folder / "sudoku9.csv"), sorted(nine, key=_rating))
    write_puzzles(str(folder / "sudoku6.csv"), sorted(generate(task("sudoku6"), N_SUDOKU6, seed=600), key=_rating))


def _rating(record: Record) -> float:
    assert record.rating is not None
    return record.rating


if __name__ == "__main__":
    make(Path(sys.argv[1]))
