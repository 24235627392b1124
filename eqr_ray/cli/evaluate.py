"""`eqr-ray evaluate`: the main job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eqr_ray.cli.group import Failed, Interrupted
from eqr_ray.cli.options import search_options
from eqr_ray.config import load_config
from eqr_ray.types import StorageError

if TYPE_CHECKING:
    from eqr_ray.evaluation.summary import Summary

_CONFIG_KEYS = {
    "policy": "policy.name",
    "depth": "policy.depth",
    "breadth": "policy.breadth",
    "nfe": "policy.nfe",
    "max_replicas": "scaling.max_replicas",
    "finish_by": "scaling.finish_by",
    "max_cost": "scaling.max_cost",
}
"""Options whose key in the configuration has another name."""
MOST_SOURCES = 20
"""Lines of the table by source; all of them are in summary.json."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_file", metavar="YAML", help="A configuration; options and --set win over it.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key of the configuration; may be repeated."
)
@click.option("--puzzles", metavar="F", help="A puzzle file or a folder of them (CSV, text, Parquet; local or s3://).")
@click.option(
    "--out", metavar="DIR", help="Where verdicts, summary.json, report.html and config.json go; local or s3://."
)
@click.option("--limit", type=int, metavar="N", help="Take the first N puzzles.")
@click.option("--resume/--no-resume", default=None, help="Go on with the interrupted run in DIR.")
@click.option("--shard", metavar="I/N", help="Work on the I-th of N shares, beside other jobs; then eqr-ray merge.")
@click.option("--replicas", type=int, metavar="N", help="Engine replicas; one a core, or one a GPU share, if left out.")
@click.option(
    "--address", metavar="ADDRESS", help="local (default): Ray started here; auto or host:port joins a cluster."
)
@click.option("--max-replicas", type=int, metavar="N", help="Let the cluster's autoscaler bring up to N replicas.")
@click.option(
    "--finish-by", metavar="TIME", help="When to end, 2h30m or 18:30; as many replicas as that takes, up to N."
)
@click.option("--max-cost", type=float, metavar="C", help="Stop, to be resumed, at this cost; prices are in the YAML.")
@search_options
def evaluate(config_file: str | None, overrides: tuple[str, ...], **options: object) -> None:
    """Answer every puzzle of a file, on Ray, and write verdicts, a summary and a report to DIR.

    Interrupted with Ctrl-C, killed or cut off, the same command with --resume goes on where it stopped.
    """
    config = load_config(
        config_file, overrides, {_CONFIG_KEYS.get(name, name): value for name, value in options.items()}
    )

    from eqr_ray.runs.evaluate import RunStopped, run_evaluation
    from eqr_ray.runs.folder import folder_of

    kept = f"what is done is kept in {config.out}; the same command with --resume goes on"
    try:
        summary = run_evaluation(config)
    except RunStopped as stopped:
        raise Interrupted(f"{stopped}; {kept}") from None
    except KeyboardInterrupt:
        raise Interrupted(kept) from None
    except StorageError as error:
        raise Failed(f"{error}; {kept}") from None
    except RuntimeError as error:
        from eqr_ray.distributed.driver import GaveUp
        from eqr_ray.runs.manifest import Superseded

        if isinstance(error, GaveUp | Superseded):
            raise Failed(f"{error}; {kept}") from None
        raise
    click.echo(table_of(summary))
    click.echo(files_of(folder_of(config)))


def files_of(folder: str) -> str:
    """Return where the results are, for a terminal."""
    where = folder.rstrip("/")
    return f"verdicts  {where}/verdicts/\nsummary   {where}/summary.json\nreport    {where}/report.html"


def table_of(summary: Summary) -> str:
    """Return accuracy and cost by source and in total, for a terminal."""
    rows = [("source", "puzzles", "exact", "NFE mean")]
    by_size = sorted(summary.by_source.items(), key=lambda item: (-item[1].puzzles, item[0]))
    for name, source in by_size[:MOST_SOURCES]:
        rows.append((_clean(name), f"{source.puzzles:,}", _percent(source.exact_accuracy), _number(source.nfe_mean)))
    if len(by_size) > MOST_SOURCES:
        rows.append((f"({len(by_size) - MOST_SOURCES} more, see summary.json)", "", "", ""))
    rows.append(("all", f"{summary.puzzles:,}", _percent(summary.exact_accuracy), _number(summary.nfe_mean)))
    width = max(len(row[0]) for row in rows)
    lines = [f"{name:{width}}  {n:>9}  {exact:>9}  {nfe:>9}" for name, n, exact, nfe in rows]
    lines.insert(1, "-" * len(lines[0]))
    lines.insert(-1, "-" * len(lines[0]))
    if summary.exact_accuracy_ci95 is not None:
        low, high = summary.exact_accuracy_ci95
        lines.append(
            f"exact     95 % interval {100 * low:.2f} to {100 * high:.2f} %, of {summary.puzzles_with_answer:,} with an answer"
        )
    lines.append(f"valid     {_percent(summary.valid_accuracy)} of all puzzles")
    lines.append(f"NFE       {summary.nfe_total:,} charged, {_number(summary.nfe_computed)} computed")
    if summary.wall_s is not None:
        lines.append(
            f"time      {summary.wall_s:,.1f} s, {_number(summary.puzzles_per_s)} puzzles/s, "
            f"{_number(summary.replicas)} replica{'' if summary.replicas == 1 else 's'}"
        )
    if summary.storage_retries:
        lines.append(f"storage   asked again {summary.storage_retries:,} times")
    return "\n".join(lines)


def _clean(name: str) -> str:
    """Return a source's name fit for a terminal: printable and short."""
    printable = "".join(mark if mark.isprintable() else "?" for mark in name)
    return printable if len(printable) <= 40 else printable[:39] + "…"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
