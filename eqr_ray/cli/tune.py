"""`eqr-ray tune`: the policies of the Pareto front of accuracy and iterations."""

from __future__ import annotations

import click

from eqr_ray.config.tune import TuneConfig, load_tune_config


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "config_file", metavar="YAML", help="A configuration; options and --set win over it; see configs/tune."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key of the configuration; may be repeated."
)
@click.option("--trace", metavar="T", help="The labelled trace that policies are replayed on.")
@click.option("--out", metavar="DIR", help="Where study, front and policies go.")
@click.option("--trials", type=int, metavar="N", help="Trials of the study, earlier sessions included.")
@click.option("--storage", metavar="URL", help="An RDB such as sqlite:///study.db; a journal in DIR if left out.")
@click.option("--seed", type=int, metavar="S", help="Of sampler and split; 0 if left out.")
@click.option("--workers", type=int, metavar="N", help="Trials at a time; one a core if left out.")
@click.option("--resume/--no-resume", default=None, help="Go on with the study in DIR.")
@click.option(
    "--address", metavar="ADDRESS", help="local (default), auto, host:port, or none for this process without Ray."
)
def tune(config_file: str | None, overrides: tuple[str, ...], **options: object) -> None:
    """Search policies by replay of a trace, or the dynamics by live runs, for accuracy up and iterations down.

    Ends with front.csv, front.svg and the files economy.yaml, balanced.yaml and max.yaml, ready for --policy, each with what it
    reached on puzzles that tuning did not see. Interrupted or killed, the same command with --resume goes on.
    """
    config = load_tune_config(config_file, overrides, options)

    from eqr_ray.cli.group import Interrupted
    from eqr_ray.storage import mirrored

    out = config.out
    try:
        with mirrored(out, config.resume) as folder:
            _tune(config.model_copy(update={"out": folder}), out)
    except KeyboardInterrupt:
        raise Interrupted(f"the study is kept in {out}; the same command with --resume goes on") from None


def _tune(config: TuneConfig, out: str) -> None:
    """Run a study in a local folder and print what it found; `out` is the folder's name for the user."""
    if config.dynamics is not None:
        from eqr_ray.tuning.dynamics import run_dynamics

        for point in run_dynamics(config):
            click.echo(
                f"beta {point.beta:.4f}  init_std {point.init_std:.3f}  damping {point.damping:.3f}  "
                f"accuracy {100 * point.accuracy:.2f} %  NFE {point.nfe_mean:.1f}  of {point.puzzles:,} puzzles"
            )
        return
    from eqr_ray.tuning.run import run_tune

    summary = run_tune(config)
    click.echo(
        f"study     {summary.trials:,} trials ({summary.failed} failed) on {summary.puzzles:,} puzzles, {len(summary.front)} on the front"
    )
    for own in summary.named:
        click.echo(
            f"{own.name:9} {own.spec.name}: {100 * own.seen.accuracy:.2f} % at {own.seen.nfe_mean:.1f} NFE; "
            f"kept back {100 * own.kept_back.accuracy:.2f} % at {own.kept_back.nfe_mean:.1f} of {own.kept_back.puzzles:,}"
        )
        if own.live is not None and own.live.exact_accuracy is not None:
            click.echo(
                f"          live {100 * own.live.exact_accuracy:.2f} % at {own.live.nfe_mean:.1f} of {own.live.puzzles:,}"
            )
    click.echo(f"files     {out.rstrip('/')}/front.csv, front.svg, tuned.json and one YAML a policy")
