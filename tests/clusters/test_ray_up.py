"""The file for `ray up`: rendered from outputs, accepted by Ray and by EC2's own model, and refused with a planted mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from planting import Mistake, names
from ray_cluster_file import complaints, ec2, ec2_model

REPOSITORY = Path(__file__).parents[2]
FILE = "aws/ray-cluster.yaml"

MISTAKES = [
    Mistake("a wrong key of Ray", FILE, "idle_timeout_minutes:", "idle_minutes:", "Ray:"),
    Mistake("a wrong type", FILE, "max_workers: 8", "max_workers: many", "Ray:"),
    Mistake("no such head", FILE, "head_node_type: head", "head_node_type: boss", "Ray:"),
    Mistake(
        "a resource that is no number", FILE, "resources: {CPU: 4, GPU: 1}", "resources: {CPU: 4, GPU: one}", "Ray:"
    ),
    Mistake("a wrong field of EC2", FILE, "InstanceType: m7i.large", "InstanceTyp: m7i.large", "InstanceTyp"),
    Mistake(
        "a wrong type of EC2",
        FILE,
        "SecurityGroupIds: [sg-0123456789abcdef0]",
        "SecurityGroupIds: sg-1",
        "SecurityGroupIds",
    ),
    Mistake(
        "a deep wrong field of EC2",
        FILE,
        "InstanceInterruptionBehavior",
        "InterruptionBehavior",
        "InterruptionBehavior",
    ),
    Mistake("no subnets", FILE, "SubnetIds", "Subnets", "SubnetIds is missing"),
    Mistake("public addresses", FILE, "use_internal_ips: true", "use_internal_ips: false", "public addresses"),
    Mistake("disks kept", FILE, "cache_stopped_nodes: false", "cache_stopped_nodes: true", "disks billed"),
    Mistake("no token", FILE, "EQR_TOKEN_PARAMETER=", "EQR_TOKEN=", "the head would start without a token"),
    Mistake("old metadata", FILE, '"HttpTokens": "required"', '"HttpTokens": "optional"', "metadata without a token"),
    Mistake(
        "workers that stay",
        FILE,
        "min_workers: 0\n    max_workers: 8",
        "min_workers: 1\n    max_workers: 8",
        "billed while idle",
    ),
]


def render(outputs: object, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "outputs.json").write_text(json.dumps(outputs) if not isinstance(outputs, str) else outputs)
    command = [sys.executable, "cluster/render.py", "--outputs", str(folder / "outputs.json"), "--tag", "1"]
    return subprocess.run(
        [*command, "--out", str(folder / "out"), *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )


@pytest.fixture
def tree(rendered: Path, tmp_path: Path) -> Path:
    (tmp_path / "aws").mkdir()
    (tmp_path / FILE).write_text((rendered / FILE).read_text())
    return tmp_path


def test_ray_and_ec2_accept_the_file(tree: Path):
    assert complaints(tree / FILE) == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=names(MISTAKES))
def test_a_mistake_is_refused(mistake: Mistake, tree: Path):
    mistake.plant(tree)
    found = complaints(tree / FILE)
    assert any(mistake.refusal in sentence for sentence in found), found


def test_what_is_rendered_comes_from_the_outputs(tree: Path, outputs: dict):
    config = yaml.safe_load((tree / FILE).read_text())
    ray = outputs["ray"]["value"]
    types = config["available_node_types"]
    assert types["head"]["node_config"]["InstanceType"] == ray["head_type"]
    assert {t["node_config"]["InstanceType"] for name, t in types.items() if name != "head"} == set(ray["worker_types"])
    assert all(t["node_config"]["SubnetIds"] == ray["subnet_ids"] for t in types.values())
    assert all(t["node_config"]["SecurityGroupIds"] == [ray["security_group_id"]] for t in types.values())
    assert config["docker"]["worker_image"] == outputs["registry"]["value"] + ":1-cuda"
    assert outputs["token_parameter"]["value"] in config["head_start_ray_commands"][-1]


def test_every_output_that_a_template_needs_is_missed_by_name(outputs: dict, tmp_path: Path):
    for name in ("region", "registry", "token_parameter"):
        done = render({key: value for key, value in outputs.items() if key != name}, tmp_path)
        assert done.returncode == 2
        assert name in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ("{", "cannot be read"),
        ("{}", "no outputs of terraform/aws"),
        ('{"ray": {"value": null}}', "there is no cluster in these outputs"),
    ],
)
def test_outputs_that_cannot_be_used_are_one_sentence(outputs: str, said: str, tmp_path: Path):
    done = render(outputs, tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_named_network_needs_no_session_manager(outputs: dict, tmp_path: Path):
    outputs = json.loads(json.dumps(outputs))
    outputs["ray"]["value"]["session_manager"] = False
    assert render(outputs, tmp_path).returncode == 0
    config = yaml.safe_load((tmp_path / "out" / FILE).read_text())
    assert "ssh_proxy_command" not in config["auth"]
    assert complaints(tmp_path / "out" / FILE) == []


def test_tls_between_nodes_is_one_option(outputs: dict, tmp_path: Path):
    assert render(outputs, tmp_path, "--tls-parameter", "/eqr-ray/tls").returncode == 0
    config = yaml.safe_load((tmp_path / "out" / FILE).read_text())
    for role in ("head", "worker"):
        assert "EQR_TLS_PARAMETER=/eqr-ray/tls " in config[f"{role}_start_ray_commands"][-1]


def test_ec2_describes_metadata_with_a_field_that_it_refuses_in_a_request():
    """Why the file names MetadataOptions although the launch template has them."""
    described = ec2_model().shape_for("LaunchTemplateInstanceMetadataOptions").members
    assert "State" in described
    assert any("State" in sentence for sentence in ec2({"SubnetIds": ["s"], "MetadataOptions": {"State": "applied"}}))


def test_spot_comes_first_and_on_demand_after_a_refusal(tree: Path):
    from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
    from ray.autoscaler.v2.scheduler import (
        ResourceDemandScheduler,
        ResourceRequestSource,
        SchedulingNode,
        SchedulingNodeStatus,
    )
    from ray.autoscaler.v2.utils import ResourceRequestUtil

    types = yaml.safe_load((tree / FILE).read_text())["available_node_types"]

    def first_choice(refused: set[str]) -> str:
        nodes = [
            SchedulingNode.from_node_config(
                NodeTypeConfig(
                    name=name,
                    min_worker_nodes=0,
                    max_worker_nodes=8,
                    resources=node["resources"],
                    priority=node["priority"],
                ),
                status=SchedulingNodeStatus.TO_LAUNCH,
                node_kind=0,
            )
            for name, node in types.items()
            if name != "head"
        ]
        best, *_ = ResourceDemandScheduler._sched_best_node(
            [ResourceRequestUtil.make({"GPU": 1, "CPU": 4})],
            nodes,
            ResourceRequestSource.PENDING_DEMAND,
            {},
            dict.fromkeys(refused, 0.0),
        )
        return best.node_type

    spot = {name for name in types if name.startswith("spot-")}
    assert first_choice(set()) == "spot-g6.xlarge"
    assert first_choice({"spot-g6.xlarge"}) == "spot-g5.xlarge"
    assert first_choice(spot) == "on-demand-g6.xlarge"


def test_ray_fills_a_node_from_its_launch_template_and_ec2_takes_the_whole(tree: Path, monkeypatch: pytest.MonkeyPatch):
    """What the file leaves to the template comes from there when `ray up` asks EC2 for it, here a simulated one."""
    moto = pytest.importorskip("moto", reason="no moto in this environment")
    boto3 = pytest.importorskip("boto3")
    from ray.autoscaler._private.aws.config import _configure_from_launch_template

    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    config = yaml.safe_load((tree / FILE).read_text())
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True, "VolumeType": "gp3", "VolumeSize": 80}}
    template = {
        "ImageId": "ami-0123456789abcdef0",
        "KeyName": "eqr-ray",
        "IamInstanceProfile": {"Arn": "arn:aws:iam::123456789012:instance-profile/eqr-ray-head"},
        "BlockDeviceMappings": [disk],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Project", "Value": "eqr-ray"}]}],
    }
    with moto.mock_aws():
        client = boto3.client("ec2", region_name=config["provider"]["region"])
        made = client.create_launch_template(LaunchTemplateName="eqr-ray-head", LaunchTemplateData=template)
        head = config["available_node_types"]["head"]
        head["node_config"]["LaunchTemplate"]["LaunchTemplateId"] = made["LaunchTemplate"]["LaunchTemplateId"]
        config["available_node_types"] = {"head": head}
        filled = _configure_from_launch_template(config)["available_node_types"]["head"]["node_config"]
    assert filled["IamInstanceProfile"] == template["IamInstanceProfile"]
    assert filled["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
    assert filled["MetadataOptions"]["HttpTokens"] == "required"
    assert {"ImageId", "KeyName"} <= filled.keys()
    assert ec2(filled) == []
