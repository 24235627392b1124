"""`eqr-ray export`: the puzzles of a run as a puzzle file."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", metavar="RUN")
@click.option("--out", required=True, metavar="F", help="A file ending in .csv, .csv.gz or .parquet; local or s3://.")
@click.option(
    "--answers",
    type=click.Choice(["predicted", "known"]),
    default="predicted",
    show_default=True,
    help="The run's answers, left out where they break the rules, or those of the puzzle file.",
)
@click.option(
    "--only", "which", type=click.Choice(["all", "right", "wrong"]), default="all", help="Which puzzles; all of them."
)
def export(run: str, out: str, answers: str, which: str) -> None:
    """Write the puzzles of RUN, finished or not, in the layout of the published Sudoku-Extreme: source,question,answer,rating."""
    from eqr_ray.runs.exporting import Answers, Which
    from eqr_ray.runs.exporting import export as write

    n = write(run, out, Answers(answers), Which(which))
    click.echo(f"{out}: {n:,} puzzles")
