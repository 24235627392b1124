"""`eqr-ray calibrate`: how far a checkpoint's signals are to be trusted, fitted on labelled puzzles."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--trace", "trace_uri", metavar="T", help="A trace of labelled puzzles; or give --puzzles.")
@click.option("--puzzles", metavar="F", help="A labelled puzzle file; its trace is recorded into OUT/trace first.")
@click.option("--checkpoint", metavar="NAME|PATH|URI", help="Weights for --puzzles; follows from the task if left out.")
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    help="Where calibration.json goes: the checkpoint's folder, to be used with it.",
)
@click.option(
    "--depth", type=int, default=64, show_default=True, metavar="D", help="Iterations of a recorded trajectory."
)
@click.option(
    "--breadth", type=int, default=16, show_default=True, metavar="B", help="Trajectories of a recorded puzzle."
)
@click.option("--limit", type=int, metavar="N", help="Record the first N puzzles.")
@click.option(
    "--address",
    default="local",
    show_default=True,
    metavar="ADDRESS",
    help="Where the trace is recorded; see eqr-ray trace.",
)
@click.option("--resume/--no-resume", default=None, help="Go on with an interrupted recording in OUT/trace.")
def calibrate(
    trace_uri: str | None,
    puzzles: str | None,
    checkpoint: str | None,
    out: str,
    depth: int,
    breadth: int,
    limit: int | None,
    address: str,
    resume: bool | None,
) -> None:
    """Fit P(right | halting logit, residual, logit change, depth) and the confidence of a verdict.

    Never use the puzzles that accuracy is measured on. The quality that is printed is that of puzzles kept back from the fit.
    """
    if (trace_uri is None) == (puzzles is None):
        raise click.UsageError("give either --trace or --puzzles")
    from eqr_ray.policy import Posterior, policy_from
    from eqr_ray.runs.calibrate import calibrate_checkpoint

    if trace_uri is None:
        from eqr_ray.config.trace import load_trace_config
        from eqr_ray.runs.trace import run_trace

        trace_uri = f"{out.rstrip('/')}/trace"
        options = {"puzzles": puzzles, "out": trace_uri, "checkpoint": checkpoint, "depth": depth, "breadth": breadth, "limit": limit,
                   "address": address, "resume": resume}  # fmt: skip
        run_trace(load_trace_config(None, (), options))
    policy = policy_from("posterior")
    assert isinstance(policy, Posterior)
    report = calibrate_checkpoint(trace_uri, out, policy)
    click.echo(f"calibration  {out.rstrip('/')}/calibration.json, fitted on {report.puzzles:,} puzzles")
    click.echo(f"kept back    accuracy {100 * report.accuracy:.2f} % at {report.nfe_mean:.1f} NFE a puzzle")
    click.echo(f"Brier        {_number(report.brier)} (fall-back {_number(report.brier_before)})")
    click.echo(
        f"calib. error {_number(report.expected_calibration_error)} (fall-back {_number(report.expected_calibration_error_before)})"
    )
    for own in report.bins:
        click.echo(f"  stated {own.stated:.3f}  right {own.right:.3f}  of {own.n:,}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
