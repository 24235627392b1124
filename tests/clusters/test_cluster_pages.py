"""docs/clusters.md and docs/security.md, read as a stranger does: every command, option, file, variable and figure in them exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

REPOSITORY = Path(__file__).parents[2]
PAGES = ["docs/clusters.md", "docs/security.md"]
FOREIGN = {
    *(
        "aws",
        "docker",
        "kubectl",
        "helm",
        "terraform",
        "ssh-keygen",
        "install",
        "mkdir",
        "cp",
        "rm",
        "source",
        "export",
        "env",
    ),
    *("python", "ray", "eqr-ray"),
}
"""The programs that a reader needs; the page says which of them are to be installed."""


def commands(page: str) -> list[str]:
    text = (REPOSITORY / page).read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [line for line in lines if line.strip()]


ALL = [line for page in PAGES for line in commands(page)]


def words(line: str) -> list[str]:
    return shlex.split(line)


def test_the_pages_have_commands():
    assert len(ALL) > 40


def unknown_programs(lines: list[str]) -> list[str]:
    """Lines whose first word is neither a program of the reader's nor a script of ours."""
    found = []
    for line in lines:
        bare = re.sub(r"^\(umask 077; |\)$", "", line)
        program = re.sub(r"^(\w+=\S+ )+", "", bare).split()[0]
        if program not in FOREIGN and not (REPOSITORY / program).is_file():
            found.append(line)
    return found


def test_every_program_is_known():
    assert unknown_programs(ALL) == []
    assert unknown_programs(["cluster/start.sh head"]) != []


@pytest.mark.parametrize("line", [line for line in ALL if line.startswith("python cluster/")])
def test_options_of_our_scripts_exist(line: str):
    _, script, *rest = words(line)
    sub = [rest[0]] if script.endswith("cost.py") else []
    done = subprocess.run([sys.executable, script, *sub, "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in rest:
        if word.startswith("--"):
            assert word in done.stdout, f"{line}: {script} has no {word}"
    if script.endswith("local.py"):
        assert rest[0] in done.stdout


@pytest.mark.parametrize(
    "line", [line for line in ALL if re.search(r"(^|-- |env .* )ray ", line) and "ray up" not in line]
)
def test_commands_of_ray_exist(line: str):
    from ray.scripts.scripts import cli

    given = words(line[line.index("ray ") :])[1:]
    command, at = cli, 0
    while hasattr(command, "commands"):
        command, at = command.commands[given[at]], at + 1
    options = {name for parameter in command.params for name in parameter.opts}
    ours = given[at : given.index("--")] if "--" in given else given[at:]
    assert {word for word in ours if word.startswith("--")} <= options


@pytest.mark.parametrize("line", [line for line in ALL if re.match(r"(env (-u \w+ )*)?eqr-ray ", line)])
def test_our_own_commands_are_taken_with_their_options(line: str):
    from eqr_ray.cli import root

    name, *given = words(line[line.index("eqr-ray ") :])[1:]
    command = root.get_command(click.Context(root), name)
    assert command is not None, line
    command.make_context(name, given)


def test_ray_up_takes_the_option_that_the_page_gives():
    from ray.scripts.scripts import up

    assert "--yes" in CliRunner().invoke(up, ["--help"]).output


def test_configurations_that_are_submitted_exist():
    named = {name for line in ALL for name in re.findall(r"--config (\S+)", line)}
    assert len(named) >= 2
    for name in named:
        assert (REPOSITORY / name).is_file(), name


def test_files_that_render_writes_are_those_that_are_used(rendered: Path):
    lines = [*ALL, (REPOSITORY / "cluster/aws.sh").read_text()]
    used = {name for line in lines for name in re.findall(r"build/cluster/([\w./-]+\.yaml)", line)}
    written = {file.relative_to(rendered).as_posix() for file in rendered.rglob("*.yaml")}
    assert used == written


def test_variables_and_outputs_of_terraform_exist():
    variables = set(
        re.findall(r'^variable "(\w+)"', (REPOSITORY / "terraform/aws/variables.tf").read_text(), re.MULTILINE)
    )
    outputs = set(re.findall(r'^output "(\w+)"', (REPOSITORY / "terraform/aws/outputs.tf").read_text(), re.MULTILINE))
    text = "\n".join(ALL)
    script = (REPOSITORY / "cluster/aws.sh").read_text()
    given = set(re.findall(r"-var (\w+)=", text + script)) | set(re.findall(r"TF_VAR_(\w+)=", text + script))
    read = set(re.findall(r"output -raw (\w+)|\$\(output (\w+)\)", text + script))
    read = {name for names in read for name in names if name}
    assert given
    assert read
    assert given <= variables
    assert read <= outputs


def test_names_in_kubernetes_are_those_of_the_manifests(rendered: Path):
    manifests = "\n".join(file.read_text() for file in (rendered / "kuberay").glob("*.yaml"))
    for name in ("eqr-ray-evaluate", "eqr-ray-serve-tokens"):
        assert f"name: {name}" in manifests or f"secretName: {name}" in manifests
    for line in ALL:
        if "kubectl -n" in line:
            assert "kubectl -n eqr-ray " in line


def test_links_lead_somewhere():
    for page in PAGES:
        text = (REPOSITORY / page).read_text()
        headings = {
            re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("#"):
                assert target[1:] in headings, f"{page}: {target}"
            elif "://" not in target:
                assert (REPOSITORY / page).parent.joinpath(target).is_file(), f"{page}: {target}"


def test_figures_of_the_page_are_those_of_the_script():
    page = (REPOSITORY / "docs/clusters.md").read_text()
    idle = subprocess.run(
        [sys.executable, "cluster/cost.py", "idle"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    figures = re.findall(r"\$ *(\d+\.\d+) an hour", idle.stdout)
    assert len(figures) == 5
    for figure in figures:
        assert f"${figure}" in page
    lines = [line for line in commands("docs/clusters.md") if "--gpu-hours" in line]
    assert len(lines) == 2
    for line in lines:
        run = subprocess.run(
            [sys.executable, *words(line)[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        found = re.findall(r"\$\d+\.\d+", run.stdout)
        assert len(found) == 2
        for figure in found:
            assert figure in page


def test_a_sample_run_prices_a_whole_one(tmp_path: Path):
    (tmp_path / "summary.json").write_text('{"puzzles": 2000, "wall_s": 360.0, "replicas": 2}')
    command = [
        sys.executable,
        "cluster/cost.py",
        "run",
        "--puzzles",
        "200000",
        "--summary",
        str(tmp_path / "summary.json"),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "20.0 GPU-hours" in done.stdout
    (tmp_path / "summary.json").write_text('{"puzzles": 0, "wall_s": 1.0, "replicas": 2}')
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
