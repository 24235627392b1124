"""`eqr-ray bench`: how fast this machine iterates, trains and replays, how an endpoint holds under load, what a run survives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from eqr_ray.cli.bench_allocation import replay, simulate, tune
from eqr_ray.cli.bench_chaos import chaos
from eqr_ray.cli.bench_scale import scale
from eqr_ray.cli.bench_serve import serve
from eqr_ray.cli.bench_train import train
from eqr_ray.cli.group import LazyGroup

if TYPE_CHECKING:
    from eqr_ray.types import Slice

_HELP = {"help_option_names": ["-h", "--help"]}
ROWS_PER_TILE = 4
"""Trajectories of a measurement for each row of the tiles: enough that filling and draining do not show."""


@click.group(cls=LazyGroup, context_settings=_HELP)
def bench() -> None:
    """Measure this machine."""


for command in (train, replay, tune, simulate, serve, scale, chaos):
    bench.add_command(command)


@bench.command(context_settings=_HELP)
@click.option("--checkpoint", metavar="NAME|PATH|URI", default="sudoku9", show_default=True, help="The weights to run.")
@click.option(
    "--tile",
    "tiles",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 4, 16, 64),
    help="Rows iterated together; may be repeated.",
)
@click.option("--depth", type=click.IntRange(min=1), default=32, show_default=True, help="Iterations of a trajectory.")
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Measurements of a tile; the best counts.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", help="Where the network runs."
)
@click.option(
    "--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", help="Arithmetic of the network."
)
@click.option("--compile", "compiled", is_flag=True, help="Fuse the layers with torch.compile.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPU lanes, one thread each.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def engine(
    checkpoint: str,
    tiles: tuple[int, ...],
    depth: int,
    repeats: int,
    device: str,
    dtype: str,
    compiled: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Print iterations a second of the engine by tile, without halting, one engine in this process.

    The best of the repeats is printed: other work on the machine can only slow a measurement down.
    """
    from eqr_ray.engine.factory import EngineSpec, pick_device
    from eqr_ray.model.checkpoint import fetch

    found, place = fetch(checkpoint), pick_device(device)
    for tile in tiles:
        runner = EngineSpec(found, place, dtype, threads, tile, compiled=compiled)()
        lanes = threads if place == "cpu" else 1
        rates = []
        for repeat in range(repeats + 1):
            result = runner.run(_orders(found.spec.cells, ROWS_PER_TILE * tile * lanes, depth, repeat))
            rates.append(int(result.trajectories.depth.sum()) / result.elapsed_s)
        best = max(rates[1:])  # the first run warms caches and kernels up
        facts = {
            "checkpoint": found.name,
            "device": place,
            "dtype": dtype,
            "compiled": compiled,
            "threads": threads,
            "tile": tile,
            "depth": depth,
        }
        if as_json:
            click.echo(json.dumps(facts | {"iterations_per_s": round(best, 1)}))
        else:
            click.echo(
                f"{found.name}, {place}, {dtype}{', compiled' * compiled}, {threads} thread(s), tile {tile:5}: {best:12,.1f} iterations/s"
            )


def _orders(n_cells: int, rows: int, depth: int, repeat: int) -> Slice:
    """Return orders for `rows` trajectories of one blank board: what is on it makes no difference to the speed."""
    import numpy as np

    from eqr_ray.types import HaltRule, Slice

    number = repeat + 1
    return Slice(
        slice_id=number,
        replica_id="bench",
        puzzle=np.full(rows, number, np.int64),
        index=np.arange(rows, dtype=np.int32),
        seed=np.arange(rows, dtype=np.uint64) + np.uint64(rows * number),
        until=np.full(rows, depth, np.int32),
        halt=np.zeros(rows, np.int32),
        halts=(HaltRule(),),
        cells={number: np.zeros(n_cells, np.uint8)},
        retired=np.array([number - 1], np.int64),
    )
