"""`report.html`: one file without scripts or outside references that tells how right, how dear and how certain a run was.

Invariants, asserted in tests/unit/evaluation/test_report.py: it is written for one puzzle, for puzzles without answers, for mazes and
for a run that was cut off; no text of the user gets into it unescaped; it names no resource outside itself; verdicts are streamed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq

from eqr_ray.evaluation import boards, charts
from eqr_ray.evaluation.distributions import BOARD_COLUMNS, DISTRIBUTION_COLUMNS, Distributions
from eqr_ray.evaluation.summary import SUMMARY_COLUMNS, CheckpointFacts, RunFacts, Running, Summary
from eqr_ray.storage import Place, first_line
from eqr_ray.types import InputError, StopReason, StorageError

MOST_SOURCES = 40
"""Rows of the table by source; the rest are added up in a last row."""
BATCH_ROWS = 16_384
REPORT = "report.html"
_STOP_MEANING = {
    StopReason.CONSENSUS: "enough trajectories agreed",
    StopReason.CONVERGED: "the trajectories settled",
    StopReason.NFE_SPENT: "the puzzle's iterations were used up; raise --nfe",
    StopReason.DEPTH_SPENT: "every trajectory reached its depth; raise --depth or --breadth",
    StopReason.DEADLINE: "the time was up",
    StopReason.CRASHED: "replicas died each time they worked on it; it has no prediction and counts as wrong",
}


@dataclass(frozen=True, slots=True)
class Findings:
    """What was read of a run's folder."""

    summary: Summary
    seen: Distributions
    config: Mapping[str, object] | None
    partial: bool
    """Whether there is no summary that fits the verdicts: the run was cut off or still goes on."""


def read_findings(folder: str) -> Findings:
    """Stream the verdicts of a folder, local or a URI; InputError if it holds none that can be read."""
    place = Place(folder)
    running, seen = Running(), Distributions()
    wanted = list(dict.fromkeys([*SUMMARY_COLUMNS, *DISTRIBUTION_COLUMNS, *BOARD_COLUMNS]))
    for batch in verdict_batches(folder, wanted):
        running.add(batch)
        seen.add(batch)
    if not running.puzzles:
        raise InputError(
            f"{folder} holds no verdicts in verdicts/part-*.parquet; give the --out folder of an evaluation"
        )
    written = _read_json(place, "summary.json")
    state = _read_json(place, "manifest.json")
    unfinished = state is not None and state.get("complete") is False
    partial = unfinished or written is None or written.get("puzzles") != running.puzzles
    if written is None or written.get("puzzles") != running.puzzles:
        summary = running.summary(RunFacts())
    else:
        summary = _with_facts(running, written)
    return Findings(summary, seen, _read_json(place, "config.json"), partial)


def render(findings: Findings) -> str:
    """Return the page."""
    summary, seen = findings.summary, findings.seen
    sources = sorted(summary.by_source.items(), key=lambda item: (-item[1].puzzles, item[0]))
    total = seen.total
    return _template().render(
        s=summary,
        seen=seen,
        labelled=seen.labelled,
        right=total.right(seen.labelled),
        judged=total.judged(seen.labelled),
        quantiles=dict(zip(("median", "p90", "p99", "most"), seen.nfe_quantiles((0.5, 0.9, 0.99, 1.0)), strict=True)),
        mean_confidence=seen.mean_confidence(seen.labelled),
        charts={
            "iterations": charts.iterations_histogram(seen),
            "settled": charts.settled_curve(seen),
            "residual": charts.accuracy_by_residual(seen),
            "reliability": charts.reliability(seen),
        },
        sources=sources[:MOST_SOURCES],
        more_sources=len(sources) - MOST_SOURCES,
        stops=[(reason, n, _STOP_MEANING.get(reason, "")) for reason, n in summary.stop.items()],  # type: ignore[call-overload]
        wrong=[(board, boards.draw(board)) for board in seen.wrong],
        costly=[(board, boards.draw(board)) for board in seen.costly],
        config=json.dumps(findings.config, indent=2, ensure_ascii=False) if findings.config else None,
        puzzles_name=(findings.config or {}).get("puzzles"),
        partial=findings.partial,
    )


def write_report(folder: str) -> str:
    """Read a run's folder, write `report.html` into it and return where it is; InputError if the folder holds no verdicts, StorageError."""
    page = render(read_findings(folder)).encode()
    place = Place(folder)
    place.write(REPORT, page)
    return place.address(REPORT)


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = _percent
    environment.filters["count"] = _count
    source = resources.files("eqr_ray.evaluation").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def verdict_batches(folder: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield these columns of the verdicts of a folder, part by part in the order of writing; InputError for parts that are none."""
    place = Place(folder).at("verdicts")
    try:
        names = [name for name in place.names() if name.startswith("part-") and name.endswith(".parquet")]
    except StorageError as error:
        raise InputError(str(error)) from None
    for name in sorted(names, key=lambda name: (len(name), name)):
        try:
            with place.open(name) as stream:
                file = pq.ParquetFile(stream)
                missing = [column for column in columns if column not in file.schema_arrow.names]
                if missing:
                    raise InputError(
                        f"{place.address(name)} has no column {missing[0]} as verdicts do; remove it, it is of another table"
                    )
                yield from file.iter_batches(BATCH_ROWS, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{place.address(name)} is no table of verdicts ({first_line(error)}); remove it and run again with --resume"
            ) from None


def _read_json(place: Place, name: str) -> dict[str, object] | None:
    try:
        value = json.loads(place.read(name) or b"null")
    except (StorageError, ValueError) as error:
        raise InputError(
            f"{place.address(name)} is not JSON ({error}); remove it and run again with --resume"
        ) from None
    return value if isinstance(value, dict) else None


def _with_facts(running: Running, written: Mapping[str, object]) -> Summary:
    """Return the numbers of the verdicts with the facts that the run's own summary holds; a missing key is not known."""
    checkpoint, nle_mean = written.get("checkpoint"), written.get("nle_mean")
    plain = {
        name: written.get(name)
        for name in (
            "nfe_computed",
            "wall_s",
            "replicas",
            "lost_slices",
            "storage_retries",
            "policy",
            "seed",
            "version",
            "device",
        )
    }
    kept = CheckpointFacts(**checkpoint) if isinstance(checkpoint, dict) else None
    summary = running.summary(RunFacts(**plain, checkpoint=kept))  # type: ignore[arg-type]
    return replace(summary, nle_mean=float(nle_mean) if isinstance(nle_mean, int | float) else None)


def _percent(value: float | None, digits: int = 1) -> str:
    """Write a share for a reader; never `100.0 %` for less than all nor `0.0 %` for more than none."""
    if value is None:
        return "–"
    text = f"{100 * value:.{digits}f}"
    if (text == f"{100:.{digits}f}" and value < 1) or (text == f"{0:.{digits}f}" and value > 0):
        return _percent(value, digits + 1) if digits < 6 else f"{text} %"
    return f"{text} %"


def _count(value: float | None) -> str:
    """Write a number with thin thousands separators; one decimal below 10 000, two figures below 1."""
    if value is None:
        return "–"
    if 0 < value < 1:
        return f"{value:.2g}"
    text = f"{value:,.1f}" if isinstance(value, float) and value < 10_000 else f"{round(value):,}"
    return text.replace(",", "\u202f")
