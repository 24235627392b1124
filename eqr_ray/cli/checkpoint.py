"""`eqr-ray checkpoint`: which weights there are, what they reach, and the published ones converted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

import click

from eqr_ray.cli.group import LazyGroup

if TYPE_CHECKING:
    from eqr_ray.model.checkpoint import CheckpointFiles

_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(cls=LazyGroup, context_settings=_HELP)
def checkpoint() -> None:
    """List, inspect, measure and convert trained weights."""


@checkpoint.command("list", context_settings=_HELP)
def list_bundled() -> None:
    """Print the checkpoints that come with the package."""
    from eqr_ray.model.checkpoint import bundled, fetch

    names = list(bundled())
    if not names:
        click.echo("no checkpoint is bundled", err=True)
    for name in names:
        found = fetch(name)
        spec = found.spec
        click.echo(
            f"{name:14} {spec.task:12} {_weights(found):>12,} weights  {spec.form}, {spec.layers} x {spec.mixer}, "
            f"hidden {spec.hidden}  {found.card.get('summary', '')}".rstrip()
        )


@checkpoint.command(context_settings=_HELP)
@click.argument("reference", metavar="NAME|PATH|URI")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(reference: str, as_json: bool) -> None:
    """Load a checkpoint and print its network, digest and card; a damaged one is refused."""
    from eqr_ray.model.checkpoint import build, fetch

    found = fetch(reference)
    build(found)
    facts = {
        "name": found.name,
        "sha256": found.sha256,
        "parameters": _weights(found),
        "nle_per_iteration": found.spec.nle_per_iteration,
        "spec": found.spec.to_json(),
        "card": found.card,
    }
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    for key in ("name", "sha256", "parameters", "nle_per_iteration"):
        click.echo(f"{key:18} {facts[key]}")
    for title in ("spec", "card"):
        click.echo(f"\n{title}\n{json.dumps(facts[title], indent=2, ensure_ascii=False)}")


@checkpoint.command(context_settings=_HELP)
@click.argument("source", metavar="FILE.pth")
@click.option("--out", required=True, metavar="DIR", help="The checkpoint folder to write.")
@click.option("--task", metavar="NAME", help="What the network solves, where its shapes do not tell.")
@click.option(
    "--weights", type=click.Choice(["ema", "model"]), default="ema", show_default=True, help="Averaged or last ones."
)
def convert(source: str, out: str, task: str | None, weights: Literal["ema", "model"]) -> None:
    """Convert a published checkpoint; pickled code in it is never run."""
    from eqr_ray.model.convert import convert_published

    click.echo(convert_published(source, out, task=task, weights=weights))


@checkpoint.command(context_settings=_HELP)
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@click.option("--puzzles", required=True, metavar="TEXT", help="In words: which puzzles these are, for the card.")
@click.option("--into", metavar="DIR", help="A checkpoint folder whose card gets the figures.")
def measure(traces: tuple[str, ...], puzzles: str, into: str | None) -> None:
    """Print what a checkpoint reaches by depth, breadth and policy on traces of labelled puzzles (`eqr-ray trace`).

    Each row is what `eqr-ray evaluate` with its options reaches on the same puzzles, seed 0.
    """
    from eqr_ray.runs.measure import as_markdown, measure_checkpoint

    for measured in measure_checkpoint(traces, puzzles, into):
        click.echo(as_markdown(measured) + "\n")


def _weights(found: CheckpointFiles) -> int:
    """Return the number of weights from the header of the safetensors file, without building the network."""
    import math

    length = int.from_bytes(found.weights[:8], "little")
    header = json.loads(found.weights[8 : 8 + length])
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
