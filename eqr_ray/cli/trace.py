"""`eqr-ray trace`: every trajectory of every puzzle, recorded to full depth."""

from __future__ import annotations

import click

from eqr_ray.config.trace import load_trace_config


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_file", metavar="YAML", help="A configuration; options and --set win over it.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key of the configuration; may be repeated."
)
@click.option("--puzzles", metavar="F", help="A puzzle file or a folder of them (CSV, text, Parquet; local or s3://).")
@click.option("--out", metavar="T", help="The folder of the trace; local or s3://.")
@click.option("--depth", type=int, metavar="D", help="Iterations of every trajectory; 64 if left out.")
@click.option("--breadth", type=int, metavar="B", help="Trajectories of every puzzle; 16 if left out.")
@click.option("--checkpoint", metavar="NAME|PATH|URI", help="Weights; follows from the task if left out.")
@click.option("--task", metavar="NAME", help="Such as sudoku9; follows from the puzzles if left out.")
@click.option("--seed", type=int, metavar="S", help="Keys every random draw; 0 if left out.")
@click.option("--limit", type=int, metavar="N", help="Take the first N puzzles.")
@click.option("--resume/--no-resume", default=None, help="Go on with the interrupted trace in T.")
@click.option("--replicas", type=int, metavar="N", help="Recorders; one a core, or one a GPU share, if left out.")
@click.option("--threads", type=int, metavar="N", help="CPU threads of a recorder.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where the network runs.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), help="Arithmetic of the network.")
@click.option("--compile/--no-compile", default=None, help="Fuse the layers: faster, after half a minute's start.")
@click.option(
    "--address", metavar="ADDRESS", help="local (default), auto, host:port, or none for this process without Ray."
)
def trace(config_file: str | None, overrides: tuple[str, ...], **options: object) -> None:
    """Record B trajectories of every puzzle to depth D: residual, logit change, halting logit and answer of each iteration.

    A policy replayed on a trace reaches the verdicts of a live run with the same weights and seed, at no cost of a device.
    Interrupted, the same command with --resume goes on.
    """
    config = load_trace_config(config_file, overrides, options)

    from eqr_ray.cli.group import Failed, Interrupted
    from eqr_ray.runs.trace import run_trace

    try:
        summary = run_trace(config)
    except KeyboardInterrupt:
        raise Interrupted(f"what is done is kept in {config.out}; the same command with --resume goes on") from None
    except RuntimeError as error:
        raise Failed(str(error)) from None
    rate = summary.iterations / summary.wall_s if summary.wall_s > 0 else 0.0
    click.echo(f"trace     {summary.out.rstrip('/')}  {summary.puzzles:,} puzzles")
    click.echo(f"time      {summary.wall_s:,.1f} s, {rate:,.0f} iterations/s")
