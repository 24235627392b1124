"""`eqr-ray bench scale`: whether the driver's memory follows the number of puzzles."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from eqr_ray.cli.group import Failed


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--puzzles", "counts", type=click.IntRange(min=1), multiple=True, default=(100_000, 1_000_000), show_default=True,
    help="Puzzles of a run; may be repeated.",
)  # fmt: skip
@click.option("--replicas", type=click.IntRange(min=1), default=2, show_default=True, help="Simulated engines.")
@click.option("--depth", type=click.IntRange(min=1), default=8, show_default=True, help="Iterations of a trajectory.")
@click.option("--breadth", type=click.IntRange(min=1), default=2, show_default=True, help="Trajectories of a puzzle.")
@click.option("--address", default="local", show_default=True, help="local, auto or host:port.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def scale(counts: tuple[int, ...], replicas: int, depth: int, breadth: int, address: str, as_json: bool) -> None:
    """Evaluate many made puzzles of 6x6 on Ray with simulated engines, each number in a process of its own.

    Reading, coordinating, scoring and writing are the real ones: the rate printed is the driver's.
    """
    first = None
    for n in counts:
        with tempfile.TemporaryDirectory(prefix="eqr-scale-") as folder:
            command = [
                sys.executable,
                "-m",
                "eqr_ray.runs.scale",
                str(Path(folder)),
                *map(str, (n, replicas, depth, breadth)),
                address,
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise Failed(f"the run of {n:,} puzzles ended with exit code {done.returncode}; what it said is above")
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found
        if as_json:
            click.echo(json.dumps(found))
            continue
        mb, share = found["peak_bytes"] / 1e6, 100 * found["peak_bytes"] / first["peak_bytes"]
        click.echo(
            f"{n:>13,} puzzles: {found['puzzles_per_s']:>8,.0f} puzzles/s, driver {mb:,.0f} MB at most ({share:.1f} % of the "
            f"first; {found['before_bytes'] / 1e6:,.0f} MB before the run), {found['parts']:,} parts, "
            f"{found['result_bytes'] / n:,.0f} bytes a puzzle"
        )
