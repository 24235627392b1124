"""The Terraform tree: formatted, valid against the provider's full schema, tested on a mocked AWS, under the policies; and each check fails
on a planted mistake. Skipped in one line where there is no Terraform."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from planting import Mistake, names
from policies import breaches
from terraform_tool import REPOSITORY, Outcome, Terraform, missing

pytestmark = [pytest.mark.skipif(missing() is not None, reason=missing() or ""), pytest.mark.timeout(900)]

TOKEN = "0123456789abcdef0123456789abcdef"
"""The token that stack.tftest.hcl gives."""

INVALID = [
    Mistake(
        "a wrong field",
        "modules/ray-ec2/main.tf",
        "key_name               = aws",
        "key_nam = aws",
        '"key_nam" is not expected here',
    ),
    Mistake(
        "a missing variable", "modules/network/nat.tf", "var.zones[0]", "var.zone", 'variable with the name "zone"'
    ),
    Mistake(
        "a wrong type",
        "modules/results/main.tf",
        "days_after_initiation = 7",
        'days_after_initiation = "week"',
        "number is required",
    ),
    Mistake(
        "a missing argument", "aws/main.tf", "  emails      = var.budget_emails\n", "", 'argument "emails" is required'
    ),
    Mistake("a wrong word", "modules/registry/main.tf", '"IMMUTABLE"', '"FROZEN"', "image_tag_mutability"),
    Mistake(
        "a token in the state",
        "modules/identity/token.tf",
        "value_wo         = var.token",
        "value = var.token",
        "Ephemeral value",
    ),
]

UNSAFE = [
    Mistake(
        "an open security group", "modules/ray-ec2/firewall.tf", "referenced_security_group_id = aws_security_group.nodes.id",
        'cidr_ipv4 = "0.0.0.0/0"', "among_nodes lets in 0.0.0.0/0",
    ),
    Mistake("an unencrypted disk", "modules/ray-ec2/main.tf", "encrypted             = true", "encrypted = false", "is not encrypted"),
    Mistake("old metadata", "modules/ray-ec2/main.tf", '= "required"', '= "optional"', "nodes must use IMDSv2 with a hop limit of 1"),
    Mistake("metadata for containers", "modules/ray-ec2/main.tf", "hop_limit = 1", "hop_limit = 2", "metadata without a token or beyond"),
    Mistake("an IAM action with a star", "modules/ray-ec2/launching.tf", '["ec2:RunInstances"]', '["ec2:*"]', "action ec2:* has a star"),
    Mistake("an IAM resource with a star", "modules/identity/main.tf", "[var.bucket_arn]", '["*"]', "ListResults: resource * has a star"),
    Mistake("a role for anybody", "modules/eks/roles.tf", '"eks.amazonaws.com"', '"*"', "may be taken by anybody"),
    Mistake(
        "a public bucket", "modules/results/main.tf", "block_public_acls       = true", "block_public_acls = false",
        "refuse public access",
    ),
    Mistake("a bucket without versions", "modules/results/main.tf", '"Enabled"', '"Suspended"', "must keep versions"),
    Mistake("SSH from anywhere", "modules/ray-ec2/variables.tf", ">= 24", ">= 0", "var.ssh_cidrs, was expected to report an error"),
    Mistake("billed while asleep", "modules/network/nat.tf", "var.awake ? 1 : 0", "1", "asleep, the network must cost nothing"),
    Mistake("images that change", "modules/registry/main.tf", '"IMMUTABLE"', '"MUTABLE"', "a tag must keep its meaning"),
    Mistake(
        "a public Kubernetes API", "modules/eks/main.tf", "? var.api_cidrs : null", '? ["0.0.0.0/0"] : null',
        "reach the Kubernetes API",
    ),
    Mistake(
        "unmarked nodes", "modules/ray-ec2/main.tf", 'toset(["instance", "volume"])', 'toset(["instance"])',
        "does not tag what it starts",
    ),
    Mistake(
        "an unmarked machine image", "modules/ray-ec2/warm_image.tf", "ami_tags = var.tags", "ami_tags = {}",
        "without the stack's tag",
    ),
    Mistake(
        "a plain machine image", "modules/ray-ec2/warm_image.tf", "encrypted             = true", "encrypted = false",
        'warm["image"] has a disk',
    ),
    Mistake("logs for ever", "modules/ray-ec2/warm_image.tf", "retention_in_days = 30", "retention_in_days = 0", "kept for ever"),
    Mistake("logs left behind", "modules/eks/main.tf", "/aws/eks/${var.name}/cluster", "/aws/eks/${var.name}", "leave it behind"),
]  # fmt: skip


@pytest.fixture(scope="module")
def result(terraform: Terraform) -> Outcome:
    return terraform.test()


@pytest.fixture(scope="module")
def invalid(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What `validate` says to a tree that has all the mistakes; one run, because a run takes seconds."""
    tree = terraform.copy(tmp_path_factory.mktemp("invalid") / "tree")
    for mistake in INVALID:
        mistake.plant(tree.tree)
    return tree.problems()


