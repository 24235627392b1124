"""`eqr-ray report`: the HTML page of an evaluation, written again from its verdicts."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="DIR")
def report(folder: str) -> None:
    """Write DIR/report.html from the verdicts of an evaluation, finished or not."""
    from eqr_ray.evaluation.report import write_report

    click.echo(write_report(folder))
