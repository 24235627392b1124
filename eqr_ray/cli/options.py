"""Options that several commands share, under the names of the contract with users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from eqr_ray.config import PolicyConfig, policy_config

F = TypeVar("F", bound=Callable[..., Any])


def search_options(command: F) -> F:
    """Add the options that decide the verdicts: weights, policy, budget, seed."""
    for option in reversed(
        (
            click.option("--checkpoint", metavar="NAME|PATH|URI", help="Weights; follows from the task if left out."),
            click.option(
                "--task", metavar="NAME", help="Such as sudoku9 or maze30x30; follows from the puzzles if left out."
            ),
            click.option(
                "--policy",
                metavar="NAME|PATH",
                help="How the budget is spent: balanced (default), economy, max, fixed, another kind, or a file.",
            ),
            click.option("--depth", type=int, metavar="D", help="Iterations of one trajectory."),
            click.option("--breadth", type=int, metavar="B", help="Trajectories of one puzzle."),
            click.option("--nfe", type=int, metavar="N", help="Iterations of one puzzle over all its trajectories."),
            click.option("--seed", type=int, metavar="S", help="Keys every random draw; 0 if left out."),
            click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where the network runs."),
            click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), help="Arithmetic of the network."),
            click.option(
                "--compile/--no-compile", default=None, help="Fuse the layers: faster, after half a minute's start."
            ),
            click.option("--threads", type=int, metavar="N", help="CPU threads of an engine."),
        )
    ):
        command = option(command)
    return command


def policy_of(name: str | None, depth: int | None, breadth: int | None, nfe: int | None) -> Any:
    """Return the policy that the options ask for; InputError if there is none such."""
    from eqr_ray.policy import policy_from

    given: PolicyConfig = policy_config(name, depth, breadth, nfe)
    return policy_from(given.name, given.depth, given.breadth, given.nfe, **given.params)
