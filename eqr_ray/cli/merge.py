"""`eqr-ray merge`: the shards of a run made one."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", metavar="RUN")
@click.option("--partial", is_flag=True, help="Merge what is there; merging again later adds the rest.")
def merge(run: str, partial: bool) -> None:
    """Merge what jobs with --shard i/n have written below RUN into one evaluation, with summary and report.

    The shards stay as they are.
    """
    from eqr_ray.cli.evaluate import files_of, table_of
    from eqr_ray.runs.merging import merge as join

    click.echo(table_of(join(run, partial)))
    click.echo(files_of(run))
