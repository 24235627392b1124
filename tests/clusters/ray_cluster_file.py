"""What Ray and EC2 would say of a file for `ray up`, without asking a cloud."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import botocore.session
import yaml
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

SUBNETS = "SubnetIds"
"""Ray's own word for the subnets it tries one after the other; EC2 knows `SubnetId`."""


def complaints(path: Path) -> list[str]:
    """Return what Ray's schema, Ray's checks, EC2's model of RunInstances and our own promises say against the file."""
    config = yaml.safe_load(path.read_text())
    found = _ray(config)
    for name, node_type in config.get("available_node_types", {}).items():
        found += [f"{name}: {sentence}" for sentence in ec2(node_type.get("node_config", {}))]
    return found + _promises(config)


def _ray(config: dict) -> list[str]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        validate_config(prepare_config(copy.deepcopy(config)))
    except Exception as problem:  # Ray raises assertion, key, value and schema errors alike.
        return [f"Ray: {' '.join(str(problem).split())[:400] or type(problem).__name__}"]
    return []


@functools.cache
def ec2_model() -> ServiceModel:
    """Return botocore's model of EC2, which takes a second to load."""
    return botocore.session.get_session().get_service_model("ec2")


def ec2(node_config: dict) -> list[str]:
    """Return what EC2's RunInstances has against a node's configuration, as Ray sends it."""
    request = {key: value for key, value in node_config.items() if key != SUBNETS} | {"MinCount": 1, "MaxCount": 1}
    if not node_config.get(SUBNETS):
        return ["SubnetIds is missing: Ray would choose a public subnet"]
    report = ParamValidator().validate(request, ec2_model().operation_model("RunInstances").input_shape)
    return [f"EC2: {report.generate_report()}"] if report.has_errors() else []


def _promises(config: dict) -> list[str]:
    found = []
    if not config.get("provider", {}).get("use_internal_ips"):
        found.append("nodes would get public addresses")
    if config.get("provider", {}).get("cache_stopped_nodes", True):
        found.append("stopped nodes would be kept, and their disks billed")
    for role in ("head", "worker"):
        commands = config.get(f"{role}_start_ray_commands", [])
        if not any("EQR_TOKEN_PARAMETER=" in line and f"start-node.sh {role}" in line for line in commands):
            found.append(f"the {role} would start without a token")
    for name, node_type in config.get("available_node_types", {}).items():
        if node_type.get("node_config", {}).get("MetadataOptions", {}).get("HttpTokens") != "required":
            found.append(f"{name} would answer metadata without a token")
        if node_type.get("min_workers", 0):
            found.append(f"{name} would be billed while idle")
    return found
