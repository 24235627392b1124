"""Commands that are imported when they run, and what a user sees when something is wrong."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from eqr_ray.runs import logs
from eqr_ray.types import InputError, StorageError

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


class Interrupted(Exception):
    """The user stopped the command; the message says how to go on."""


class Failed(Exception):
    """The command could not be done, for a reason that is no mistake of the input and no bug: the message says what to do."""


class LazyGroup(click.Group):
    """A group whose commands stand in a table and are imported on use."""

    def __init__(self, *args: Any, commands_at: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        """`commands_at` maps a name to (`module:attribute`, one line of help)."""
        super().__init__(*args, **kwargs)
        self._commands_at = dict(commands_at or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return [*self._commands_at, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of a name; None if there is none."""
        if cmd_name not in self._commands_at:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._commands_at[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing them."""
        if not self._commands_at:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._commands_at.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names; an unknown name is refused with the nearest one."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"the commands are {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(f"no such command `{name}`; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run a command line and exit with the contract's code: 0 done, 1 failed, 2 bad usage or input, 130 interrupted."""
        extra["standalone_mode"] = False
        try:
            logs.start()
            code = super().main(args=args, prog_name=prog_name, **extra)
        except InputError as error:
            code = _say(str(error), 2)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = 2
        except click.UsageError as error:
            code = _say(_usage(error), 2)
        except click.ClickException as error:
            code = _say(error.format_message(), 2)
        except (Failed, StorageError) as error:
            code = _say(str(error), 1, "failed")
        except Interrupted as error:
            code = _say(str(error), INTERRUPTED, "stopped")
        except (click.Abort, KeyboardInterrupt):
            code = _say("interrupted", INTERRUPTED, "stopped")
        except BrokenPipeError:
            # Whoever read our output has enough; a second failure at interpreter exit is kept from the terminal.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except Exception as error:
            code = _say(f"{type(error).__name__}: {_first_line(error)}; the details follow", 1, "failed")
            traceback.print_exc()
        sys.exit(code if isinstance(code, int) else 0)


def _say(sentence: str, code: int, word: str = "error") -> int:
    click.echo(f"{word}: {' '.join(sentence.split())}", err=True)
    return code


def _usage(error: click.UsageError) -> str:
    """Return a usage error as one sentence that ends with where help is."""
    where = error.ctx.command_path if error.ctx else "eqr-ray"
    if isinstance(error, click.NoSuchOption):
        options = (
            [name for p in error.ctx.command.params for name in p.opts if name.startswith("--")] if error.ctx else []
        )
        near = difflib.get_close_matches(error.option_name, [*options, "--help"], n=1, cutoff=0.5)
        message = f"no such option {error.option_name}" + (f"; did you mean {near[0]}?" if near else ";")
    else:
        text = error.format_message().rstrip(".")
        message = f"{text[:1].lower()}{text[1:]};" if not text.endswith("?") else text
    return f"{message} see {where} --help"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no message"])[0]
