"""`eqr-ray data`: puzzle files made, rated, described and converted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from eqr_ray.cli.group import LazyGroup

if TYPE_CHECKING:
    from eqr_ray.puzzles.record import Record
    from eqr_ray.puzzles.task import Task

_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(cls=LazyGroup, context_settings=_HELP)
def data() -> None:
    """Make, mine, rate, describe, split and convert puzzle files (.csv, .csv.gz, .parquet; text lines are read too)."""


def _task(name: str | None) -> Task | None:
    from eqr_ray.puzzles.task import task

    return None if name is None else task(name)


def _write(out: str, records: Iterable[Record]) -> None:
    from eqr_ray.puzzles.writing import csv_lines, write_puzzles

    if out == "-":
        for line in csv_lines(records):
            click.echo(line, nl=False)
    else:
        click.echo(f"{out}: {write_puzzles(out, records):,} puzzles")


@data.command(context_settings=_HELP)
@click.argument("task", metavar="TASK")
@click.option("-n", "--count", type=click.IntRange(min=1), default=100, show_default=True, help="How many puzzles.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Equal seeds make equal puzzles."
)
@click.option(
    "--min-rating", type=click.IntRange(min=0), default=0, help="Least guesses of an exact solver; moves of a maze."
)
@click.option("--max-rating", type=click.IntRange(min=0), help="Most of them.")
@click.option("--extra-clues", type=click.IntRange(min=0), default=0, help="Clues beyond a minimal Sudoku.")
@click.option("--out", default="-", metavar="F", help="The file to write; - prints CSV.")
def generate(
    task: str, count: int, seed: int, min_rating: int, max_rating: int | None, extra_clues: int, out: str
) -> None:
    """Make puzzles with exactly one solution, with answers and ratings. TASK is such as sudoku9 or maze30x30."""
    from eqr_ray.puzzles.generator import Wish
    from eqr_ray.puzzles.generator import generate as make
    from eqr_ray.puzzles.task import task as find

    _write(out, make(find(task), count, seed, Wish(min_rating, max_rating, extra_clues)))


@data.command(context_settings=_HELP)
@click.argument("puzzles", metavar="F")
@click.option("--task", metavar="NAME", help="Follows from the puzzles if left out.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N puzzles.")
@click.option("--out", default="-", metavar="F", help="The file to write; - prints CSV.")
def rate(puzzles: str, task: str | None, limit: int | None, out: str) -> None:
    """Fill in ratings and missing answers by exact search."""
    from eqr_ray.puzzles.files import read_puzzles
    from eqr_ray.puzzles.generator import rate as rated

    _write(out, rated(read_puzzles(puzzles, _task(task), limit)))


@data.command(context_settings=_HELP)
@click.argument("puzzles", metavar="F")
@click.option("--task", metavar="NAME", help="Follows from the puzzles if left out.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N puzzles.")
@click.option(
    "--out",
    required=True,
    metavar="F",
    help="The file to write; its ending tells the format. A folder ending in / is written as the NumPy folder of HRM, TRM and EqR.",
)
@click.option(
    "--variants", type=click.IntRange(min=0), default=0, help="Symmetric variants beside each puzzle (NumPy folder)."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Chooses the variants.")
def convert(puzzles: str, task: str | None, limit: int | None, out: str, variants: int, seed: int) -> None:
    """Write a puzzle file or folder (or a NumPy folder of HRM, TRM or EqR) in another format."""
    from eqr_ray.puzzles.files import read_puzzles

    records = read_puzzles(puzzles, _task(task), limit)
    if not out.endswith("/"):
        if variants:
            raise click.UsageError("--variants belongs to a NumPy folder; let --out end in /")
        _write(out, records)
        return
    from eqr_ray.puzzles.published_folder import write_published

    n = write_published(out, records, variants, seed)
    click.echo(f"{out}: {n:,} puzzles, {n * (1 + variants):,} examples")


@data.command(context_settings=_HELP)
@click.argument("puzzles", metavar="F")
@click.option("--task", metavar="NAME", help="Follows from the puzzles if left out.")
@click.option("-n", "--count", type=click.IntRange(min=1), default=100, show_default=True, help="How many puzzles.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Equal seeds mine equal puzzles."
)
@click.option(
    "--min-rating", type=click.IntRange(min=0), default=1, show_default=True, help="Least guesses of an exact solver."
)
@click.option(
    "--exchange", type=click.IntRange(min=1), default=3, show_default=True, help="Most clues taken out of a puzzle."
)
@click.option("--out", default="-", metavar="F", help="The file to write; - prints CSV.")
def mine(puzzles: str, task: str | None, count: int, seed: int, min_rating: int, exchange: int, out: str) -> None:
    """Make hard Sudoku puzzles from those of F, by exchanging clues and leaving out every clue that is not needed."""
    from eqr_ray.puzzles.files import read_puzzles
    from eqr_ray.puzzles.generator import Wish
    from eqr_ray.puzzles.prospecting import mine as dig

    _write(out, dig(list(read_puzzles(puzzles, _task(task))), count, seed, Wish(min_rating), exchange))


@data.command(context_settings=_HELP)
@click.argument("puzzles", metavar="F")
@click.option("--task", metavar="NAME", help="Follows from the puzzles if left out.")
@click.option(
    "--parts",
    default="train=0.9,valid=0.05,test=0.05",
    show_default=True,
    metavar="NAME=SHARE,...",
    help="The parts and their shares of the symmetry classes.",
)
@click.option("--avoid", metavar="F", help="Leave out puzzles whose symmetry class occurs in this file.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed divides otherwise."
)
@click.option("--out", required=True, metavar="DIR", help="The folder to which PART.csv is written.")
def split(puzzles: str, task: str | None, parts: str, avoid: str | None, seed: int, out: str) -> None:
    """Divide solved puzzles into parts that share no symmetry class.

    The part of a class depends on the class and the seed alone, so files divided with the same parts and seed go together.
    """
    from eqr_ray.puzzles.files import read_puzzles
    from eqr_ray.puzzles.splitting import keys_of, parse_shares
    from eqr_ray.puzzles.splitting import split as divide

    shares = parse_shares(parts)
    unwanted = set(keys_of(read_puzzles(avoid, _task(task)))) if avoid else set()
    for name, n in divide(read_puzzles(puzzles, _task(task)), out, shares, seed, unwanted).items():
        if name in shares or avoid:
            click.echo(f"{f'{out}/{name}.csv' if name in shares else name}: {n:,} puzzles")


@data.command(context_settings=_HELP)
@click.argument("puzzles", metavar="F")
@click.option("--task", metavar="NAME", help="Follows from the puzzles if left out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def describe(puzzles: str, task: str | None, as_json: bool) -> None:
    """Check every line of a puzzle file and say what it holds."""
    from eqr_ray.puzzles.files import read_puzzles
    from eqr_ray.puzzles.generator import describe as described

    found = described(read_puzzles(puzzles, _task(task)))
    assert found is not None, "reading refuses a file without puzzles"
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), ensure_ascii=False))
        return
    rating = "none" if found.rating is None else f"{found.rating[0]:g} to {found.rating[1]:g}"
    click.echo(f"task      {found.task}")
    click.echo(f"puzzles   {found.puzzles:,} ({found.distinct:,} distinct, {found.answered:,} with an answer)")
    click.echo(f"clues     {found.clues[0]} to {found.clues[1]}")
    click.echo(f"rating    {rating}")
    for source, count in sorted(found.by_source.items(), key=lambda item: -item[1]):
        click.echo(f"source    {source}: {count:,}")


@data.command(context_settings=_HELP)
@click.argument("task", metavar="TASK", default="sudoku9")
def demo(task: str) -> None:
    """Print where the bundled demo puzzles of TASK (sudoku9 if left out) are, easy to hardest."""
    from eqr_ray.puzzles.demo import demo_path

    click.echo(demo_path(task))
