"""Terraform as the tests run it: offline, on a copy of the tree, with the provider that lies on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PROVIDER = "registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws*"
PLACES = ("/opt", "/usr/share", "/usr/local/share", "~/.terraform.d", "~")
TIME_LIMIT_S = 800
"""On a machine that many share, a test of a minute has taken three."""


def plugin_folder() -> Path | None:
    """Return the folder that `terraform init -plugin-dir` wants, if the AWS provider lies anywhere usual."""
    given = os.environ.get("TF_PLUGIN_DIR")
    for place in [given] if given else PLACES:
        root = Path(place).expanduser()
        for found in [*root.glob(PROVIDER), *root.glob("*/" + PROVIDER)]:
            return found.parents[5]
    return None


def missing() -> str | None:
    """Return why Terraform cannot be run here, in one line; None if it can."""
    if shutil.which("terraform") is None:
        return "no terraform on this machine"
    if plugin_folder() is None:
        return "terraform is here, its AWS provider is not (TF_PLUGIN_DIR names a folder that holds one)"
    return None


@dataclass(frozen=True, slots=True)
class Terraform:
    """One copy of the tree, and where Terraform keeps its own files for all copies."""

    tree: Path
    data: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a terraform command in the root `aws`."""
        settings = os.environ | {
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_DATA_DIR": str(self.data),
            "TF_IN_AUTOMATION": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.tree / "aws",
            env=settings,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
        )

    def problems(self) -> list[str]:
        """Return what `terraform validate` says against the tree."""
        answer = json.loads(self.run("validate", "-json").stdout)
        return [f"{item['summary']}: {item['detail']}" for item in answer["diagnostics"] if item["severity"] == "error"]

    def test(self, *files: str) -> Outcome:
        """Run every `terraform test` of the tree, or those of some files."""
        done = self.run("test", "-json", "-verbose", *(f"-filter=tests/{name}.tftest.hcl" for name in files))
        states, said, runs = {}, [], {}
        for message in _messages(done.stdout):
            if message["type"] in ("test_state", "test_plan"):
                states[message["@testrun"]] = message[message["type"]]
            elif message["type"] == "diagnostic":
                said.append(f"{message['diagnostic']['summary']}: {message['diagnostic'].get('detail', '')}")
            elif message["type"] == "test_run" and message["test_run"].get("progress") == "complete":
                runs[message["test_run"]["run"]] = message["test_run"]["status"]
        return Outcome(done.returncode == 0, runs, said, states)

    def copy(self, to: Path) -> Terraform:
        """Return another copy of the tree, ready to run."""
        shutil.copytree(self.tree, to)
        return Terraform(to, self.data)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a `terraform test` ended with."""

    passed: bool
    runs: dict[str, str]
    """Name of a run -> pass, fail, error or skip."""
    said: list[str]
    states: dict[str, dict[str, object]]
    """Name of a run -> the state or plan that it made."""


def _messages(output: str) -> Iterator[dict]:
    for line in output.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def prepare(folder: Path) -> Terraform:
    """Copy the repository's tree to `folder` and initialise it."""
    shutil.copytree(
        REPOSITORY / "terraform",
        folder / "tree",
        ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "backend.tf"),
    )
    terraform = Terraform(folder / "tree", folder / "data")
    done = terraform.run("init", "-backend=false", "-input=false", "-no-color", f"-plugin-dir={plugin_folder()}")
    assert done.returncode == 0, done.stderr
    return terraform
