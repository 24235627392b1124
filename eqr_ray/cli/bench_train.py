"""`eqr-ray bench train`: what a training step costs here, by arithmetic, with and without compiling."""

from __future__ import annotations

import json

import click

_HELP = {"help_option_names": ["-h", "--help"]}


@click.command(context_settings=_HELP)
@click.option(
    "--checkpoint", metavar="NAME|PATH|URI", default="sudoku9", show_default=True, help="Whose network is trained on."
)
@click.option("--batch", type=click.IntRange(min=1), default=96, show_default=True, help="Rows of a step.")
@click.option("--steps", type=click.IntRange(min=1), default=5, show_default=True, help="Steps of a measurement.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Measurements of each, taken in turn."
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="Such as cpu, cuda or mps.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.")
@click.option("--compile/--no-compile", "compiled", default=True, help="Measure compiled steps, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def train(
    checkpoint: str,
    batch: int,
    steps: int,
    rounds: int,
    device: str,
    threads: int | None,
    compiled: bool,
    as_json: bool,
) -> None:
    """Print seconds of a training step in float32 and bfloat16, eager and compiled, on the bundled puzzles of the task.

    A few steps of each are taken in turn, so that other work on the machine slows all alike; a ratio is the median of the ratios within
    a round.
    """
    import torch

    from eqr_ray.model.checkpoint import fetch
    from eqr_ray.training.speed import Way, step_costs, trainer_for

    found = fetch(checkpoint)
    if threads:
        torch.set_num_threads(threads)
    ways = [Way(dtype, how) for how in (False, True)[: 1 + compiled] for dtype in ("float32", "bfloat16")]
    costs = step_costs([(way, trainer_for(found, batch, device, way)) for way in ways], steps, rounds)
    for cost in costs:
        facts = {
            "checkpoint": found.name,
            "device": device,
            "batch": batch,
            "dtype": cost.way.dtype,
            "compiled": cost.way.compiled,
        }
        if as_json:
            click.echo(json.dumps(facts | {"seconds": round(cost.seconds, 4), "times_faster": round(cost.ratio, 3)}))
        else:
            how = "compiled" if cost.way.compiled else "eager"
            click.echo(
                f"{found.name}, {device}, batch {batch}, {cost.way.dtype:8}, {how:8}: {cost.seconds:8.4f} s a step, "
                f"{cost.ratio:5.2f} times as fast"
            )
