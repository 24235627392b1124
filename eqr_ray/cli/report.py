"""`eqr-ray report`: the HTML page of an evaluation, written again from its verdicts, or of a trace."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="DIR")
def report(folder: str) -> None:
    """Write DIR/report.html from the verdicts of an evaluation, finished or not, or the landscape of a trace."""
    from eqr_ray.sim.trace import read_facts

    if read_facts(folder) is not None:
        from eqr_ray.runs.landscape import write_landscape

        click.echo(write_landscape(folder))
        return
    from eqr_ray.evaluation.report import write_report

    click.echo(write_report(folder))
