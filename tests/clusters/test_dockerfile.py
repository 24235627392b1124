"""The Dockerfile, read without a daemon: it keeps its rules, and breaks them with a planted mistake."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dockerfile_rules import complaints, hadolint, steps
from planting import Mistake, names

REPOSITORY = Path(__file__).parents[2]
FILE = "cluster/Dockerfile"

MISTAKES = [
    Mistake("a base without a version", FILE, "python:3.11.13-slim-bookworm", "python:latest", "not pinned"),
    Mistake("root", FILE, "USER 1000:1000", "USER root", "runs as root"),
    Mistake("no user", FILE, "USER 1000:1000", "", "runs as root"),
    Mistake("everything copied", FILE, "COPY eqr_ray eqr_ray", "COPY . .", "takes the whole folder"),
    Mistake("a file that is not there", FILE, "COPY jobs ", "COPY job ", "job does not exist"),
    Mistake("a file that is kept out", ".dockerignore", "!configs\n", "", "keeps configs out"),
    Mistake("an open .dockerignore", ".dockerignore", "*\n!pyproject", "!pyproject", "does not start from nothing"),
    Mistake("a package without pins", FILE, "-c constraints.txt -r", "-r", "without pins"),
    Mistake("pip's cache", FILE, "PIP_NO_CACHE_DIR=1 ", "", "pip keeps its cache"),
    Mistake("an entry point", FILE, 'CMD ["bash"]', 'ENTRYPOINT ["eqr-ray"]', "ENTRYPOINT"),
    Mistake("an open Ray", FILE, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled", "without asking for a token"),
    Mistake(
        "a secret that is copied", "cluster/tls.sh", "set -euo", "TOKEN=0123456789abcdef0123\nset -euo", "tls.sh, line"
    ),
    Mistake("a secret", FILE, "PYTHONUNBUFFERED=1", "RAY_AUTH_TOKEN=0123456789abcdef0123", "looks like a secret"),
    Mistake(
        "a script from the net",
        FILE,
        "RUN python -m venv /opt/venv",
        "RUN curl -s https://x.example | sh",
        "straight into a shell",
    ),
]


OF_HADOLINT = [
    Mistake("apt's recommendations", FILE, "--no-install-recommends ", "", "DL3015"),
    Mistake("apt's lists", FILE, "&& rm -rf /var/lib/apt/lists/*", "&& true", "DL3009"),
    Mistake("a download", FILE, "COPY jobs ", "ADD jobs ", "DL3020"),
    Mistake("sudo", FILE, "RUN apt-get update", "RUN sudo apt-get update", "DL3004"),
    Mistake("a folder that moves", FILE, "WORKDIR /src", "WORKDIR src", "DL3000"),
    Mistake("a shell that goes on", FILE, "python -m venv /opt/venv", "cat /etc/os-release | head -1 $NAME", "SC2086"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", ".dockerignore"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for name in ("jobs", "configs", "cluster"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    (tmp_path / "eqr_ray").mkdir()
    return tmp_path


def test_the_dockerfile_keeps_its_rules(tree: Path):
    assert complaints(tree) == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=names(MISTAKES))
def test_a_mistake_is_refused(mistake: Mistake, tree: Path):
    mistake.plant(tree)
    found = complaints(tree)
    assert any(mistake.refusal in sentence for sentence in found), found


@pytest.mark.skipif(hadolint() is None, reason="no hadolint on this machine")
@pytest.mark.parametrize("mistake", OF_HADOLINT, ids=names(OF_HADOLINT))
def test_hadolint_refuses(mistake: Mistake, tree: Path):
    mistake.plant(tree)
    found = complaints(tree)
    assert any(mistake.refusal in sentence for sentence in found), found


def test_the_whole_image_holds_no_secret():
    assert complaints(REPOSITORY) == []


def test_what_the_image_installs_first_is_what_the_package_needs():
    done = subprocess.run(
        [sys.executable, "cluster/requirements.py", "pyproject.toml"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        done.stdout.splitlines()
        == tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    )


def test_torch_and_ray_are_pinned_for_the_image():
    pins = (REPOSITORY / "constraints.txt").read_text().splitlines()
    for package in ("torch==", "ray==", "numpy=="):
        assert sum(line.startswith(package) for line in pins) == 1


def test_scripts_that_the_image_runs_are_in_it():
    copied = " ".join(step.rest for step in steps((REPOSITORY / FILE).read_text()) if step.word == "COPY")
    for script in ("start-node.sh", "tls.sh", "fetch_parameter.py"):
        assert f"cluster/{script}" in copied
