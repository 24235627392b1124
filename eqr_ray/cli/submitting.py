"""From a configuration on this machine to a command line that needs none: what `eqr-ray submit` sends to a cluster.

Invariants, asserted in tests/unit/runs/test_job.py: the command line, read back, is the configuration; equal work has an equal name, and
whether it is resumed makes no difference to that; no file of this machine is named that the cluster cannot be expected to have.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import BaseModel

from eqr_ray.config import load_config
from eqr_ray.config.reading import load_into, parse_yaml
from eqr_ray.config.trace import load_trace_config
from eqr_ray.config.tune import load_tune_config
from eqr_ray.types import InputError

ENV_PREFIXES = ("AWS_", "EQR_")
ENV_OF_THIS_MACHINE = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)  # fmt: skip
"""Variables that point to files and services of this machine."""
PATHS = ("puzzles", "out", "trace", "confirm", "checkpoint", "path", "start_from")
"""Keys whose values may be paths."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def settings_of(job: str, config_file: str | None, overrides: Sequence[str], out: str | None) -> dict[str, object]:
    """Return the checked configuration of a job, without what is as by default; InputError, one sentence."""
    config: BaseModel
    if job == "evaluate":
        config = load_config(config_file, overrides, {"out": out})
    elif job == "trace":
        config = load_trace_config(config_file, overrides, {"out": out})
    elif job == "tune":
        config = load_tune_config(config_file, overrides, {"out": out})
    else:
        from eqr_ray.training.settings import TrainSettings

        if out is None:
            raise InputError("a training run needs a folder; give it with --out")
        config = load_into(TrainSettings, config_file, overrides)
    return config.model_dump(mode="json", exclude_defaults=True)


def with_full_paths(values: Mapping[str, object]) -> dict[str, object]:
    """Return settings in which local paths start at the root: a job starts in another folder than its submitter."""

    def full(key: str, value: object) -> object:
        if isinstance(value, dict):
            return {name: full(name, own) for name, own in value.items()}
        if isinstance(value, list):
            return [full(key, own) for own in value]
        if key not in PATHS or not isinstance(value, str) or "://" in value:
            return value
        # A checkpoint may be a bundled name, which is no path.
        is_name = key in ("checkpoint", "start_from") and not os.path.exists(value)
        return value if is_name else os.path.abspath(value)

    return {key: full(key, value) for key, value in values.items()}


def set_options(values: Mapping[str, object]) -> list[str]:
    """Return the `--set` options that give these settings."""
    options: list[str] = []
    for key, value in sorted(_leaves(values)):
        options += ["--set", f"{key}={_plain(value)}"]
    return options


def name_of(job: str, values: Mapping[str, object], extra: Sequence[str] = ()) -> str:
    """Return the name of the work: the same whenever the same is asked for."""
    lasting = {key: value for key, value in values.items() if key != "resume"}
    identity = json.dumps([job, lasting, list(extra)], sort_keys=True)
    return f"{job}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"


def entry_point(address: str, job: str, options: Sequence[str]) -> str:
    """Return the shell command of a job; on this machine it runs with this Python, elsewhere with the cluster's."""
    python = "python"
    if urlsplit(address).hostname in LOOPBACK:
        # A tunnel looks like this machine, and its far end has another Python.
        python = f'"$(command -v {shlex.quote(sys.executable)} || command -v python || command -v python3)"'
    return f"{python} -m eqr_ray {job} {shlex.join(options)}"


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a job gets from its submitter."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(ENV_PREFIXES) and name not in ENV_OF_THIS_MACHINE
    }


def git_revision(folder: str) -> str:
    """Return the commit of a working copy, `-dirty` after it where something is changed; empty where it is none."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("-dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: str, *arguments: str) -> str:
    command = ["git", "-C", folder, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _leaves(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found += _leaves(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, value))
    return found


def _plain(value: object) -> str:
    """Return a value as YAML in one line, as plain as can be read back."""
    if isinstance(value, str):
        try:
            if parse_yaml(value, "") == value:
                return value
        except InputError:
            pass
    return json.dumps(value, ensure_ascii=False)
