"""`eqr-ray solve`: boards in, solved boards out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from eqr_ray.cli.options import policy_of, search_options
from eqr_ray.types import InputError

if TYPE_CHECKING:
    from eqr_ray.solver import Answer, Solver


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("puzzles", nargs=-1, metavar="[PUZZLE ...]")
@click.option("--file", "file", metavar="F", help="A puzzle file or folder (CSV, text, Parquet; local or s3://).")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N puzzles of the file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@search_options
def solve(
    puzzles: tuple[str, ...],
    file: str | None,
    limit: int | None,
    as_json: bool,
    checkpoint: str | None,
    task: str | None,
    policy: str | None,
    depth: int | None,
    breadth: int | None,
    nfe: int | None,
    seed: int | None,
    device: str | None,
    dtype: str | None,
    compile: bool | None,
    threads: int | None,
) -> None:
    """Print the solved board(s) with confidence, iterations and trajectories.

    A PUZZLE is one line, row by row, with . or 0 for a blank cell; - reads lines from standard input.
    """
    if file is not None and puzzles:
        raise click.UsageError("give puzzles as arguments or with --file, not both")
    if file is None and not puzzles and sys.stdin.isatty():
        raise click.UsageError("give a puzzle, --file F, or - to read lines from standard input")
    for name, value in (("threads", threads), ("seed", None if seed is None else seed + 1)):
        if value is not None and value < 1:
            raise InputError(
                f"{name} must be at least {int(name == 'threads')}, got {name}={value if name == 'threads' else seed}"
            )
    chosen = policy_of(policy, depth, breadth, nfe)

    from eqr_ray.solver import Solver

    solver = Solver(
        checkpoint,
        task=task,
        policy=chosen,
        seed=seed or 0,
        device=device or "auto",
        dtype=dtype or "float32",
        compiled=bool(compile),
        threads=threads,
    )
    for answer in _answers(solver, puzzles, file, limit):
        click.echo(_as_json(answer) if as_json else _as_text(answer))


def _answers(solver: Solver, puzzles: tuple[str, ...], file: str | None, limit: int | None) -> Iterator[Answer]:
    from eqr_ray.puzzles.files import read_lines, read_puzzles
    from eqr_ray.puzzles.opening import decode, split

    if file is not None:
        yield from solver.solve_records(read_puzzles(file, solver.task, limit))
    elif puzzles in ((), ("-",)):
        lines = decode(split(sys.stdin.buffer, "standard input"), "standard input")
        yield from solver.solve_records(read_lines(lines, "standard input", solver.task, limit))
    else:
        for puzzle in puzzles:
            yield solver.solve(puzzle)


def _as_text(answer: Answer) -> str:
    verdict = answer.verdict
    told = [
        f"confidence {100 * verdict.confidence:.1f} %",
        _plural(verdict.nfe, "iteration", "iterations"),
        f"{_plural(verdict.breadth, 'trajectory', 'trajectories')} to depth {verdict.depth}",
        f"{_plural(verdict.votes, 'vote', 'votes')}, {_plural(verdict.distinct_answers, 'distinct answer', 'distinct answers')}",
        f"stopped: {verdict.stop.value}",
        "obeys the rules" if answer.valid else "BREAKS THE RULES",
    ]
    return f"{answer.board}\n{answer.text}\n{'; '.join(told)}\n"


def _as_json(answer: Answer) -> str:
    verdict = answer.verdict
    residual = verdict.residual if verdict.residual < float("inf") else None
    return json.dumps(
        {
            "puzzle_id": verdict.puzzle_id,
            "question": answer.question,
            "prediction": answer.text,
            "valid": answer.valid,
            "confidence": verdict.confidence,
            "votes": verdict.votes,
            "distinct_answers": verdict.distinct_answers,
            "breadth": verdict.breadth,
            "depth": verdict.depth,
            "nfe": verdict.nfe,
            "residual": residual,
            "stop": verdict.stop.value,
        },
        allow_nan=False,
    )


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
