"""Divides puzzles into sets that share no symmetry class.

Invariants, asserted in tests/unit/puzzles/test_symmetry_class.py: the set of a puzzle is a function of its class and the seed alone, so
the same class goes to the same set in every file; each puzzle goes to at most one set.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from eqr_ray.puzzles.record import Record
from eqr_ray.puzzles.symmetry_class import with_keys
from eqr_ray.puzzles.writing import csv_lines
from eqr_ray.types import InputError

GOLDEN = 0x9E3779B97F4A7C15


def parse_shares(text: str) -> dict[str, float]:
    """Return name -> share of `train=0.9,valid=0.1`; shares are above 0 and add up to 1."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        name = name.strip()
        try:
            share = float(value)
        except ValueError:
            share = math.nan
        if not name or not all(mark.isalnum() or mark in "-_" for mark in name) or name in shares or not 0 < share <= 1:
            raise InputError(
                f"parts are named with their shares, such as train=0.9,valid=0.1, got {part!r}; correct it"
            )
        shares[name] = share
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        raise InputError(f"the shares of the parts add up to 1, got {sum(shares.values()):g}; correct them")
    return shares


def part_of(key: int, shares: Mapping[str, float], seed: int) -> str:
    """Return the part to which a symmetry class belongs."""
    mixed = (key ^ (seed * GOLDEN)) & (2**64 - 1)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & (2**64 - 1)
    place, edge = (mixed ^ (mixed >> 31)) / 2**64, 0.0
    for name, share in shares.items():
        edge += share
        if place < edge:
            return name
    return list(shares)[-1]


def split(
    records: Iterable[Record], folder: str | Path, shares: Mapping[str, float], seed: int, avoid: Collection[int] = ()
) -> dict[str, int]:
    """Write each record to `folder/PART.csv` and return part -> puzzles; classes in `avoid` are left out and counted as `left out`.

    Files appear whole or not at all; raises InputError where they are there already.
    """
    place = Path(folder)
    there = [name for name in shares if (place / f"{name}.csv").exists()]
    if there:
        raise InputError(f"{place / there[0]}.csv is there already; name another folder or remove it")
    counts = {**dict.fromkeys(shares, 0), "left out": 0}
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=place, prefix=".split-") as unfinished,
            contextlib.ExitStack() as open_files,
        ):
            files = {
                name: open_files.enter_context(open(Path(unfinished) / name, "w", encoding="utf-8", newline=""))
                for name in shares
            }
            for file in files.values():
                file.write(next(csv_lines([])))
            for record, key in with_keys(records):
                name = "left out" if key in avoid else part_of(key, shares, seed)
                counts[name] += 1
                if name in files:
                    files[name].write(list(csv_lines([record]))[-1])
            open_files.close()
            for name in shares:
                (Path(unfinished) / name).rename(place / f"{name}.csv")
    except OSError as error:
        raise InputError(
            f"{place} cannot be written ({error.strerror}); name a place that exists and is yours"
        ) from None
    return counts


def keys_of(records: Iterable[Record]) -> Iterator[int]:
    """Yield the class keys of records."""
    for _, key in with_keys(records):
        yield key
