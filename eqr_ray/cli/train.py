"""`eqr-ray train`: puzzles to a checkpoint."""

from __future__ import annotations

import click

from eqr_ray.cli.group import Interrupted


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe", metavar="[RECIPE]", required=False)
@click.option("--config", "config", metavar="YAML", help="The same as RECIPE.")
@click.option(
    "--out",
    metavar="DIR",
    help="Where checkpoint, log and state go; local or s3://; train-NAME of the recipe if left out.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one key of the recipe; may be repeated."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so long, with everything saved."
)
@click.option("--resume", is_flag=True, help="Go on with the run in DIR.")
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Train on N Ray workers, one a GPU with --device cuda."
)
@click.option(
    "--address",
    default="local",
    show_default=True,
    metavar="ADDRESS",
    help="Of the workers' Ray: local (started here), auto or host:port.",
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="Such as cpu, cuda or mps.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads, of each worker.")
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile the network's block; worth it on a GPU, and on a CPU in bfloat16.",
)
def train(
    recipe: str | None,
    config: str | None,
    out: str | None,
    overrides: tuple[str, ...],
    minutes: float | None,
    resume: bool,
    workers: int | None,
    address: str,
    device: str,
    threads: int | None,
    compiled: bool,
) -> None:
    """Train a checkpoint from a recipe, a YAML file such as those of configs/train, or continue an interrupted run."""
    from pathlib import Path

    if recipe and config:
        raise click.UsageError(f"one recipe is needed, got {recipe} and --config {config}; give one of them")
    config = recipe or config
    if out is None:
        if config is None:
            raise click.UsageError("a recipe and a folder are needed; give RECIPE, such as configs/train/sudoku6.yaml")
        out = f"train-{Path(config).stem}"

    from eqr_ray.storage import mirrored
    from eqr_ray.training.run import TrainingStopped, train_from_config
    from eqr_ray.training.state import POINTER

    with mirrored(out, resume, last=POINTER) as local:
        # A job that is submitted again goes on with what its predecessor has saved, which may be nothing yet.
        begun = "://" not in out or (Path(local) / POINTER).exists()
        resume = resume and begun
        try:
            if workers is None:
                folder = train_from_config(
                    config,
                    overrides,
                    out=local,
                    minutes=minutes,
                    resume=resume,
                    device=device,
                    threads=threads,
                    compiled=compiled,
                )
            else:
                from eqr_ray.distributed.training import Staff, train_on_workers

                staff = Staff(workers, address, device, threads or 1, compiled)
                folder = train_on_workers(config, overrides, out=local, staff=staff, minutes=minutes, resume=resume)
        except TrainingStopped as stopped:
            raise Interrupted(
                f"{stopped}; what is done is kept in {out}; the same command with --resume goes on"
            ) from None
        click.echo(str(folder).replace(local, out.rstrip("/"), 1))
