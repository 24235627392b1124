"""Sets of puzzles in few bytes: digests of questions, and the ids that are made of them.

Invariants, asserted in tests/unit/puzzles/test_ids.py: they answer as a Python set of the same values would, exactly; a member
takes eight bytes and what its sorted run keeps in reserve.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

_BUCKET_BITS = 14
"""Members lie in 2^14 sorted runs by their first bits: at 10^8 of them, an insertion moves 24 kB on average."""
_PLAIN = re.compile(r"[0-9a-f]{16}\Z")


class Digests:
    """A set of 64-bit digests, which are spread evenly as digests are."""

    def __init__(self) -> None:
        self._runs: list[array[int] | None] = [None] * (1 << _BUCKET_BITS)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def __contains__(self, digest: int) -> bool:
        run = self._runs[digest >> (64 - _BUCKET_BITS)]
        if run is None:
            return False
        at = bisect_left(run, digest)
        return at < len(run) and run[at] == digest

    def __iter__(self) -> Iterator[int]:
        """Yield the members in ascending order."""
        for run in self._runs:
            if run is not None:
                yield from run

    def add(self, digest: int) -> bool:
        """Take a digest in; False where it is in already."""
        bucket = digest >> (64 - _BUCKET_BITS)
        run = self._runs[bucket]
        if run is None:
            self._runs[bucket] = array("Q", (digest,))
        else:
            at = bisect_left(run, digest)
            if at < len(run) and run[at] == digest:
                return False
            run.insert(at, digest)
        self._n += 1
        return True


class PuzzleIds:
    """A set of puzzle ids: the digests of questions packed, those of repeated questions (`...#2`) as they are."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._digests = Digests()
        self._others: set[str] = set()
        self.update(ids)

    def __len__(self) -> int:
        return len(self._digests) + len(self._others)

    def __contains__(self, puzzle_id: object) -> bool:
        text = str(puzzle_id)
        return int(text, 16) in self._digests if _PLAIN.match(text) else text in self._others

    def __iter__(self) -> Iterator[str]:
        for digest in self._digests:
            yield f"{digest:016x}"
        yield from self._others

    def add(self, puzzle_id: str) -> bool:
        """Take an id in; False where it is in already."""
        if _PLAIN.match(puzzle_id):
            return self._digests.add(int(puzzle_id, 16))
        known = len(self._others)
        self._others.add(puzzle_id)
        return len(self._others) > known

    def update(self, ids: Iterable[str]) -> None:
        """Take ids in."""
        for puzzle_id in ids:
            self.add(puzzle_id)
