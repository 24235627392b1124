"""KubeRay's manifests and what stands beside them: accepted by CRDs, Kubernetes and Ray Serve; refused with a planted mistake."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from manifests import REPOSITORY, complaints, documents, has_crds
from planting import Mistake, names

needs_crds = pytest.mark.skipif(not has_crds(), reason="KubeRay's CRDs are not on this machine")
needs_kubernetes = pytest.mark.skipif(
    find_spec("kubernetes_validate") is None, reason="no kubernetes-validate in this environment"
)

JOBS = ["ray-job-evaluate.yaml", "ray-job-trace.yaml", "ray-job-tune.yaml"]
OF_RAY = ["ray-cluster.yaml", *JOBS, "ray-service.yaml"]
OF_KUBERNETES = ["namespace.yaml", "eks.yaml"]

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
    Mistake("machines while idle", "ray-cluster.yaml", "minReplicas: 0", "minReplicas: 2", "machines while idle"),
    Mistake(
        "no choice of machines",
        "ray-cluster.yaml",
        "eqr-ray/pool: gpu",
        "eqr-ray/pool: all",
        "would not get the machines",
    ),
    Mistake("a GPU for a study", "ray-job-tune.yaml", "groupName: cpu", "groupName: gpu", "would not get the machines"),
    Mistake("logs apart", "ray-cluster.yaml", "{name: ray-logs,", "{name: ray-files,", "autoscaler logs"),
    Mistake("served too early", "ray-service.yaml", "8000/-/healthz", "8000/", "before it serves"),
    Mistake("two commands", "ray-job-trace.yaml", "--resume", "--resume && ls", "not one command"),
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
        "eks.yaml",
        "consolidateAfter",
        "consolidationAfter",
        "consolidationAfter",
    ),
    Mistake("a wrong effect", "eks.yaml", "effect: NoSchedule", "effect: Never", "Never"),
]


@pytest.fixture
def folder(rendered: Path, tmp_path: Path) -> Path:
    for file in (rendered / "kuberay").glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    return tmp_path


@needs_crds
@pytest.mark.parametrize("file", OF_RAY)
def test_kuberay_accepts(file: str, folder: Path):
    assert [sentence for manifest in documents(folder / file) for sentence in complaints(manifest)] == []


@needs_kubernetes
@pytest.mark.parametrize("file", OF_KUBERNETES)
def test_kubernetes_accepts(file: str, folder: Path):
    assert [sentence for manifest in documents(folder / file) for sentence in complaints(manifest)] == []


def test_every_manifest_is_tested(folder: Path):
    assert {file.name for file in folder.glob("*.yaml")} == {*OF_RAY, *OF_KUBERNETES}


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


@pytest.mark.parametrize("file", JOBS)
def test_a_job_names_files_that_the_image_holds(file: str, folder: Path):
    held = [word for word in entrypoint(folder / file) if word.startswith("/opt/eqr/")]
    assert held
    for word in held:
        assert (REPOSITORY / word.removeprefix("/opt/eqr/")).is_file(), word


@pytest.mark.parametrize("file", JOBS)
def test_a_job_gives_arguments_that_its_command_takes(file: str, folder: Path):
    """As the command line of the package reads them, up to the configuration that it makes of them."""
    taken = configuration(entrypoint(folder / file))
    assert taken.out.startswith("s3://")
    assert taken.resume, "a job whose head is lost is tried again in the same folder"


def test_jobs_on_gpus_ask_for_every_machine_that_the_cluster_may_have(folder: Path):
    """A cluster that starts from no machine shows the job no machine to count."""
    for file in ("ray-job-evaluate.yaml", "ray-job-trace.yaml"):
        (job,) = documents(folder / file)
        (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        assert configuration(job["spec"]["entrypoint"].split()).replicas == group["maxReplicas"]


def entrypoint(file: Path) -> list[str]:
    (job,) = documents(file)
    return str(job["spec"]["entrypoint"]).split()


def configuration(words: list[str]) -> Any:
    """Return what the job's command would work with, its files taken from this tree instead of the image."""
    from eqr_ray.cli import root
    from eqr_ray.config import load_config
    from eqr_ray.config.trace import load_trace_config
    from eqr_ray.config.tune import load_tune_config

    name = Path(words[1]).stem
    given = [word.replace("/opt/eqr/", f"{REPOSITORY}/") for word in words[2:]]
    command = root.get_command(click.Context(root), name)
    assert command is not None
    options = {key: value for key, value in command.make_context(name, given).params.items() if value is not None}
    load = {"evaluate": load_config, "trace": load_trace_config, "tune": load_tune_config}[name]
    return load(options.pop("config_file", None), options.pop("overrides"), options)


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


def test_manifests_have_the_same_cluster(folder: Path):
    """One macro makes them; the service's pods differ by the tokens of its clients, the study's workers by having no GPU."""
    (cluster,), (job,) = documents(folder / "ray-cluster.yaml"), documents(folder / "ray-job-evaluate.yaml")
    assert cluster["spec"] == job["spec"]["rayClusterSpec"]


def test_network_policies_are_enforced_on_eks(folder: Path):
    """Without this setting EKS takes a NetworkPolicy and does nothing."""
    (setting,) = [own for own in documents(folder / "eks.yaml") if own["kind"] == "ConfigMap"]
    assert (setting["metadata"]["namespace"], setting["metadata"]["name"]) == ("kube-system", "amazon-vpc-cni")
    assert setting["data"]["enable-network-policy-controller"] == "true"


def test_the_versions_of_ray_agree(folder: Path):
    import ray

    (cluster,) = documents(folder / "ray-cluster.yaml")
    assert cluster["spec"]["rayVersion"] == ray.__version__
