import importlib.util
import shlex
import subprocess
from pathlib import Path

import pytest

from eqr_ray.cli import job as jobs
from eqr_ray.cli import submitting
from eqr_ray.config import load_config
from eqr_ray.types import InputError

ROOT = Path(__file__).parents[3]


def test_a_job_works_on_its_own_cluster():
    given = ["--config", "x.yaml", "--set", "seed=1"]
    assert jobs.arguments("evaluate", given, in_cluster=True) == ["evaluate", "--set", "address=auto", *given]
    assert jobs.arguments("train", ["--out", "d"], in_cluster=True) == ["train", "--out", "d"]
    workers = ["--out", "d", "--workers", "2"]
    assert jobs.arguments("train", workers, in_cluster=True) == ["train", "--address", "auto", *workers]


def test_outside_a_cluster_the_arguments_stay_as_they_are():
    assert jobs.arguments("trace", ["--config", "x.yaml"], in_cluster=False) == ["trace", "--config", "x.yaml"]


@pytest.mark.parametrize("name", jobs.JOBS)
def test_every_job_is_a_file_that_runs_its_command(name: str, monkeypatch: pytest.MonkeyPatch):
    ran: list[str] = []
    spec = importlib.util.spec_from_file_location("__main__", ROOT / "jobs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    monkeypatch.setattr(jobs, "run_job", ran.append)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert ran == [name]


def read_back(options: list[str]) -> list[str]:
    assert options[::2] == ["--set"] * (len(options) // 2)
    return options[1::2]


@pytest.mark.parametrize(
    "overrides",
    [
        ("puzzles=s3://b/p.csv", "policy.depth=64", "policy.breadth=4", "seed=7"),
        ("puzzles=a b.csv", "policy.name=posterior", "policy.params.confidence=0.99", "device=cpu"),
        ("puzzles='true'", "task=sudoku9", 'checkpoint="007"', "slice_timeout_s=1e3"),
    ],
)
def test_the_command_line_read_back_is_the_configuration(overrides: tuple[str, ...]):
    values = submitting.settings_of("evaluate", None, overrides, "s3://b/run")
    options = read_back(shlex.split(shlex.join(submitting.set_options(values))))
    assert load_config(None, options) == load_config(None, overrides, {"out": "s3://b/run"})


def test_lists_of_a_training_recipe_survive():
    from eqr_ray.config.reading import load_into
    from eqr_ray.training.settings import TrainSettings

    recipe = ROOT / "configs" / "train" / "sudoku6.yaml"
    values = submitting.settings_of("train", str(recipe), (), "out")
    assert load_into(TrainSettings, None, read_back(submitting.set_options(values))) == load_into(TrainSettings, recipe)
    with pytest.raises(InputError, match="--out"):
        submitting.settings_of("train", str(recipe), (), None)


def test_equal_work_has_an_equal_name_resumed_or_not():
    def name(*overrides: str, out: str = "s3://b/run") -> str:
        return submitting.name_of("evaluate", submitting.settings_of("evaluate", None, ("puzzles=p", *overrides), out))

    assert name() == name("resume=true") == name("device=auto")
    assert len({name(), name("seed=1"), name(out="s3://b/other")}) == 3
    assert name().startswith("evaluate-")


def test_local_paths_start_at_the_root_and_bundled_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    values = {"puzzles": "p.csv", "out": "s3://b/run", "checkpoint": "sudoku6", "sources": [{"path": "t.csv.gz"}]}
    assert submitting.with_full_paths(values) == {
        "puzzles": f"{tmp_path}/p.csv", "out": "s3://b/run", "checkpoint": "sudoku6",
        "sources": [{"path": f"{tmp_path}/t.csv.gz"}],
    }  # fmt: skip
    assert submitting.with_full_paths({"checkpoint": "weights"}) == {"checkpoint": f"{tmp_path}/weights"}


def test_variables_of_the_storage_are_passed_on_and_files_of_this_machine_are_not():
    environ = {"AWS_REGION": "r", "AWS_PROFILE": "mine", "AWS_CONFIG_FILE": "/f", "EQR_LOG": "json", "HOME": "/h"}
    assert submitting.passed_on(environ) == {"AWS_REGION": "r", "EQR_LOG": "json"}


def test_a_cluster_elsewhere_runs_its_own_python():
    assert submitting.entry_point("http://head:8265", "train", ["--set", "a=b c"]) == (
        "python -m eqr_ray train --set 'a=b c'"
    )
    here = submitting.entry_point("http://127.0.0.1:8265", "evaluate", [])
    done = subprocess.run(["bash", "-c", f"{here} --version"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "no such option" in done.stderr


def test_the_revision_tells_a_changed_working_copy(tmp_path: Path):
    assert submitting.git_revision(str(tmp_path)) == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-qm", "a"], check=True)
    clean = submitting.git_revision(str(tmp_path))
    assert len(clean) == 40
    (tmp_path / "a").write_text("2")
    assert submitting.git_revision(str(tmp_path)) == f"{clean}-dirty"
