import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evaluate_job", ROOT / "jobs" / "evaluate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_job_works_on_its_own_cluster(job: ModuleType):
    given = ["--config", "x.yaml", "--set", "seed=1"]
    assert job.arguments(given, in_cluster=True) == ["evaluate", "--set", "address=auto", *given]


def test_outside_a_cluster_the_arguments_stay_as_they_are(job: ModuleType):
    assert job.arguments(["--config", "x.yaml"], in_cluster=False) == ["evaluate", "--config", "x.yaml"]
