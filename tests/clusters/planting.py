"""Mistakes to plant: a check that no mistake makes fail checks nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mistake:
    """One edit, and the words by which the check must refuse it."""

    name: str
    file: str
    old: str
    new: str
    refusal: str

    def plant(self, tree: Path) -> None:
        """Edit the file; the first place is enough."""
        path = tree / self.file
        text = path.read_text()
        assert self.old in text, f"{self.name}: {self.file} has no {self.old!r} any more; plant the mistake elsewhere"
        path.write_text(text.replace(self.old, self.new, 1))


def names(mistakes: list[Mistake]) -> list[str]:
    """Return the ids of a parametrised test."""
    return [mistake.name for mistake in mistakes]
