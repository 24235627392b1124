"""Puzzles under suspicion: what a replica died on is tried apart from the rest, in ever smaller groups.

A puzzle that kills its replica would take its neighbours of the slice, and one replica after the other, with it. So the puzzles of
the slice that a lost replica was at are tried in groups, each alone on a replica; a group that comes back is cleared, one that is lost
is cut into parts, down to the single puzzle. Groups are sets of table slots.

Invariants, asserted in tests/unit/coordinator/test_trials.py: only a puzzle that was alone whenever a replica died is set aside, and only
after `tries` such deaths; the loss of a machine counts half, since it says little about what the machine was doing; every suspect
is either cleared or set aside after a bounded number of trials.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from eqr_ray.types import I64

PARTS = 8
"""A lost group is cut into so many. More find a culprit in fewer deaths one after the other, and try the innocent in smaller slices."""
DEATH, LOST_MACHINE = 2, 1
"""What a loss counts: the process died on a machine that lives, or the machine went away and the process with it."""


@dataclass(slots=True, eq=False)
class Group:
    """Puzzles that are tried together."""

    slots: frozenset[int]
    strikes: int = 0
    """Losses of exactly this group, weighed."""


class Trials:
    """Who is suspected, and the rows of suspects that wait for their trial."""

    def __init__(self, tries: int, breadth: int) -> None:
        """breadth: rows of a slot; rows `p * breadth` to `(p + 1) * breadth - 1` are those of slot p."""
        self._tries, self._breadth = tries, breadth
        self._groups: deque[Group] = deque()
        """Groups to be tried; one that is being tried is not among them."""
        self._suspects: set[int] = set()
        self._held: dict[int, list[int]] = {}
        """slot -> rows of the suspect that nobody is working on."""
        self.controls_failed = 0
        """Replicas in a row that could not even do the control, one iteration of a blank board."""
        self.losses_in_a_row = 0
        """Ordinary slices whose replica died, since the last one that came back."""

    def __bool__(self) -> bool:
        return bool(self._suspects)

    @property
    def suspects(self) -> tuple[int, ...]:
        """The slots under suspicion."""
        return tuple(self._suspects)

    @property
    def n_ready(self) -> int:
        """Groups that could be tried now."""
        return sum(any(slot in self._held for slot in group.slots) for group in self._groups)

    def divert(self, rows: I64) -> I64:
        """Keep back the rows of suspects and return the others."""
        if not self._suspects or not len(rows):
            return rows
        slots = rows // self._breadth
        suspect = np.isin(slots, np.fromiter(self._suspects, np.int64, len(self._suspects)))
        self._hold(rows[suspect].tolist())
        return rows[~suspect]

    def suspect(self, slots: Iterable[int], weight: int) -> int | None:
        """Suspect the puzzles of a lost slice, as far as they are not already; returns the slot to set aside, if any."""
        new = frozenset(slots) - self._suspects
        if not new:
            return None
        self._suspects |= new
        return self.failed(Group(new), weight)

    def take(self, most: int) -> tuple[Group, I64] | None:
        """Return the next group to be tried and its rows; None when none has rows.

        A puzzle is tried with all rows that it has here, and with others as far as they are `most` rows together; what does not
        fit stays a group of its own.
        """
        for group in tuple(self._groups):
            here = [slot for slot in sorted(group.slots) if slot in self._held]
            if not here:
                continue
            rows: list[int] = []
            tried: set[int] = set()
            for slot in here:
                if rows and len(rows) + len(self._held[slot]) > most:
                    continue
                rows += self._held.pop(slot)
                tried.add(slot)
            self._groups.remove(group)
            if rest := group.slots - tried:
                self._groups.appendleft(Group(rest, group.strikes))
            return Group(frozenset(tried), group.strikes), np.array(rows, np.int64)
        return None

    def passed(self, group: Group) -> I64:
        """Clear a group that came back; returns its other rows, which are free again."""
        return self.forget(group.slots)

    def failed(self, group: Group, weight: int) -> int | None:
        """Note the loss of a group: it is tried again, in parts if the loss says enough; returns the slot to set aside, if any."""
        group.strikes += weight
        if len(group.slots) == 1 and group.strikes >= DEATH * self._tries:
            return next(iter(group.slots))
        if len(group.slots) > 1 and group.strikes >= DEATH:
            slots = sorted(group.slots)
            size = -(-len(slots) // PARTS)
            self._groups.extend(Group(frozenset(slots[at : at + size])) for at in range(0, len(slots), size))
        else:
            self._groups.append(group)
        return None

    def forget(self, slots: Iterable[int]) -> I64:
        """End the suspicion of puzzles; returns their rows that were kept back."""
        gone = self._suspects.intersection(slots)
        if not gone:
            return np.zeros(0, np.int64)
        self._suspects -= gone
        for group in tuple(self._groups):
            if group.slots & gone:
                group.slots -= gone
                if not group.slots:
                    self._groups.remove(group)
        return np.array([row for slot in sorted(gone) for row in self._held.pop(slot, ())], np.int64)

    def _hold(self, rows: list[int]) -> None:
        for row in rows:
            self._held.setdefault(row // self._breadth, []).append(row)
