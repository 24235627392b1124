"""`eqr-ray calibrate`: how far a checkpoint's signals are to be trusted, fitted on labelled puzzles."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--puzzles", metavar="F", help="A labelled puzzle file, whose trajectories are recorded first.")
@click.option(
    "--trace",
    "trace_uri",
    metavar="T",
    help="A labelled trace; with --puzzles, where it is recorded (left out, it is not kept).",
)
@click.option("--checkpoint", metavar="NAME|PATH|URI", help="Weights for --puzzles; follows from the task if left out.")
@click.option(
    "--out", metavar="DIR", help="Where calibration.json and calibration.svg go; left out, the checkpoint's own folder."
)
@click.option(
    "--depth", type=int, default=64, show_default=True, metavar="D", help="Iterations of a recorded trajectory."
)
@click.option(
    "--breadth", type=int, default=4, show_default=True, metavar="B", help="Trajectories of a recorded puzzle."
)
@click.option("--limit", type=int, metavar="N", help="Record the first N puzzles; a few hundred are enough.")
@click.option(
    "--policy", metavar="NAME|PATH", default="balanced", show_default=True, help="What the halting rule is to serve."
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", help="Where the network runs."
)
@click.option(
    "--address",
    default="local",
    show_default=True,
    metavar="ADDRESS",
    help="Where the trace is recorded; see eqr-ray trace.",
)
@click.option("--replicas", type=int, metavar="N", help="Recorders; one a core, or one a GPU share, if left out.")
@click.option("--resume/--no-resume", default=None, help="Go on with an interrupted recording in T.")
def calibrate(
    puzzles: str | None,
    trace_uri: str | None,
    checkpoint: str | None,
    out: str | None,
    policy: str,
    **recording: object,
) -> None:
    """Fit P(right | halting logit, residual, logit change, depth), the confidence of a verdict and the chances of going on.

    The calibration is bound to the digest of the weights. Never use the puzzles that accuracy is measured on. The quality that is printed
    is that of puzzles kept back from the fit.
    """
    if trace_uri is None and puzzles is None:
        raise click.UsageError("give --puzzles, --trace, or both")
    from tempfile import TemporaryDirectory

    from eqr_ray.cli.options import policy_of
    from eqr_ray.policy import Posterior
    from eqr_ray.runs.calibrate import calibrate_checkpoint, folder_of

    chosen = policy_of(policy, None, None, None)
    if not isinstance(chosen, Posterior):
        raise click.UsageError(f"--policy must be one that reads a calibration, such as balanced, got {policy}")
    with TemporaryDirectory(prefix="eqr-trace-") as scratch:
        where = trace_uri or f"{scratch}/trace"
        if puzzles is not None:
            from eqr_ray.config.trace import load_trace_config
            from eqr_ray.runs.trace import run_trace

            options = {"puzzles": puzzles, "out": where, "checkpoint": checkpoint, **recording}
            run_trace(load_trace_config(None, (), options))
        folder = out or folder_of(where, checkpoint)
        report = calibrate_checkpoint(where, folder, chosen)
    click.echo(f"calibration  {folder.rstrip('/')}/calibration.json, fitted on {report.puzzles:,} puzzles")
    rule = report.rule
    click.echo(
        f"halting      residual below {rule.residual_below:g}, halting logit above {rule.q_halt_above:g}, {rule.stable_for} in a row"
    )
    click.echo(
        f"kept back    accuracy {100 * report.accuracy:.2f} % at {report.nfe_mean:.1f} NFE a puzzle "
        f"(fall-back {100 * report.accuracy_before:.2f} % at {report.nfe_mean_before:.1f})"
    )
    click.echo(f"Brier        {_number(report.brier)} (fall-back {_number(report.brier_before)})")
    click.echo(
        f"calib. error {_number(report.expected_calibration_error)} (fall-back {_number(report.expected_calibration_error_before)})"
    )
    for own in report.bins:
        click.echo(f"  stated {own.stated:.3f}  right {own.right:.3f}  of {own.n:,}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
