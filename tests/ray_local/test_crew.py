from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pieces import Doubling

from eqr_ray.distributed.crew import Crew, Done
from eqr_ray.distributed.shares import Share

pytestmark = pytest.mark.usefixtures("one_node")
SHARE = Share(1.0, 0.0, 1)


def by_task(done: Iterator[Done[int, int]]) -> dict[int, Done[int, int]]:
    found: dict[int, Done[int, int]] = {}
    for piece in done:
        assert piece.task not in found, "a piece must come back once"
        found[piece.task] = piece
    return found


def test_a_dead_worker_costs_its_piece_one_try_and_an_error_is_that_pieces_own(tmp_path: Path) -> None:
    crew = Crew(Doubling(bad=3, deadly=5, marker=str(tmp_path / "once")), SHARE, size=2)
    found = by_task(crew.work(iter(range(12))))
    assert sorted(found) == list(range(12))
    assert {task: piece.value for task, piece in found.items() if task != 3} == {n: 2 * n for n in range(12) if n != 3}
    assert found[3].value is None
    assert "3 cannot be doubled" in (found[3].error or "")


def test_with_one_try_a_dead_worker_is_one_failed_piece_and_the_rest_goes_on() -> None:
    found = by_task(Crew(Doubling(deadly=2), SHARE, size=2, tries=1).work(iter(range(6))))
    assert [task for task, piece in found.items() if piece.value is None] == [2]
    assert found[2].error
    assert len(found) == 6


def test_pieces_are_drawn_only_when_somebody_is_free() -> None:
    drawn = []

    def pieces() -> Iterator[int]:
        for n in range(50):
            drawn.append(n)
            yield n

    work = Crew(Doubling(), SHARE, size=2).work(pieces())
    next(work)
    assert len(drawn) <= 3
    work.close()
