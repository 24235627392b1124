"""cluster/aws.sh with a cloud of stand-ins: programs of the real names that write down how they were called. render.py is the real one."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = ("terraform", "aws", "docker", "ray", "kubectl", "helm", "session-manager-plugin")
STAND_IN = """#!/bin/bash
name=${0##*/}
printf '%s\\n' "$name $*" >> "$CALLS"
case "$name $*" in
  "terraform "*" output -json") cat "$OUTPUTS" ;;
  "terraform "*" output -raw "*) cat "$OUTPUTS.${@: -1}" ;;
  "terraform "*" apply"*) [[ -z ${REFUSED:-} ]] ;;
  "aws ecr describe-images"*) [[ -n ${PUSHED:-} ]] ;;
  "aws ssm get-parameter"*) echo 0123456789abcdef0123456789abcdef ;;
  "docker login"*) cat > /dev/null ;;
esac
"""


class Trial:
    """A copy of what the script works with, and the programs it finds."""

    def __init__(self, folder: Path, outputs: dict) -> None:
        self.folder = folder
        self.calls_file = folder / "calls"
        for name in ("cluster", "terraform"):
            shutil.copytree(
                REPOSITORY / name, folder / "tree" / name, ignore=shutil.ignore_patterns(".terraform*", "*.tfvars")
            )
        self.tfvars.write_text('region = "us-east-1"\n')
        (folder / "bin").mkdir()
        for name in PROGRAMS:
            self.program(name).write_text(STAND_IN)
            self.program(name).chmod(0o755)
        # What the script takes from the system, and a Python that has jinja2.
        for name in ("bash", "cat", "dirname", "git", "grep", "install", "mkdir", "openssl", "rm"):
            self.program(name).symlink_to(shutil.which(name) or pytest.skip(f"no {name} on this machine"))
        self.program("python").write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
        self.program("python").chmod(0o755)
        self.outputs = folder / "outputs.json"
        self.outputs.write_text(json.dumps(outputs))
        for name, output in outputs.items():
            (folder / f"outputs.json.{name}").write_text(str(output["value"]))

    @property
    def tfvars(self) -> Path:
        return self.folder / "tree/terraform/aws/terraform.tfvars"

    def program(self, name: str) -> Path:
        return self.folder / "bin" / name

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        self.calls_file.write_text("")
        given = {
            "PATH": str(self.folder / "bin"),
            "HOME": str(self.folder),
            "CALLS": str(self.calls_file),
            "OUTPUTS": str(self.outputs),
        }
        script = self.folder / "tree/cluster/aws.sh"
        return subprocess.run(
            ["bash", script, *arguments], env=given | settings, capture_output=True, text=True, timeout=120
        )

    def calls(self, *beginnings: str) -> list[str]:
        lines = self.calls_file.read_text().splitlines()
        return [line for line in lines if not beginnings or line.startswith(beginnings)]


@pytest.fixture
def trial(tmp_path: Path, outputs: dict) -> Trial:
    return Trial(tmp_path, outputs)


def test_up_goes_from_variables_to_both_clusters_in_order(trial: Trial):
    done = trial.run("up", "7")
    assert done.returncode == 0, done.stderr
    acts = trial.calls(
        "terraform -chdir=terraform/aws init",
        "terraform -chdir=terraform/aws apply",
        "docker",
        "ray",
        "helm",
        "kubectl",
    )
    assert [" ".join(line.split()[:2]) for line in acts] == [
        "terraform -chdir=terraform/aws", "terraform -chdir=terraform/aws", *["docker login", "docker build", "docker push"] * 2,
        "ray up", "helm repo", "helm upgrade", "kubectl apply",
    ]  # fmt: skip
    assert [line.split()[-1] for line in trial.calls("docker push")] == [
        f"123456789012.dkr.ecr.us-east-1.amazonaws.com/eqr-ray:7-{variant}" for variant in ("cpu", "cuda")
    ]
    used = [word for line in acts for word in line.split() if word.startswith("build/")]
    assert len(used) == 3
    assert all((trial.folder / "tree" / name).is_file() for name in used)


def test_the_token_comes_into_a_file_that_only_its_owner_reads_and_is_never_shown(trial: Trial):
    done = trial.run("up", "7", TF_VAR_ray_token="f" * 64)
    token = trial.folder / "tree/build/cluster/token"
    assert token.read_text().strip() == "0123456789abcdef" * 2
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    said = done.stdout + done.stderr + trial.calls_file.read_text()
    assert token.read_text().strip() not in said
    assert "f" * 64 not in said


def test_what_the_next_commands_need_comes_from_one_file(trial: Trial):
    trial.run("up", "7")
    shell = "source build/cluster/env.sh; echo $BUCKET $REGION $RAY_AUTH_MODE $(cat $RAY_AUTH_TOKEN_PATH)"
    done = subprocess.run(["bash", "-c", shell], cwd=trial.folder / "tree", capture_output=True, text=True)
    assert done.stdout.split() == [
        "eqr-ray-results-123456789012-us-east-1",
        "us-east-1",
        "token",
        "0123456789abcdef" * 2,
    ]


def test_a_second_up_builds_nothing_that_was_pushed(trial: Trial):
    assert trial.run("up", "7", PUSHED="1").returncode == 0
    assert trial.calls("docker") == []
    assert len(trial.calls("ray up")) == 1


def test_nothing_is_built_when_terraform_is_refused(trial: Trial):
    assert trial.run("up", "7", REFUSED="1").returncode != 0
    assert trial.calls("docker", "ray", "kubectl") == []


def test_terraform_asks_unless_told_not_to(trial: Trial):
    trial.run("up", "7")
    assert not any("-auto-approve" in line for line in trial.calls())
    trial.run("up", "7", EQR_YES="1")
    assert any("-auto-approve" in line for line in trial.calls("terraform -chdir=terraform/aws apply"))


def test_what_is_not_asked_for_is_not_started(trial: Trial, outputs: dict):
    trial.outputs.write_text(json.dumps({key: value for key, value in outputs.items() if key != "kubernetes"}))
    assert trial.run("up", "7").returncode == 0
    assert trial.calls("kubectl", "helm", "aws eks") == []
    assert len(trial.calls("ray up")) == 1


@pytest.mark.parametrize(
    ("command", "last"), [("sleep", "apply -var awake=false -var eks=false"), ("destroy", "destroy")]
)
def test_the_clusters_end_before_what_they_stand_on(command: str, last: str, trial: Trial):
    trial.run("up", "7")
    assert trial.run(command).returncode == 0
    *before, terraform = trial.calls()
    assert terraform == f"terraform -chdir=terraform/aws {last}"
    assert before[0].startswith("ray down --yes ")
    assert all(line.startswith("kubectl delete ") for line in before[1:])
    assert len(before) == 3
    # Once more, with nothing there.
    assert trial.run(command).returncode == 0
    assert trial.calls() == [f"terraform -chdir=terraform/aws {last}"]


def test_what_cannot_be_done_is_one_sentence(trial: Trial):
    refusals = {(): "say `aws.sh up [TAG]`", ("down",): "say `aws.sh up [TAG]`", ("up", "a b"): "a tag is of letters"}
    for arguments, said in refusals.items():
        done = trial.run(*arguments)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert said in done.stderr
    done = trial.run("up")
    assert done.returncode == 2
    assert "no commit names" in done.stderr
    trial.program("docker").unlink()
    assert "docker is not installed" in trial.run("up", "7").stderr
    trial.tfvars.unlink()
    assert "terraform.tfvars is missing" in trial.run("up", "7").stderr
    assert trial.calls() == []


def test_the_page_shows_the_script_that_is_there():
    assert os.access(REPOSITORY / "cluster/aws.sh", os.X_OK)
    page = (REPOSITORY / "docs/clusters.md").read_text()
    for command in ("up", "sleep", "destroy"):
        assert f"cluster/aws.sh {command}" in page
