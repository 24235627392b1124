"""`eqr-ray simulate`: what a policy would cost on a cluster."""

from __future__ import annotations

import json

import click

from eqr_ray.config.simulate import load_simulate_config


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_file",
    metavar="YAML",
    help="A configuration; options and --set win over it; see configs/simulate.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key of the configuration; may be repeated."
)
@click.option("--trace", metavar="T", help="The trace to play; a made landscape if left out.")
@click.option(
    "--puzzles", type=int, metavar="N", help="How many puzzles like those of the trace; as many as it has if left out."
)
@click.option(
    "--checkpoint",
    metavar="NAME|PATH|URI",
    help="Whose calibration policies read; left out, the one that the trace names.",
)
@click.option("--policy", metavar="NAME|PATH", help="How the budget is spent.")
@click.option("--depth", type=int, metavar="D", help="Iterations of one trajectory.")
@click.option("--breadth", type=int, metavar="B", help="Trajectories of one puzzle.")
@click.option("--nfe", type=int, metavar="N", help="Iterations of one puzzle over all its trajectories.")
@click.option("--replicas", type=int, metavar="N", help="Replicas of the cluster.")
@click.option(
    "--rate", type=float, metavar="R", help="Iterations a second of one replica; `eqr-ray bench engine` measures it."
)
@click.option("--price", type=float, metavar="P", help="Price of one replica an hour.")
@click.option("--bulk", is_flag=True, help="For 10^7 puzzles and more: columns of work, no coordinator, no preemption.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(config_file: str | None, overrides: tuple[str, ...], bulk: bool, as_json: bool, **options: object) -> None:
    """Tell accuracy, iterations, wall time, replica hours and money of a run that was never made.

    The real coordinator and the real policy work on recorded trajectories, on replicas with a virtual clock: they start late,
    straggle and are preempted as the configuration says.
    """
    keys = {"policy": "policy.name", "depth": "policy.depth", "breadth": "policy.breadth", "nfe": "policy.nfe",
            "replicas": "cluster.replicas", "rate": "cluster.iterations_per_s", "price": "cluster.price_per_hour"}  # fmt: skip
    config = load_simulate_config(
        config_file, overrides, {keys.get(name, name): value for name, value in options.items()}
    )

    from dataclasses import asdict

    from eqr_ray.policy import calibrated, policy_from
    from eqr_ray.runs.calibrate import known_of
    from eqr_ray.runs.simulate import forecast, forecast_in_bulk
    from eqr_ray.sim.cluster import Cluster
    from eqr_ray.sim.made import made_trace
    from eqr_ray.sim.replay import held_to
    from eqr_ray.sim.trace import read_trace

    own = config.policy
    trace = (
        read_trace(config.trace)
        if config.trace
        else made_trace(config.made_puzzles, config.made_depth, config.made_breadth)
    )
    wanted = policy_from(own.name, own.depth, own.breadth, own.nfe, **own.params)
    # Without a budget of the user's a policy is held to what was recorded.
    held = held_to(wanted, trace.facts, depth=own.depth is None, breadth=own.breadth is None)
    policy = calibrated(held, known_of(trace.facts, config.checkpoint))
    predict = forecast_in_bulk if bulk else forecast
    found = predict(
        trace, policy, Cluster(**config.cluster.model_dump()), config.puzzles or len(trace), config.most_rows
    )
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    accuracy = "–" if found.exact_accuracy is None else f"{100 * found.exact_accuracy:.2f} %"
    if found.exact_accuracy_ci95 is not None:
        accuracy += (
            f" (95 % interval {100 * found.exact_accuracy_ci95[0]:.2f} to {100 * found.exact_accuracy_ci95[1]:.2f} %)"
        )
    click.echo(f"puzzles   {found.puzzles:,} like the {len(trace):,} of {config.trace or 'a made landscape'}")
    click.echo(f"exact     {accuracy}")
    click.echo(f"NFE       {found.nfe_mean:,.1f} a puzzle, {found.nfe_computed:,} computed")
    click.echo(
        f"time      {found.wall_s:,.0f} s on {config.cluster.replicas} replicas, {100 * found.busy_share:.0f} % of it at work"
    )
    click.echo(
        f"paid      {found.replica_hours:,.2f} replica hours, {found.cost:,.2f} at {config.cluster.price_per_hour:g} an hour"
    )
    click.echo(f"lost      {found.preemptions:,} preemptions, {found.lost_slices:,} slices")