@pytest.fixture(scope="module")
def unsafe(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What tests and policies say to a valid tree that has all the unsafe mistakes."""
    tree = terraform.copy(tmp_path_factory.mktemp("unsafe") / "tree")
    for mistake in UNSAFE:
        mistake.plant(tree.tree)
    result = tree.test("policies", "stack")
    assert not result.passed
    return result.said + breaches(result.states["everything"], TOKEN)


def test_the_tree_is_formatted():
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-list=true"],
        cwd=REPOSITORY / "terraform",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"run `terraform fmt -recursive` for {done.stdout}"


def test_bad_format_is_found(tmp_path: Path):
    (tmp_path / "bad.tf").write_text('variable   "x" {}\n')
    assert subprocess.run(["terraform", "fmt", "-check", "."], cwd=tmp_path, capture_output=True).returncode != 0


def test_every_terraform_test_passes(result: Outcome):
    assert result.passed, result.said
    assert len(result.runs) >= 10
    assert set(result.runs.values()) == {"pass"}


def test_the_stack_keeps_every_policy(result: Outcome):
    assert breaches(result.states["everything"], TOKEN) == []


def test_the_stack_sleeps_for_free(result: Outcome):
    plan = result.states["nothing_is_billed_by_the_hour_while_asleep"]
    made = {change["type"] for change in plan["resource_changes"] if "create" in change["change"]["actions"]}
    assert {"aws_s3_bucket", "aws_ecr_repository", "aws_iam_role"} <= made
    assert made.isdisjoint({"aws_nat_gateway", "aws_eip", "aws_eks_cluster", "aws_kms_key", "aws_instance", "aws_lb"})


@pytest.mark.parametrize("mistake", INVALID, ids=names(INVALID))
def test_validate_refuses(mistake: Mistake, invalid: list[str]):
    assert any(mistake.refusal in problem for problem in invalid), invalid


@pytest.mark.parametrize("mistake", UNSAFE, ids=names(UNSAFE))
def test_policies_refuse(mistake: Mistake, unsafe: list[str]):
    assert any(mistake.refusal in sentence for sentence in unsafe), unsafe


def test_the_outputs_that_the_other_tests_render_are_those_of_the_stack(result: Outcome):
    kept = json.loads((Path(__file__).parent / "outputs.json").read_text())
    made = result.states["everything"]["outputs"]
    assert _shape(made) == _shape(kept)


def _shape(value: object) -> object:
    """Return keys and types without the values, which a mocked AWS makes up."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items() if key not in ("type", "sensitive")}
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return type(value).__name__


def test_the_example_variables_exist(terraform: Terraform, tmp_path: Path):
    given = set(
        re.findall(r"^#? ?(\w+) += ", (REPOSITORY / "terraform/aws/terraform.tfvars.example").read_text(), re.MULTILINE)
    )
    known = set(re.findall(r'^variable "(\w+)"', (terraform.tree / "aws/variables.tf").read_text(), re.MULTILINE))
    assert given
    assert given <= known


def test_the_backend_example_is_valid(terraform: Terraform, tmp_path: Path):
    (tmp_path / "aws").mkdir()
    shutil.copy(REPOSITORY / "terraform/aws/backend.tf.example", tmp_path / "aws/backend.tf")
    assert Terraform(tmp_path, tmp_path / "data").problems() == []
    text = (tmp_path / "aws/backend.tf").read_text()
    (tmp_path / "aws/backend.tf").write_text(text.replace("encrypt ", "encrypted "))
    # A backend's fields are checked when it is initialised; the typo is found before S3 would be asked.
    done = Terraform(tmp_path, tmp_path / "data").run("init", "-input=false", "-no-color")
    assert "encrypted" in done.stderr
