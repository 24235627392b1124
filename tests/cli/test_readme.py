"""Every `eqr-ray` command of the README and the pages exists, with every option it is shown with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from eqr_ray.cli import root

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "configs").rglob("*.yaml"))]


def shown() -> list[tuple[str, str]]:
    """Return (page, command line) of each line that is a command."""
    found = []
    for page in PAGES:
        for line in page.read_text().splitlines():
            if match := re.match(r"[#\s]*(?:then: )?(eqr-ray [a-z].*)$", line):
                command = match[1].split("  #")[0].rstrip("\\` ")
                found.append((str(page.relative_to(ROOT)), command))
    return found


@pytest.mark.parametrize(("page", "command"), shown())
def test_shown_command_exists_with_its_options(page: str, command: str) -> None:
    words = shlex.split(command)[1:]
    at: click.Command = root
    context = click.Context(root)
    while isinstance(at, click.Group) and words:
        following = at.get_command(context, words[0])
        assert following is not None, f"{page}: {words[0]}"
        at, words = following, words[1:]
    known = {option for parameter in at.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"{page}: {command}"


def test_the_readme_shows_its_two_commands_and_make_knows_them() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert len(shown()) > 20
