"""KubeRay's manifests and what stands beside them: accepted by CRDs, Kubernetes and Ray Serve; refused with a planted mistake."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from manifests import REPOSITORY, complaints, documents, has_crds
from planting import Mistake, names

needs_crds = pytest.mark.skipif(not has_crds(), reason="KubeRay's CRDs are not on this machine")
needs_kubernetes = pytest.mark.skipif(
    find_spec("kubernetes_validate") is None, reason="no kubernetes-validate in this environment"
)

RAY = [
    Mistake("a bad CRD field", "ray-cluster.yaml", "minReplicas:", "minReplica:", "minReplica"),
    Mistake("a wrong type", "ray-cluster.yaml", "maxReplicas: 8", "maxReplicas: many", "maxReplicas"),
    Mistake("a bad field of a pod", "ray-cluster.yaml", "tolerations:", "toleration:", "toleration"),
    Mistake("a bad field of a container", "ray-cluster.yaml", "volumeMounts:", "mounts:", "mounts"),
    Mistake("no token", "ray-cluster.yaml", "mode: token", "mode: disabled", "token authentication is off"),
    Mistake("a wrong mode", "ray-cluster.yaml", "upscalingMode: Default", "upscalingMode: Fast", "upscalingMode"),
    Mistake("root", "ray-cluster.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "may run as root"),
    Mistake("no probe", "ray-cluster.yaml", "livenessProbe", "livelinessProbe", "livelinessProbe"),
    Mistake(
        "no limits",
        "ray-cluster.yaml",
        'limits: {cpu: "2", memory: 4Gi, ',
        'limits: {cpu: "2", ',
        "no limits of CPU and memory",
    ),
    Mistake("GPUs while idle", "ray-cluster.yaml", "minReplicas: 0", "minReplicas: 2", "GPU while idle"),
    Mistake("a wrong submission", "ray-job-evaluate.yaml", "K8sJobMode", "KubernetesMode", "submissionMode"),
    Mistake(
        "a cluster that stays",
        "ray-job-evaluate.yaml",
        "shutdownAfterJobFinishes: true",
        "shutdownAfterJobFinishes: false",
        "billed",
    ),
    Mistake("a wrong key of Serve", "ray-service.yaml", "route_prefix: /", "route: /", "unknown key route"),
    Mistake("a bad port", "ray-service.yaml", "port: 8000", "port: http", "serveConfigV2"),
]

OTHERS = [
    Mistake(
        "a field that a namespace lacks",
        "namespace.yaml",
        "podSelector: {}\n  policy",
        "podsSelector: {}\n  policy",
        "'podSelector' is a required",
    ),
    Mistake("a wrong type", "namespace.yaml", "policyTypes: [Ingress]", "policyTypes: Ingress", "policyTypes"),
    Mistake(
        "a field that a node pool lacks",
        "gpu-nodes.yaml",
        "consolidateAfter",
        "consolidationAfter",
        "consolidationAfter",
    ),
    Mistake("a wrong effect", "gpu-nodes.yaml", "effect: NoSchedule", "effect: Never", "Never"),
]


@pytest.fixture
def folder(rendered: Path, tmp_path: Path) -> Path:
    for file in (rendered / "kuberay").glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    return tmp_path


@needs_crds
@pytest.mark.parametrize("file", ["ray-cluster.yaml", "ray-job-evaluate.yaml", "ray-service.yaml"])
def test_kuberay_accepts(file: str, folder: Path):
    assert [sentence for manifest in documents(folder / file) for sentence in complaints(manifest)] == []


@needs_kubernetes
@pytest.mark.parametrize("file", ["namespace.yaml", "gpu-nodes.yaml"])
def test_kubernetes_accepts(file: str, folder: Path):
    assert [sentence for manifest in documents(folder / file) for sentence in complaints(manifest)] == []


def test_every_manifest_is_tested(folder: Path):
    tested = {"ray-cluster.yaml", "ray-job-evaluate.yaml", "ray-service.yaml", "namespace.yaml", "gpu-nodes.yaml"}
    assert {file.name for file in folder.glob("*.yaml")} == tested


@needs_crds
@pytest.mark.parametrize("mistake", RAY, ids=names(RAY))
def test_kuberay_refuses(mistake: Mistake, folder: Path):
    mistake.plant(folder)
    found = [sentence for manifest in documents(folder / mistake.file) for sentence in complaints(manifest)]
    assert any(mistake.refusal in sentence for sentence in found), found


@needs_kubernetes
@pytest.mark.parametrize("mistake", OTHERS, ids=names(OTHERS))
def test_kubernetes_refuses(mistake: Mistake, folder: Path):
    mistake.plant(folder)
    found = [sentence for manifest in documents(folder / mistake.file) for sentence in complaints(manifest)]
    assert any(mistake.refusal in sentence for sentence in found), found


def test_the_job_names_files_that_the_image_holds(folder: Path):
    (job,) = documents(folder / "ray-job-evaluate.yaml")
    words = job["spec"]["entrypoint"].split()
    held = [word for word in words if word.startswith("/opt/eqr/")]
    assert len(held) == 2
    for word in held:
        assert (REPOSITORY / word.removeprefix("/opt/eqr/")).is_file(), word


def test_the_job_gives_a_configuration_that_the_command_takes(folder: Path):
    from eqr_ray.config import load_config

    (job,) = documents(folder / "ray-job-evaluate.yaml")
    words = job["spec"]["entrypoint"].split()
    config = words[words.index("--config") + 1].removeprefix("/opt/eqr/")
    overrides = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    taken = load_config(REPOSITORY / config, overrides)
    assert taken.out.startswith("s3://")
    assert taken.resume


def test_the_service_gives_arguments_that_the_application_takes(folder: Path):
    from eqr_ray.serving.settings import load_serve_config

    (service,) = documents(folder / "ray-service.yaml")
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    module, _, attribute = application["import_path"].partition(":")
    assert callable(getattr(import_module(module), attribute))
    config = load_serve_config(None, (), application["args"])
    assert config.host == "0.0.0.0"
    mounted = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0][
        "volumeMounts"
    ]
    assert any(config.token_file and config.token_file.startswith(mount["mountPath"]) for mount in mounted)


def test_all_three_manifests_have_the_same_cluster(folder: Path):
    """One macro makes them; the service's pods differ by the tokens of its clients."""
    (cluster,), (job,) = documents(folder / "ray-cluster.yaml"), documents(folder / "ray-job-evaluate.yaml")
    assert cluster["spec"] == job["spec"]["rayClusterSpec"]


def test_the_versions_of_ray_agree(folder: Path):
    import ray

    (cluster,) = documents(folder / "ray-cluster.yaml")
    assert cluster["spec"]["rayVersion"] == ray.__version__
