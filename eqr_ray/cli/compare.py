"""`eqr-ray compare`: two runs, puzzle by puzzle."""

from __future__ import annotations

import json

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run_a", metavar="RUN_A")
@click.argument("run_b", metavar="RUN_B")
@click.option("--puzzles", metavar="F.csv", help="Write the puzzles won and lost to a CSV file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(run_a: str, run_b: str, puzzles: str | None, as_json: bool) -> None:
    """Say what RUN_B makes of the puzzles of RUN_A: the paired difference in accuracy, and the puzzles won and lost.

    Runs that were not finished are compared over the puzzles that both have answered.
    """
    from dataclasses import asdict

    from eqr_ray.config import first_difference
    from eqr_ray.evaluation.comparison import changed_rows
    from eqr_ray.evaluation.comparison import compare as pair
    from eqr_ray.runs.folder import read_config
    from eqr_ray.storage import Place

    paired = pair(run_a, run_b)
    found = paired.comparison
    if puzzles is not None:
        from eqr_ray.runs.exporting import write_rows

        n = write_rows(puzzles, changed_rows(run_a, run_b, paired))
        click.echo(f"{puzzles}: {n:,} puzzles", err=True)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    before, now = read_config(Place(run_a)), read_config(Place(run_b))
    if before is not None and now is not None:
        click.echo(f"differs   {first_difference(before, now) or 'in nothing that verdicts depend on'}")
    word = "exact" if found.judged_by == "exact" else "valid"
    click.echo(
        f"paired    {found.paired:,} puzzles, {found.only_a:,} only in A, {found.only_b:,} only in B\n"
        f"{word} A   {100 * found.right_a / found.paired:.2f} % at {found.nfe_mean_a:,.1f} NFE\n"
        f"{word} B   {100 * found.right_b / found.paired:.2f} % at {found.nfe_mean_b:,.1f} NFE"
    )
    low, high = found.ci95
    click.echo(
        f"B - A     {100 * found.difference:+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}, "
        f"McNemar p {found.p_value:.3g}\nchanged   {found.won:,} won, {found.lost:,} lost"
    )
