from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import Result

from eqr_ray.cli import COMMANDS
from eqr_ray.cli.group import Failed, Interrupted, LazyGroup
from eqr_ray.types import InputError

SUBCOMMANDS = [
    "checkpoint list", "checkpoint inspect", "checkpoint convert", "data generate", "data rate", "data convert", "data describe",
    "data demo", "bench engine", "bench train", "bench scale",
]  # fmt: skip


def test_help_imports_no_heavy_library() -> None:
    script = (
        "import sys; from eqr_ray.cli import root\n"
        "try: root.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(*sorted({'torch', 'ray', 'numba', 'pandas', 'pyarrow', 'pydantic'} & set(sys.modules)), 'and no more')"
    )
    got = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert got.stdout.splitlines()[-1] == "and no more"


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", *COMMANDS, *SUBCOMMANDS])
def test_every_command_has_help(run: Callable[..., Result], command: str, flag: str) -> None:
    got = run(*command.split(), flag)
    assert got.exit_code == 0
    assert got.stdout.startswith("Usage: eqr-ray")


def test_the_table_of_commands_names_commands_that_exist(run: Callable[..., Result]) -> None:
    listed = run("--help").stdout
    assert all(f"  {name} " in listed for name in COMMANDS)


@pytest.mark.parametrize("command", ["solve", "evaluate"])
def test_the_common_options_have_the_names_of_the_contract(run: Callable[..., Result], command: str) -> None:
    text = run(command, "--help").stdout
    names = ["--checkpoint", "--policy", "--depth", "--breadth", "--nfe", "--seed", "--limit"]
    if command == "evaluate":
        names += ["--puzzles", "--out", "--replicas", "--address", "--resume", "--config", "--set"]
    assert [
        name for name in names if f"{name} " not in text and f"{name}\n" not in text and f"{name} /" not in text
    ] == []


def test_version_is_the_package_s(run: Callable[..., Result]) -> None:
    import eqr_ray

    assert run("--version").stdout == f"eqr-ray {eqr_ray.__version__}\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("solvee", "no such command `solvee`; did you mean `solve`?"),
        ("frobnicate", "the commands are solve, evaluate"),
        ("checkpoint inspct", "did you mean `inspect`?"),
        ("solve --dpeth 3", "no such option --dpeth; did you mean --depth?"),
        ("evaluate --polcy fixed", "did you mean --policy?"),
        ("--verison", "did you mean --version?"),
        ("report", "missing argument 'DIR'"),
        ("report a b", "unexpected extra argument"),
        ("evaluate --depth", "'--depth' requires an argument"),
        ("evaluate --depth deep", "'deep' is not a valid integer"),
        ("evaluate --device tpu", "'tpu' is not one of"),
        ("data generate sudoku9 -n 0", "0 is not in the range"),
        ("solve x --file y", "not both"),
    ],
)
def test_a_misspelt_command_line_is_refused_with_the_nearest_name(
    refused: Callable[..., str], line: str, words: str
) -> None:
    message = refused(*line.split())
    assert words in message
    assert "--help" in message


def test_no_command_at_all_shows_the_help_and_fails(run: Callable[..., Result]) -> None:
    got = run()
    assert got.exit_code == 2
    assert "Usage: eqr-ray" in got.stderr


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("p.csv, line 7: wrong\nreally"), 2, "error: p.csv, line 7: wrong really"),
        (Failed("no replica came up"), 1, "failed: no replica came up"),
        (Interrupted("--resume goes on"), 130, "stopped: --resume goes on"),
        (KeyboardInterrupt(), 130, "stopped: interrupted"),
        (ZeroDivisionError("a bug"), 1, "failed: ZeroDivisionError: a bug; the details follow"),
    ],
)
def test_each_way_to_end_has_its_exit_code_and_line(error: BaseException, code: int, line: str) -> None:
    from click.testing import CliRunner

    @click.group(cls=LazyGroup)
    def group() -> None:
        pass

    @group.command()
    def go() -> None:
        raise error

    got = CliRunner().invoke(group, ["go"])
    assert got.exit_code == code
    assert got.stderr.splitlines()[0 if code != 130 else -1] == line
    assert ("Traceback" in got.stderr) == isinstance(error, ZeroDivisionError)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m eqr_ray data generate sudoku4 -n 40000 | head -n 1"
    got = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=120, check=False
    )
    assert got.stdout == "source,question,answer,rating\n"
    assert got.stderr == ""
