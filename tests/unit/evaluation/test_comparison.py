from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_verdicts import row

from eqr_ray.evaluation.comparison import changed_rows, compare, mcnemar_p, paired_interval
from eqr_ray.evaluation.verdicts import VerdictRow, to_table
from eqr_ray.types import InputError

COUNT = st.integers(0, 60)


def run(folder: Path, *rows: VerdictRow) -> str:
    (folder / "verdicts").mkdir(parents=True)
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        pq.write_table(to_table(part), folder / "verdicts" / f"part-{number:05d}.parquet")
    return str(folder)


def test_puzzles_are_paired_by_id_and_those_of_one_run_alone_left_out(tmp_path: Path) -> None:
    right, wrong = (lambda n: row(n)), (lambda n: row(n, exact=False, prediction="wrong"))
    a = run(tmp_path / "a", right(0), right(1), wrong(2), wrong(3), right(4))
    b = run(tmp_path / "b", right(3), wrong(1), right(0), wrong(2), right(9), right(8))
    paired = compare(a, b)
    found = paired.comparison
    assert (found.paired, found.only_a, found.only_b) == (4, 1, 2)
    assert (found.right_a, found.right_b, found.won, found.lost, found.difference) == (2, 2, 1, 1, 0.0)
    assert found.p_value == 1.0
    changed = {str(own["puzzle_id"]): own for own in changed_rows(a, b, paired)}
    assert {name: own["change"] for name, own in changed.items()} == {
        row(3).puzzle_id: "won", row(1).puzzle_id: "lost",
    }  # fmt: skip
    assert changed[row(1).puzzle_id]["prediction_b"] == "wrong"


def test_runs_without_labels_are_judged_by_the_rules(tmp_path: Path) -> None:
    a = run(tmp_path / "a", row(0, exact=None, valid=False), row(1, exact=None))
    b = run(tmp_path / "b", row(0, exact=None), row(1, exact=None))
    found = compare(a, b).comparison
    assert (found.judged_by, found.won, found.lost) == ("valid", 1, 0)


def test_runs_over_other_puzzles_are_refused(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", row(0), row(1)), run(tmp_path / "b", row(2), row(3))
    with pytest.raises(InputError, match="share no puzzle"):
        compare(a, b)


@settings(max_examples=60, deadline=None)
@given(COUNT, COUNT, COUNT, COUNT)
def test_exchanging_the_runs_turns_the_interval_round(both: int, won: int, lost: int, neither: int) -> None:
    if both + won + lost + neither == 0:
        with pytest.raises(ValueError, match="at least one pair"):
            paired_interval(both, won, lost, neither)
        return
    low, high = paired_interval(both, won, lost, neither)
    assert paired_interval(both, lost, won, neither) == pytest.approx((-high, -low))
    difference = (won - lost) / (both + won + lost + neither)
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1
    assert mcnemar_p(won, lost) == mcnemar_p(lost, won)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    shares = np.array([0.8, 0.08, 0.03, 0.09])
    truth = shares[1] - shares[2]
    draws = np.random.default_rng(5).multinomial(150, shares, 2000)
    held = [low <= truth <= high for low, high in (paired_interval(*draw) for draw in draws.tolist())]
    assert 0.935 < np.mean(held) < 0.975


def test_mcnemars_p_is_the_binomial_one() -> None:
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(0, 5) == pytest.approx(2 / 32)
    assert mcnemar_p(2, 12) == pytest.approx(2 * (1 + 14 + 91) / 2**14)
    assert 0 < mcnemar_p(1000, 1500) < 1e-20
