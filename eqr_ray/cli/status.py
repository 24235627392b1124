"""`eqr-ray status`: how a run stands, running or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from eqr_ray.runs.status import Status


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", metavar="RUN")
@click.option("--price", type=click.FloatRange(min=0), metavar="P", help="Price of one replica an hour, for the cost.")
@click.option("--link", is_flag=True, help="Print an address of the report that a browser opens, valid for a day.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for the run, and one for each shard.")
def status(run: str, price: float | None, link: bool, as_json: bool) -> None:
    """Say how the evaluation in RUN stands, a folder or s3://: done, rate, time left, cost so far, failures.

    Nothing but its folder is asked, so it works from any machine, whether the run goes on, was stopped, or has ended.
    """
    from dataclasses import asdict

    from eqr_ray.runs.status import statuses

    found = statuses(run, price)
    if as_json:
        for own in found:
            click.echo(json.dumps(asdict(own)))
    else:
        click.echo("\n\n".join(_text(own, price) for own in found))
    if link:
        from eqr_ray.storage import Kind, Place
        from eqr_ray.types import InputError

        place = Place(run)
        if place.kind("report.html") is not Kind.FILE:
            raise InputError(f"{run} holds no report.html yet; write it with `eqr-ray report {run}`")
        click.echo(f"link      {place.link('report.html', 86_400)}")


def _text(own: Status, price: float | None) -> str:
    from eqr_ray.runs.progress import clock

    share = f" of {own.total:,} ({100 * own.done / own.total:.1f} %)" if own.total else ""
    heard = "" if own.heard_s is None else f", {own.owner}, heard of {clock(own.heard_s)} ago"
    lines = [
        f"run       {own.folder}  {own.run_id}".rstrip(),
        f"state     {own.state.value}{heard}",
        f"done      {own.done:,} puzzles{share}",
    ]
    if own.exact_accuracy is not None and own.exact_accuracy_ci95 is not None:
        low, high = own.exact_accuracy_ci95
        lines.append(
            f"exact     {100 * own.exact_accuracy:.2f} %, 95 % interval {100 * low:.2f} to {100 * high:.2f} %, of what is written"
        )
    if own.done:
        lines.append(f"NFE       {own.nfe / max(own.done, 1):,.1f} a puzzle, policy {own.policy}")
    if own.puzzles_per_s is not None:
        left = "" if own.left_s is None else f", {clock(own.left_s)} left"
        lines.append(f"rate      {own.puzzles_per_s:,.1f} puzzles/s on {own.replicas} replicas{left}")
    cost = "" if own.cost is None else f", {own.cost:,.2f} at {price:g} an hour"
    lines.append(
        f"took      {clock(own.wall_s)} in {own.sessions} sessions, {own.replica_hours:,.3f} replica hours{cost}"
    )
    lines.append(
        f"failures  {own.lost_replicas:,} replicas and {own.lost_slices:,} slices lost, storage asked again {own.storage_retries:,} times"
    )
    if own.git_revision:
        lines.append(f"revision  {own.git_revision}")
    return "\n".join(lines)
