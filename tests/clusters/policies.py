"""Rules that the whole stack keeps, whatever module a resource is in; each returns one sentence for every breach.

They read the state that `terraform test` makes of the root with a mocked provider, so a resource added later is under them too.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator

State = dict
WHERE_AWS_DEMANDS_A_STAR = {"LogInToRegistry", "LookAround"}
"""Statements whose actions AWS ties to no resource; each says so in a comment beside it."""


def resources(state: State, kind: str | None = None) -> Iterator[tuple[str, dict]]:
    """Yield (address, values) of every resource, or of one kind."""
    modules = [state["root_module"]]
    while modules:
        module = modules.pop()
        modules += module.get("child_modules", [])
        for resource in module.get("resources", []):
            if resource["mode"] == "managed" and (kind is None or resource["type"] == kind):
                yield resource["address"], resource["values"]


def open_doors(state: State) -> list[str]:
    """Nobody is let in but the group itself and named networks of at most 256 addresses."""
    found = []
    for address, rule in resources(state, "aws_vpc_security_group_ingress_rule"):
        for cidr in filter(None, (rule["cidr_ipv4"], rule["cidr_ipv6"])):
            network = ipaddress.ip_network(cidr)
            if network.num_addresses > 256:
                found.append(f"{address} lets in {cidr}")
    for address, group in resources(state, "aws_security_group"):
        found += [f"{address} has rules inside the group, which no rule here reads" for _ in _inline(group)]
    for address, cluster in resources(state, "aws_eks_cluster"):
        for access in cluster["vpc_config"]:
            wide = [
                cidr for cidr in access["public_access_cidrs"] or () if ipaddress.ip_network(cidr).num_addresses > 256
            ]
            if access["endpoint_public_access"] and (wide or not access["public_access_cidrs"]):
                found.append(f"{address} lets the whole world reach the Kubernetes API")
    return found


def _inline(group: dict) -> Iterator[dict]:
    for rule in group.get("ingress") or ():
        if rule.get("cidr_blocks") or rule.get("ipv6_cidr_blocks"):
            yield rule


def stars(state: State) -> list[str]:
    """Every permission names its actions and its resources; a star stands for names not known yet, under a bound."""
    found = []
    for address, policy in resources(state, "aws_iam_role_policy"):
        for statement in json.loads(policy["policy"])["Statement"]:
            sid = statement.get("Sid", "")
            if set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}:
                found.append(f"{address}, {sid}: NotAction and NotResource allow what nobody wrote down")
            found += [
                f"{address}, {sid}: action {action} has a star"
                for action in _listed(statement["Action"])
                if "*" in action
            ]
            for resource in _listed(statement["Resource"]):
                object_of_a_bucket = resource.startswith("arn:aws:s3:::") and resource.endswith("/*")
                bounded = object_of_a_bucket or ("Condition" in statement and resource != "*")
                if "*" in resource and not bounded and sid not in WHERE_AWS_DEMANDS_A_STAR:
                    found.append(f"{address}, {sid}: resource {resource} has a star without a bound")
    for address, role in resources(state, "aws_iam_role"):
        for statement in json.loads(role["assume_role_policy"])["Statement"]:
            if "*" in json.dumps(statement):
                found.append(f"{address} may be taken by anybody")
    return found


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def plain_disks(state: State) -> list[str]:
    """Every disk is encrypted and goes with its machine."""
    found = []
    for kind in ("aws_launch_template", "aws_imagebuilder_image_recipe"):
        key = "block_device_mappings" if kind == "aws_launch_template" else "block_device_mapping"
        for address, values in resources(state, kind):
            disks = [disk for device in values[key] for disk in device["ebs"]]
            if not disks:
                found.append(f"{address} names no disk, so that its encryption is the account's default")
            for disk in disks:
                if str(disk["encrypted"]).lower() != "true" or str(disk["delete_on_termination"]).lower() != "true":
                    found.append(f"{address} has a disk that is not encrypted or outlives its machine")
    return found


def old_metadata(state: State) -> list[str]:
    """Instance metadata is handed out against tokens only, and not beyond the machine."""
    return [
        f"{address} answers metadata without a token or beyond the machine"
        for address, template in resources(state, "aws_launch_template")
        if [(o["http_tokens"], o["http_put_response_hop_limit"]) for o in template["metadata_options"]]
        != [("required", 1)]
    ]


def careless_buckets(state: State) -> list[str]:
    """Every bucket has its block of public access, versions, encryption and a policy against plain HTTP."""
    found = []
    guards = {
        "aws_s3_bucket_public_access_block": lambda v: all(
            v[key]
            for key in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
        ),
        "aws_s3_bucket_versioning": lambda v: v["versioning_configuration"][0]["status"] == "Enabled",
        "aws_s3_bucket_server_side_encryption_configuration": lambda v: bool(v["rule"]),
        "aws_s3_bucket_policy": lambda v: "aws:SecureTransport" in v["policy"],
        "aws_s3_bucket_lifecycle_configuration": lambda v: bool(v["rule"]),
    }
    for address, bucket in resources(state, "aws_s3_bucket"):
        for kind, holds in guards.items():
            own = [values for _, values in resources(state, kind) if values["bucket"] == bucket["id"]]
            if not own or not all(holds(values) for values in own):
                found.append(f"{address} has no working {kind}")
    return found


def kept_secrets(state: State, secret: str) -> list[str]:
    """A secret stands in no state."""
    return [
        f"{address} holds the token in the state"
        for address, values in resources(state)
        if secret in json.dumps(values)
    ]


def unmarked_nodes(state: State) -> list[str]:
    """Whatever Ray starts bears the stack's tag, so that a leftover is found."""
    return [
        f"{address} does not tag what it starts"
        for address, template in resources(state, "aws_launch_template")
        if {s["resource_type"] for s in template["tag_specifications"] if "Project" in s["tags"]}
        != {"instance", "volume"}
    ]


def unmarked_images(state: State) -> list[str]:
    """A machine image, which Terraform does not keep, bears the stack's tag as well."""
    found = []
    for address, image in resources(state, "aws_imagebuilder_image"):
        made = [v for _, v in resources(state, "aws_imagebuilder_distribution_configuration")]
        made = [v for v in made if v["arn"] == image["distribution_configuration_arn"]]
        tags = [
            own["ami_tags"] or {}
            for v in made
            for d in v["distribution"]
            for own in d["ami_distribution_configuration"]
        ]
        if not tags or not all("Project" in own for own in tags):
            found.append(f"{address} makes a machine image without the stack's tag")
    return found


def endless_logs(state: State) -> list[str]:
    """Logs are kept for a stated time, in a group that Terraform removes: what a service makes itself stays and is billed."""
    groups = {values["name"]: values["retention_in_days"] for _, values in resources(state, "aws_cloudwatch_log_group")}
    found = [f"log group {name} is kept for ever" for name, days in groups.items() if not days]
    wanted = [
        f"/aws/eks/{v['name']}/cluster"
        for _, v in resources(state, "aws_eks_cluster")
        if v["enabled_cluster_log_types"]
    ]
    wanted += [f"/aws/imagebuilder/{v['name']}" for _, v in resources(state, "aws_imagebuilder_image_recipe")]
    return found + [f"AWS would make log group {name} and leave it behind" for name in wanted if name not in groups]


def breaches(state: State, secret: str) -> list[str]:
    """Return every breach of every rule."""
    rules = (
        open_doors, stars, plain_disks, old_metadata, careless_buckets, unmarked_nodes, unmarked_images, endless_logs,
    )  # fmt: skip
    return [sentence for rule in rules for sentence in rule(state)] + kept_secrets(state, secret)
