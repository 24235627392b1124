"""What is done of a run: the list of its parts, and what each adds to the numbers.

A part counts from the moment at which the manifest names it. The manifest is replaced only by whoever read its latest version, so a
driver that was taken for dead and goes on cannot add a verdict to a folder that another run has taken over.
Invariants, asserted in tests/unit/runs/test_folder.py: every part that is named is whole; what the numbers say is in the parts.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace

import pyarrow as pa
import pyarrow.compute as pc

from eqr_ray.storage import Place
from eqr_ray.types import InputError

MANIFEST = "manifest.json"


class Superseded(RuntimeError):
    """Another run has taken the folder over; nothing more may be written to it from here."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the verdicts, in numbers."""

    name: str
    rows: int
    nfe: int
    exact: int
    scored: int
    """Rows that have an answer, the denominator of `exact`."""
    origin: str = ""
    """Where a merged part was copied from."""


def part_of(name: str, verdicts: pa.Table, origin: str = "") -> Part:
    """Return the numbers of a part."""
    exact = verdicts.column("exact")
    return Part(
        name,
        verdicts.num_rows,
        int(pc.sum(verdicts.column("nfe")).as_py() or 0),
        int(pc.sum(exact.cast(pa.int64())).as_py() or 0),
        len(exact) - exact.null_count,
        origin,
    )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The state of a run's folder."""

    run_id: str
    """Names the run in logs; the same over all its sessions."""
    parts: tuple[Part, ...] = ()
    total: int | None = None
    """Puzzles of the run; None where counting them would have taken long."""
    complete: bool = False
    """Whether every puzzle of the input has its verdict."""
    git_revision: str = ""
    """Of the last session, where it was submitted as a job."""

    @property
    def rows(self) -> int:
        """Verdicts."""
        return sum(part.rows for part in self.parts)

    @property
    def nfe(self) -> int:
        """Iterations charged to them."""
        return sum(part.nfe for part in self.parts)

    @property
    def exact(self) -> int:
        """Right ones of them."""
        return sum(part.exact for part in self.parts)

    @property
    def scored(self) -> int:
        """Of puzzles that have an answer."""
        return sum(part.scored for part in self.parts)

    def with_parts(self, parts: Iterable[Part]) -> Manifest:
        """Return it with these parts in the place of its own."""
        return replace(self, parts=tuple(parts))

    def to_json(self) -> bytes:
        """Return the file's content; a line a part."""
        head = {name: value for name, value in asdict(self).items() if name != "parts"}
        lines = ",\n".join(json.dumps([getattr(part, column.name) for column in fields(Part)]) for part in self.parts)
        columns = json.dumps([column.name for column in fields(Part)])
        text = json.dumps(head)[:-1]
        return f'{text}, "columns": {columns}, "parts": [\n{lines}\n]}}\n'.encode()


def read_manifest(place: Place) -> Manifest | None:
    """Return the manifest of a folder, None where there is none; InputError for one that is damaged."""
    content = place.read(MANIFEST)
    return None if content is None else parse(content, place.address(MANIFEST))


def parse(content: bytes, address: str) -> Manifest:
    """Return what a manifest says; InputError for one that is damaged."""
    try:
        values = json.loads(content)
        columns = values.pop("columns")
        parts = tuple(Part(**dict(zip(columns, part, strict=True))) for part in values.pop("parts"))
        return Manifest(parts=parts, **values)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(
            f"{address} is damaged; remove it, and the parts are counted again by the next run with --resume"
        ) from None


class Register:
    """The manifest of the one run that holds the folder's lock."""

    def __init__(self, place: Place) -> None:
        self._place = place
        seen = place.versioned(MANIFEST)
        self._version = None if seen is None else seen.version
        self.manifest = Manifest(uuid.uuid4().hex[:8]) if seen is None else parse(seen.content, place.address(MANIFEST))

    def commit(self, manifest: Manifest) -> None:
        """Write it; on return it is what the folder says. Raises Superseded where another run has written since."""
        content = manifest.to_json()
        if self._version is None:
            version = self._place.create(MANIFEST, content)
        else:
            version = self._place.replace(MANIFEST, content, self._version)
        if version is None:
            raise Superseded(
                f"another run has taken {self._place.uri} over, and this one ends without writing more to it"
            )
        self._version, self.manifest = version, manifest
