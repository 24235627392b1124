"""Fixtures of the cluster files. Nothing here reaches a cloud; what a machine lacks is skipped with its name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory):
    """The tree, copied and initialised once for all tests."""
    from terraform_tool import missing, prepare

    if (why := missing()) is not None:
        pytest.skip(why)
    return prepare(tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="session")
def outputs() -> dict[str, object]:
    """What `terraform output -json` prints for the whole stack; test_terraform.py holds it against the real one."""
    return json.loads((HERE / "outputs.json").read_text())


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that cluster/render.py fills, run as its documentation says."""
    out = tmp_path_factory.mktemp("rendered")
    subprocess.run(
        [sys.executable, "cluster/render.py", "--outputs", str(HERE / "outputs.json"), "--tag", "1", "--out", str(out)],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    return out
