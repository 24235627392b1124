from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from eqr_ray.puzzles.files import read_puzzles
from eqr_ray.puzzles.ids import Digests, PuzzleIds
from eqr_ray.puzzles.record import Shard

WORD = st.integers(0, 2**64 - 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(WORD), st.lists(WORD))
def test_digests_answer_as_a_set_does(taken: list[int], asked: list[int]) -> None:
    digests, known = Digests(), set()
    for digest in taken + taken[:3]:
        assert digests.add(digest) is (digest not in known)
        known.add(digest)
    assert len(digests) == len(known)
    assert list(digests) == sorted(known)
    assert [digest in digests for digest in asked + taken] == [digest in known for digest in asked + taken]


def test_ids_of_repeats_and_of_other_programs_are_kept_as_they_are() -> None:
    given_ids = ["00000000000000ff", "00000000000000ff#2", "mine", "00000000000000FF", "00000000000000ff"]
    ids = PuzzleIds(given_ids)
    assert set(ids) == set(given_ids)
    assert len(ids) == 4
    assert "00000000000000ff#3" not in ids
    assert "0ff" not in ids


def test_a_digest_takes_eight_bytes_of_its_run() -> None:
    draw = random.Random(1)
    digests = Digests()
    for _ in range(100_000):
        digests.add(draw.getrandbits(64))
    held = sum(8 * len(run) for run in digests._runs if run is not None)
    assert held == 8 * len(digests)


def test_shards_split_a_file_and_keep_the_ids_of_the_whole(tmp_path) -> None:
    draw = random.Random(3)
    lines = ["".join(draw.choice("....1") for _ in range(3)) + "." * 13 for _ in range(60)]
    file = tmp_path / "boards.txt"
    file.write_text("\n".join(line for line in lines if line.count("1") < 2) + "\n")
    whole = [record.puzzle.puzzle_id for record in read_puzzles(str(file), limit=30)]
    shards = [[r.puzzle.puzzle_id for r in read_puzzles(str(file), None, 30, Shard(i, 3))] for i in (1, 2, 3)]
    assert sorted(puzzle_id for shard in shards for puzzle_id in shard) == sorted(whole)
    assert any("#" in puzzle_id for puzzle_id in whole)
