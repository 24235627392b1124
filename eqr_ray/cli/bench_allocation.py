"""`eqr-ray bench replay`, `bench tune` and `bench simulate`: how fast policies are tried, and how true the virtual clock is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from eqr_ray.sim.trace import Trace

_HELP = {"help_option_names": ["-h", "--help"]}
_TRACE = click.option("--trace", "trace_uri", metavar="T", help="The trace to play; a made landscape if left out.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")


@click.command(context_settings=_HELP)
@_TRACE
@click.option("--puzzles", type=click.IntRange(min=1), default=1000, show_default=True, help="Of the made landscape.")
@click.option("--breadth", type=click.IntRange(min=1), default=64, show_default=True, help="Of the made landscape.")
@click.option("--depth", type=click.IntRange(min=4), default=64, show_default=True, help="Of the made landscape.")
@click.option("--rows", type=click.IntRange(min=1), multiple=True, default=(256, 4096, 65536), help="Rows of a slice.")
@_JSON
def replay(trace_uri: str | None, puzzles: int, breadth: int, depth: int, rows: tuple[int, ...], as_json: bool) -> None:
    """Print rows a second of the replay engine by size of slice, and trials a second of whole policies, for one core.

    Seconds are those of the processor, so that other work on the machine does not count.
    """
    from eqr_ray.sim.speed import engine_rates, policy_rates

    trace = _trace(trace_uri, puzzles, depth, breadth)
    for facts in (*engine_rates(trace, rows), *policy_rates(trace)):
        values = asdict(facts)
        if as_json:
            click.echo(json.dumps(values))
        else:
            click.echo(f"{facts.what:40} {facts.per_s:14,.1f} {facts.unit}/s")


@click.command(context_settings=_HELP)
@_TRACE
@click.option("--puzzles", type=click.IntRange(min=1), default=300, show_default=True, help="Of the made landscape.")
@click.option("--policy", metavar="NAME|PATH", default="balanced", show_default=True, help="How the budget is spent.")
@click.option(
    "--replicas", type=click.IntRange(min=1), default=3, show_default=True, help="Real, and virtual, replicas."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=100.0,
    show_default=True,
    help="Iterations a second of one.",
)
@click.option(
    "--address", default="local", show_default=True, metavar="ADDRESS", help="A Ray of its own, or one to join."
)
@_JSON
def simulate(
    trace_uri: str | None, puzzles: int, policy: str, replicas: int, rate: float, address: str, as_json: bool
) -> None:
    """Run a trace on real replicas that sleep through its iterations and on the virtual clock, and print both wall times."""
    from eqr_ray.cli.options import policy_of
    from eqr_ray.runs.rehearsal import rehearse
    from eqr_ray.sim.cluster import Cluster
    from eqr_ray.sim.replay import held_to

    trace = _trace(trace_uri, puzzles, 64, 8)
    chosen = held_to(policy_of(policy, None, None, None), trace.facts)
    found = rehearse(trace, chosen, Cluster(replicas=replicas, iterations_per_s=rate), address)
    if as_json:
        click.echo(json.dumps(asdict(found) | {"ratio": found.ratio}))
        return
    click.echo(f"puzzles   {found.puzzles:,} at {found.nfe_mean:.1f} NFE, {replicas} replicas of {rate:g} iterations/s")
    click.echo(f"real      {found.real_s:.1f} s")
    click.echo(f"forecast  {found.forecast_s:.1f} s, {100 * (found.ratio - 1):+.1f} %")
    click.echo(f"charged   {'the same iterations' if found.same_cost else 'OTHER ITERATIONS'}")


@click.command(context_settings=_HELP)
@_TRACE
@click.option(
    "--puzzles",
    type=click.IntRange(min=10),
    default=1000,
    show_default=True,
    help="That tuning sees, of the made landscape.",
)
@click.option("--breadth", type=click.IntRange(min=1), default=64, show_default=True, help="Of the made landscape.")
@click.option("--depth", type=click.IntRange(min=4), default=64, show_default=True, help="Of the made landscape.")
@click.option("--trials", type=click.IntRange(min=1), default=2000, show_default=True, help="Policies to try.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Trials at a time; one a core if left out.")
@click.option(
    "--address", default="local", show_default=True, metavar="ADDRESS", help="A Ray of its own, one to join, or none."
)
@_JSON
def tune(
    trace_uri: str | None,
    puzzles: int,
    breadth: int,
    depth: int,
    trials: int,
    workers: int | None,
    address: str,
    as_json: bool,
) -> None:
    """Run a whole study by replay, as `eqr-ray tune` does, and print how long it took, the start of the workers included."""
    import tempfile
    import time

    from eqr_ray.config.tune import load_tune_config
    from eqr_ray.tuning.run import tune_on

    with tempfile.TemporaryDirectory(prefix="eqr") as out:
        given = {"trace": trace_uri or "made", "out": out, "trials": trials, "workers": workers, "address": address}
        config = load_tune_config(None, (), given)
        trace = _trace(trace_uri, round(puzzles / (1 - config.kept_back)), depth, breadth)
        began = time.monotonic()
        found = tune_on(trace, config)
        spent = time.monotonic() - began
    if as_json:
        click.echo(
            json.dumps({"trials": found.trials, "failed": found.failed, "puzzles": found.puzzles, "seconds": spent})
        )
        return
    click.echo(
        f"{found.trials:,} trials ({found.failed} failed) on {found.puzzles:,} puzzles x {trace.facts.breadth} trajectories"
    )
    click.echo(f"{spent:.1f} s, {found.trials / spent:.1f} trials/s")


def _trace(uri: str | None, puzzles: int, depth: int, breadth: int) -> Trace:
    from eqr_ray.sim.made import made_trace
    from eqr_ray.sim.trace import read_trace

    return read_trace(uri) if uri else made_trace(puzzles, depth, breadth)
