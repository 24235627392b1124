"""The command line `eqr-ray`: parse, load the configuration, call one function; results on stdout, everything else on stderr.

Invariants, asserted in tests/cli: `--help` imports neither ray nor torch; exit code 0 is done, 1 failed, 2 bad usage or bad input with one
sentence on stderr, 130 interrupted; no traceback for bad input.
"""

from __future__ import annotations

import sys

import click

from eqr_ray import __version__
from eqr_ray.cli.group import LazyGroup

COMMANDS = {
    "solve": ("eqr_ray.cli.solve:solve", "Print the solved board of one or more puzzles."),
    "evaluate": (
        "eqr_ray.cli.evaluate:evaluate",
        "Puzzle files to verdicts, summary and report, on Ray.",
    ),
    "trace": ("eqr_ray.cli.trace:trace", "Record every trajectory of a puzzle file to full depth."),
    "calibrate": ("eqr_ray.cli.calibrate:calibrate", "Fit how far a checkpoint's signals are to be trusted."),
    "tune": ("eqr_ray.cli.tune:tune", "Search the policies of the Pareto front of accuracy and iterations."),
    "simulate": ("eqr_ray.cli.simulate:simulate", "Tell what a policy would cost on a cluster."),
    "submit": ("eqr_ray.cli.submit:submit", "Run a job on a Ray cluster and follow it to its end."),
    "status": ("eqr_ray.cli.status:status", "Say how an evaluation stands, running or not."),
    "merge": ("eqr_ray.cli.merge:merge", "Make the shards of an evaluation one."),
    "compare": ("eqr_ray.cli.compare:compare", "Compare two evaluations, puzzle by puzzle."),
    "export": ("eqr_ray.cli.export:export", "Write the puzzles of an evaluation as a puzzle file."),
    "report": ("eqr_ray.cli.report:report", "Write the HTML report of an evaluation's folder again."),
    "checkpoint": ("eqr_ray.cli.checkpoint:checkpoint", "List, inspect and convert trained weights."),
    "data": ("eqr_ray.cli.data:data", "Make, rate, describe and convert puzzle files."),
    "train": ("eqr_ray.cli.train:train", "Train a checkpoint, or continue one."),
    "serve": ("eqr_ray.cli.serve:serve", "Answer puzzles over HTTP, with a page that shows the trajectories."),
    "bench": ("eqr_ray.cli.bench:bench", "Measure how fast this machine iterates a checkpoint."),
}


@click.group(cls=LazyGroup, commands_at=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="eqr-ray", message="%(prog)s %(version)s")
def root() -> None:
    """Test-time scaling of Equilibrium Reasoners: depth and breadth spent where they help, over what Ray has."""


def main() -> None:
    """Run the command line of this process and exit."""
    root.main(args=sys.argv[1:], prog_name="eqr-ray")
