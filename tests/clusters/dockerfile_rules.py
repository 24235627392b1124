"""What hadolint says of a Dockerfile, and rules that it does not know; no Docker daemon is asked. Each breach is one sentence.

Our own: everything pinned, a user that is not root, nothing secret in the file or in what it copies, built from files that exist and that
.dockerignore lets through, Ray asking for its token.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SECRET = re.compile(r"(AKIA[0-9A-Z]{16}|-----BEGIN|(?i:password|secret|token|api_?key)\s*=\s*['\"]?[A-Za-z0-9/+]{12,})")


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction."""

    word: str
    rest: str
    line: int


def steps(text: str) -> list[Step]:
    """Return the instructions of a Dockerfile, continued lines joined, comments dropped."""
    found: list[Step] = []
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().startswith("#") or (not line.strip() and not pending):
            continue
        start = start or number
        pending += line.rstrip().removesuffix("\\") + " "
        if not line.rstrip().endswith("\\"):
            word, _, rest = pending.strip().partition(" ")
            found.append(Step(word.upper(), rest.strip(), start))
            pending, start = "", 0
    return found


def complaints(tree: Path, dockerfile: str = "cluster/Dockerfile") -> list[str]:
    """Return every breach of a rule by the Dockerfile of a tree."""
    text = (tree / dockerfile).read_text()
    every = steps(text)
    last = every[max(at for at, step in enumerate(every) if step.word == "FROM") :]
    own = [*_base(every), *_commands(every), *_files(every, tree), *_last_stage(last), *_secrets(text, "line ")]
    return own + _hadolint(tree / dockerfile)


def hadolint() -> str | None:
    """Return the program, which the `dev` extra brings; None if it is not here."""
    return shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


def _hadolint(file: Path) -> list[str]:
    program = hadolint()
    if program is None:
        return []
    done = subprocess.run([program, "--no-color", "--format", "json", file], capture_output=True, text=True)
    return [f"line {item['line']}: {item['code']}: {item['message']}" for item in json.loads(done.stdout)]


def _base(every: list[Step]) -> list[str]:
    defaults = {step.rest.partition("=")[0]: step.rest.partition("=")[2] for step in every if step.word == "ARG"}
    found = []
    for step in every:
        if step.word != "FROM":
            continue
        image = re.sub(r"\$\{?(\w+)\}?", lambda m: defaults.get(m.group(1), ""), step.rest.split()[0])
        if not re.search(r":[\w.-]*\d+\.\d+\.\d+|@sha256:", image):
            found.append(f"line {step.line}: the base {image or step.rest} is not pinned to a version")
    return found


def _commands(every: list[Step]) -> list[str]:
    found = []
    quiet_pip = any(step.word == "ENV" and "PIP_NO_CACHE_DIR=1" in step.rest for step in every)
    for step in every:
        # hadolint knows `pip`, not the one of an environment.
        if step.word == "RUN" and "pip install" in step.rest and not quiet_pip:
            found.append(f"line {step.line}: pip keeps its cache in the layer")
        for piece in re.split(r"&&|;;", step.rest) if step.word == "RUN" else ():
            if "pip install" in piece and not re.search(r"-c constraints\.txt|--no-deps|==", piece):
                found.append(f"line {step.line}: pip installs without pins")
            if re.search(r"(curl|wget)[^|]*\|\s*(ba)?sh", piece):
                found.append(f"line {step.line}: a script from the net goes straight into a shell")
    return found


def _files(every: list[Step], tree: Path) -> list[str]:
    allowed = [line[1:] for line in (tree / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    found = []
    if "*" not in (tree / ".dockerignore").read_text().splitlines():
        found.append(".dockerignore does not start from nothing")
    for step in every:
        if step.word != "COPY" or "--from=" in step.rest:
            continue
        *sources, _ = [word for word in step.rest.split() if not word.startswith("--")]
        for source in sources:
            if source in (".", "./", "/"):
                found.append(f"line {step.line}: COPY takes the whole folder")
            elif not (tree / source).exists():
                found.append(f"line {step.line}: {source} does not exist")
            elif not any(fnmatch.fnmatch(source, pattern) or source.startswith(pattern + "/") for pattern in allowed):
                found.append(f"line {step.line}: .dockerignore keeps {source} out")
            else:
                found += _secrets_below(tree / source)
    return found


def _secrets_below(copied: Path) -> list[str]:
    """What is copied is published with the image: look into every text of it."""
    found = []
    for file in [copied] if copied.is_file() else sorted(own for own in copied.rglob("*") if own.is_file()):
        try:
            found += _secrets(file.read_text(), f"{file.name}, line ")
        except UnicodeDecodeError:
            continue
    return found


def _last_stage(last: list[Step]) -> list[str]:
    found = []
    users = [step.rest for step in last if step.word == "USER"]
    if not users or users[-1].split(":")[0] in ("0", "root"):
        found.append("the image runs as root")
    if any(step.word == "ENTRYPOINT" for step in last):
        found.append("an ENTRYPOINT would swallow the commands of `ray up` and KubeRay")
    if any(step.word == "RUN" and re.search(r"\b(gcc|build-essential|-dev)\b", step.rest) for step in last):
        found.append("the image carries a compiler")
    if not any(step.word == "ENV" and "RAY_AUTH_MODE=token" in step.rest for step in last):
        found.append("Ray would start without asking for a token")
    return found


def _secrets(text: str, place: str) -> list[str]:
    return [
        f"{place}{number}: this looks like a secret"
        for number, line in enumerate(text.splitlines(), 1)
        if SECRET.search(line)
    ]
