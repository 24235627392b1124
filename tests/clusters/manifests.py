"""What Kubernetes, KubeRay and Ray Serve would say of a manifest, without a cluster.

A CRD's schema lets unknown fields pass, because the API server drops them in silence: here every object is closed first, so that a
misspelt field is found. The CRDs are KubeRay's own and are read from the development data; without them those checks are skipped.
"""

from __future__ import annotations

import functools
import gzip
import os
from pathlib import Path

import jsonschema
import yaml

REPOSITORY = Path(__file__).parents[2]
CRDS = Path(os.environ.get("EQR_DATA", REPOSITORY.parent / "shared" / "data")) / "kuberay-crds"
SUBMISSION_MODES = {"K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"}
KUBERNETES = "1.33"

NODE_POOL = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "karpenter.sh/v1"},
        "kind": {"const": "NodePool"},
        "metadata": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        "spec": {
            "type": "object",
            "required": ["template", "limits", "disruption"],
            "properties": {
                "limits": {"type": "object", "additionalProperties": {"type": ["integer", "string"]}},
                "disruption": {
                    "type": "object",
                    "required": ["consolidateAfter"],
                    "properties": {
                        "consolidationPolicy": {"enum": ["WhenEmpty", "WhenEmptyOrUnderutilized"]},
                        "consolidateAfter": {"type": "string", "pattern": "^([0-9]+(s|m|h))+$|^Never$"},
                    },
                },
                "template": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "metadata": {
                            "type": "object",
                            "properties": {"labels": {"type": "object", "additionalProperties": {"type": "string"}}},
                        },
                        "spec": {
                            "type": "object",
                            "required": ["nodeClassRef", "requirements"],
                            "properties": {
                                "nodeClassRef": {
                                    "type": "object",
                                    "required": ["group", "kind", "name"],
                                    "properties": {key: {"type": "string"} for key in ("group", "kind", "name")},
                                },
                                "expireAfter": {"type": "string", "pattern": "^([0-9]+(s|m|h))+$|^Never$"},
                                "terminationGracePeriod": {"type": "string", "pattern": "^([0-9]+(s|m|h))+$"},
                                "taints": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "required": ["key", "effect"],
                                        "properties": {
                                            "key": {"type": "string"},
                                            "value": {"type": "string"},
                                            "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
                                        },
                                    },
                                },
                                "requirements": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "required": ["key", "operator"],
                                        "properties": {
                                            "key": {"type": "string"},
                                            "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]},
                                            "values": {"type": "array", "items": {"type": "string"}},
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The fields of a Karpenter NodePool (karpenter.sh/v1) that are used here; its own CRD is not at hand."""


def documents(path: Path) -> list[dict]:
    """Return the objects of a manifest."""
    return list(yaml.safe_load_all(path.read_text()))


def complaints(manifest: dict) -> list[str]:
    """Return everything that is wrong with one object, one sentence each."""
    version, kind = manifest.get("apiVersion", ""), manifest.get("kind", "")
    if version == "ray.io/v1":
        return _schema(manifest, _crd(kind)) + _ray(manifest, kind)
    if kind == "NodePool":
        return _schema(manifest, _closed(NODE_POOL))
    return _core(manifest)


def has_crds() -> bool:
    """Whether the CRDs are on this machine."""
    return CRDS.is_dir()


@functools.cache
def _crd(kind: str) -> dict:
    with gzip.open(CRDS / f"ray.io_{kind.lower()}s.yaml.gz", "rt") as file:
        crd = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (schema,) = (v["schema"]["openAPIV3Schema"] for v in crd["spec"]["versions"] if v["name"] == "v1")
    return _closed(schema)


def _closed(schema: dict) -> dict:
    """Return an OpenAPI schema as JSON schema that refuses unknown fields and takes ints where Kubernetes does."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    closed = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if "properties" in schema:
        closed["properties"] = {name: _closed(part) for name, part in schema["properties"].items()}
        # `metadata` of a CRD is an open object: the API server knows its fields.
        closed.setdefault("additionalProperties", False)
    if isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = _closed(schema["additionalProperties"])
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    return closed


def _schema(manifest: dict, schema: dict) -> list[str]:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(manifest)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]


def _core(manifest: dict) -> list[str]:
    import kubernetes_validate

    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as problem:
        return [str(problem)[:400]]
    return []


def _ray(manifest: dict, kind: str) -> list[str]:
    """What the CRD does not check: words in free strings, and the promises of docs/security.md."""
    spec = manifest["spec"]
    found = []
    cluster = {"RayCluster": spec, "RayJob": spec.get("rayClusterSpec"), "RayService": spec.get("rayClusterConfig")}[
        kind
    ]
    if kind == "RayJob":
        if spec.get("submissionMode", "K8sJobMode") not in SUBMISSION_MODES:
            found.append(f"submissionMode {spec['submissionMode']} is none of {sorted(SUBMISSION_MODES)}")
        if not spec.get("shutdownAfterJobFinishes"):
            found.append("the cluster would stay, and be billed, after the job")
        if set(spec.get("entrypoint", "")) & set(";|&<>$`\"'"):
            found.append("entrypoint is for the submitter's shell, not one command of the job")
    if kind == "RayService":
        found += _serve(yaml.safe_load(spec["serveConfigV2"]))
    if not isinstance(cluster, dict):
        return [*found, "there is no cluster in it"]
    if cluster.get("authOptions", {}).get("mode") != "token":
        found.append("token authentication is off")
    if not cluster.get("enableInTreeAutoscaling"):
        found.append("the cluster would not grow")
    groups = [("head", cluster["headGroupSpec"])] + [(g["groupName"], g) for g in cluster.get("workerGroupSpecs", [])]
    for name, group in groups:
        pod = group["template"]["spec"]
        if not pod.get("securityContext", {}).get("runAsNonRoot"):
            found.append(f"{name} may run as root")
        for container in pod["containers"]:
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= resources.get("limits", {}).keys() or not resources.get("requests"):
                found.append(f"{name} has no limits of CPU and memory")
            if not {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys():
                found.append(f"{name} is not probed")
        ready = str(pod["containers"][0].get("readinessProbe"))
        if name != "head" and kind == "RayService" and "8000/-/healthz" not in ready:
            found.append(f"{name} would be sent requests before it serves")
        if name == "head" and not any(
            mount["name"] == "ray-logs" for mount in pod["containers"][0].get("volumeMounts", ())
        ):
            found.append("Ray would not see what KubeRay's autoscaler logs")
        if name != "head" and group.get("minReplicas") != 0:
            found.append(f"{name} would hold machines while idle")
        asks_gpu = "nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]
        if name != "head" and (name == "gpu") != (
            asks_gpu and pod.get("nodeSelector", {}).get("eqr-ray/pool") == "gpu"
        ):
            found.append(f"{name} would not get the machines that its name says")
    return found


def _serve(config: dict) -> list[str]:
    """Check a Serve configuration with Ray's schema, and its keys, which that schema lets pass."""
    from ray.serve.schema import HTTPOptionsSchema, ServeApplicationSchema, ServeDeploySchema

    found = []
    for keys, schema in [
        (config, ServeDeploySchema),
        (config.get("http_options", {}), HTTPOptionsSchema),
        *((application, ServeApplicationSchema) for application in config.get("applications", [])),
    ]:
        fields = getattr(schema, "model_fields", None) or schema.__fields__
        found += [f"serveConfigV2: unknown key {key}" for key in keys if key not in fields]
    try:
        ServeDeploySchema.model_validate(config)
    except ValueError as problem:
        found.append(f"serveConfigV2: {' '.join(str(problem).split())[:300]}")
    return found
