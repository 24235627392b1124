"""`eqr-ray bench chaos`: evaluations on several nodes of this machine, to which everything happens that happens to clusters."""

from __future__ import annotations

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--seeds", type=click.IntRange(min=1), default=30, show_default=True, help="Runs, each with its own disasters."
)
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option("--nodes", type=click.IntRange(min=2), default=3, show_default=True, help="Worker nodes of one CPU.")
@click.option(
    "--puzzles", "limit", type=click.IntRange(min=20), default=120, show_default=True, help="Puzzles of a run."
)
def chaos(seeds: int, first: int, nodes: int, limit: int) -> None:
    """Kill, drain, stall and join nodes, replicas and drivers by seed; exit 1 unless every run ends with the verdicts of a quiet one."""
    import contextlib
    import os
    import shutil
    import sys
    import tempfile
    from itertools import islice
    from pathlib import Path

    from eqr_ray.cli.group import Failed
    from eqr_ray.distributed.cluster import LOCAL_SETTINGS
    from eqr_ray.distributed.machines import machines
    from eqr_ray.puzzles.demo import demo_path
    from eqr_ray.puzzles.files import read_puzzles
    from eqr_ray.runs.chaos import play_seeds

    # Ray's sockets want short paths, and a Ray of its own leaves the user's home alone.
    folder = Path(tempfile.mkdtemp(prefix="eqr", dir="/tmp"))
    os.environ.update(LOCAL_SETTINGS, HOME=str(folder), RAY_TMPDIR=str(folder))
    try:
        lines = Path(demo_path("sudoku6")).read_text().splitlines(keepends=True)
        puzzles = folder / "puzzles.csv"
        puzzles.write_text("".join(islice(lines, limit + 1)))
        lethal = next(iter(read_puzzles(str(puzzles), limit=1))).puzzle.cells.tobytes()
        n_failed = 0
        said = sys.stdout
        # Ray prints the last lines of every raylet that dies, here on purpose.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), machines(nodes) as there:
            for outcome in play_seeds(range(first, first + seeds), folder, str(puzzles), there, lethal):
                n_failed += bool(outcome.problems)
                result = "; ".join(outcome.problems) or "verdicts identical, nothing left"
                click.echo(
                    f"seed {outcome.seed:3}: {outcome.wall_s:5.1f} s, {outcome.sessions} session(s); "
                    f"{', '.join(outcome.happened) or 'nothing happened in time'}: {result}",
                    file=said,
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    click.echo(f"{seeds - n_failed} of {seeds} runs survived")
    if n_failed:
        raise Failed(f"{n_failed} of {seeds} runs did not survive; the lines above say what went wrong")
