from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from endpoints import EASY, TOKEN, Endpoint

from eqr_ray.cli import root
from eqr_ray.client import Client
from eqr_ray.serving.app import app
from eqr_ray.serving.load import Ending, Kind, account, arrivals, run_load
from eqr_ray.serving.settings import load_serve_config

CONFIGS = Path(__file__).parents[2] / "configs" / "serve"
KINDS = [Kind("easy", 0.75, [EASY], {}), Kind("hard", 0.25, [EASY], {"policy": "fixed", "depth": 16, "breadth": 2})]


def test_the_same_seed_gives_the_same_arrivals_in_order() -> None:
    planned = arrivals(KINDS, 50.0, 20.0, seed=1)
    assert planned == arrivals(KINDS, 50.0, 20.0, seed=1) != arrivals(KINDS, 50.0, 20.0, seed=2)
    assert [one.due_s for one in planned] == sorted(one.due_s for one in planned)
    assert 800 < len(planned) < 1200
    assert 0.65 < sum(one.kind == "easy" for one in planned) / len(planned) < 0.85


def test_every_arrival_ends_once(endpoint: Endpoint) -> None:
    planned = arrivals(KINDS, 100.0, 0.4, seed=3)
    endings = run_load(Client(endpoint.url, tries=1), KINDS, planned)
    assert [ending.kind for ending in endings] == [one.kind for one in planned]
    assert {ending.status for ending in endings} == {200}
    assert all(ending.nfe == 32 for ending in endings if ending.kind == "hard")


def test_goodput_counts_answers_in_time_and_refusals_are_told_apart() -> None:
    endings = [
        Ending("easy", 200, 0.5, 0.1, 10),
        Ending("easy", 200, 2.0, 0.1, 30),
        Ending("easy", 503, 0.1),
        Ending("easy", 0, 9.0),
    ]
    told = account(endings, seconds=4.0, deadline_s=1.0)
    assert (told.n, told.answered, told.refused, told.failed, told.within_deadline) == (4, 2, 1, 1, 1)
    assert (told.goodput_per_s, told.nfe_mean, told.latency_s["p50"]) == (0.25, 20.0, 1.25)
    assert account([], 1.0, 1.0).latency_s["p50"] is None


def test_bench_serve_prints_accounts_and_ratios(endpoint: Endpoint) -> None:
    options = ["--url", endpoint.url, "--rate", "20", "--seconds", "0.5", "--unloaded", "3", "--hard-nfe", "64"]
    told = CliRunner().invoke(root, ["bench", "serve", *options, "--json"], standalone_mode=False)
    facts = json.loads(told.stdout)
    assert facts["unloaded"]["answered"] == 3
    assert facts["easy"]["failed"] == facts["hard"]["failed"] == 0
    assert facts["ratios"]["easy_unloaded_to_echo_plus_engine_p50"] > 0
    table = CliRunner().invoke(root, ["bench", "serve", *options], standalone_mode=False).stdout
    assert [line.split()[0] for line in table.splitlines()[1:4]] == ["unloaded", "easy", "hard"]


def test_bench_serve_without_an_endpoint_fails_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        root.main(["bench", "serve", "--url", "http://127.0.0.1:9"], prog_name="eqr-ray")
    assert ended.value.code == 1
    assert "nothing answers at 127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--host", "0.0.0.0"], "needs a token"),
        (["--set", "limits.nfee=3"], "did you mean"),
        (["--set", "models.x=nowhere"], "neither a bundled name"),
        (["--port", "-1"], "port must be at least 0"),
        (["--no-ray", "--set", "default_policy=lavish"], "policy must be one of"),
    ],
)
def test_serve_refuses_what_cannot_be_in_a_sentence(
    options: list[str], rule: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EQR_SERVE_TOKENS", raising=False)
    with pytest.raises(SystemExit) as ended:
        root.main(["serve", *options], prog_name="eqr-ray")
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert rule in told
    assert "Traceback" not in told


@pytest.mark.parametrize("name", ["local", "shared"])
def test_shipped_configurations_load_and_make_an_application(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQR_SERVE_TOKENS", TOKEN)
    monkeypatch.chdir(CONFIGS.parents[1])
    config = load_serve_config(CONFIGS / f"{name}.yaml")
    assert config.host == ("127.0.0.1" if name == "local" else "0.0.0.0")
    assert app({"config": str(CONFIGS / f"{name}.yaml")}) is not None


def test_the_file_for_serve_deploy_holds_what_ray_serve_knows_and_arguments_that_load() -> None:
    import yaml
    from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

    told = yaml.safe_load((CONFIGS / "ray-serve.yaml").read_text())
    schema = ServeDeploySchema(**told)
    assert set(told) <= set(ServeDeploySchema.model_fields)
    for application in told["applications"]:
        assert set(application) <= set(ServeApplicationSchema.model_fields)
        assert application["import_path"] == "eqr_ray.serving.app:app"
        assert app(application["args"]) is not None
    assert schema.http_options.host == "127.0.0.1"


def test_serving_imports_neither_torch_nor_ray_before_it_must() -> None:
    code = "import sys, eqr_ray.serving.http, eqr_ray.client; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_second_endpoint_with_other_models_stands_beside_the_first(
    listen: Callable[..., Endpoint], endpoint: Endpoint
) -> None:
    other = listen(**{"limits.nfe": 5000, "limits.depth": 300, "limits.breadth": 70})
    names = {policy["name"] for policy in other.client().models()["policies"]}
    assert "adaptive" in names
    assert names < {policy["name"] for policy in endpoint.client().models()["policies"]}, (
        "what is beyond the limits is not listed"
    )
