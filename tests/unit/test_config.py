from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqr_ray.config import EvaluateConfig, first_difference, load_config, policy_config
from eqr_ray.types import InputError

BASE = ["puzzles=p.csv", "out=o"]


def yaml(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_an_option_wins_over_set_which_wins_over_the_file(tmp_path: Path) -> None:
    file = yaml(tmp_path / "run.yaml", "puzzles: p.csv\nout: o\nseed: 1\nlimit: 1\nreplicas: 1\n")
    got = load_config(file, ["seed=2", "limit=2"], {"seed": 3})
    assert (got.seed, got.limit, got.replicas) == (3, 2, 1)


def test_an_option_that_was_not_given_changes_nothing() -> None:
    assert load_config(None, [*BASE, "seed=2"], {"seed": None, "policy.depth": None}).seed == 2


def test_the_last_of_two_overrides_wins() -> None:
    assert load_config(None, [*BASE, "seed=2", "seed=4"]).seed == 4


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "0.0001", "1.0e-4", ".1e-3"])
def test_scientific_notation_is_a_number(tmp_path: Path, text: str) -> None:
    file = yaml(
        tmp_path / "run.yaml", f"puzzles: p\nout: o\nslice_timeout_s: {text}\npolicy:\n  params: {{x: {text}}}\n"
    )
    got = load_config(file)
    assert got.slice_timeout_s == 1e-4
    assert got.policy.params == {"x": 1e-4}
    assert load_config(None, [*BASE, f"policy.params.x={text}"]).policy.params == {"x": 1e-4}


def test_a_policy_may_be_given_by_its_name_alone() -> None:
    assert load_config(None, [*BASE, "policy=fixed", "policy.depth=8"]).policy.model_dump() == {
        "name": "fixed", "depth": 8, "breadth": None, "nfe": None, "params": {},
    }  # fmt: skip


def test_a_policy_file_gives_what_the_options_leave_out(tmp_path: Path) -> None:
    file = yaml(
        tmp_path / "p.yaml", "name: adaptive\ndepth: 8\nbreadth: 2\nresidual_below: 0.1\nparams: {delta: 1e-2}\n"
    )
    got = policy_config(str(file), depth=16)
    assert (got.name, got.depth, got.breadth) == ("adaptive", 16, 2)
    assert got.params == {"residual_below": 0.1, "delta": 0.01}
    assert load_config(None, BASE, {"policy.name": str(file), "policy.depth": 16}).policy == got


def test_infinite_thresholds_survive_as_text() -> None:
    assert load_config(None, [*BASE, "policy.params.q=-.inf"]).policy.params == {"q": "-inf"}


def test_what_is_dumped_is_read_back_the_same(tmp_path: Path) -> None:
    config = load_config(None, [*BASE, "policy=fixed", "policy.params.q=-.inf", "limit=3", "gpus_per_replica=0.25"])
    assert EvaluateConfig.model_validate(json.loads(config.dump())) == config
    assert load_config(yaml(tmp_path / "again.yaml", config.dump())) == config


def test_the_verdicts_do_not_depend_on_where_and_how_fast_a_run_goes() -> None:
    before = load_config(None, BASE)
    now = load_config(
        None, [*BASE, "out=elsewhere", "replicas=7", "address=auto", "limit=9", "resume=true", "threads=2"]
    )
    assert first_difference(before, now) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("seed=1", "seed: 0 -> 1"),
        ("puzzles=q.csv", "puzzles: 'p.csv' -> 'q.csv'"),
        ("policy=fixed", "policy.name: 'balanced' -> 'fixed'"),
        ("policy.depth=3", "policy.depth: None -> 3"),
        ("checkpoint=mine", "checkpoint: None -> 'mine'"),
        ("dtype=bfloat16", "dtype: 'float32' -> 'bfloat16'"),
        ("compile=true", "compile: False -> True"),
    ],
)
def test_the_first_difference_that_matters_is_named(change: str, words: str) -> None:
    assert first_difference(load_config(None, BASE), load_config(None, [*BASE, change])) == words


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("policy.depth=0", "policy.depth must be at least 1, got policy.depth=0"),
        ("policy.breadth=-3", "policy.breadth must be at least 1"),
        ("policy.depth=1.5", "must be a whole number"),
        ("policy.depth=true", "a number is needed here, got True"),
        ("policy.depth=many", "must be a whole number, got policy.depth='many'"),
        ("policy={depth: 2, breadth: 2, nfe: 5}", r"nfe must be in \[1, depth \* breadth = 4\], got nfe=5"),
        ("seed=-1", "seed must be at least 0"),
        ("seed=1e400", "finite"),
        ("limit=0", "limit must be at least 1"),
        ("device=tpu", "must be one of 'auto', 'cpu', 'cuda' or 'mps', got device='tpu'"),
        ("gpus_per_replica=2", "gpus_per_replica must be at most 1"),
        ("gpus_per_replica=0", "gpus_per_replica must be greater than 0"),
        ("slice_timeout_s=.nan", "finite"),
        ("resume=perhaps", "must be true or false"),
        ("puzzles=[a, b]", "puzzles must be text"),
        ("puzzles=", "puzzles must be text"),
        ("puzzles=''", "puzzles must not be empty"),
        ("policy=[1]", "policy must be a group of keys"),
        ("policy=null", "policy must be a group of keys"),
        ("policy.params.x=[1]", "policy.params.x must be a number, text, true or false"),
        ("seed", "--set takes key=value"),
        ("=3", "--set takes key=value"),
        ("policy..depth=3", "--set takes key=value"),
        ("policy={depth: 2", "not valid YAML"),
        ("sede=3", "did you mean `seed`"),
        ("polcy.depht=3", "did you mean `policy.depth`"),
        ("depth=3", "did you mean `policy.depth`"),
        ("policy.depth.x=3", "unknown key `policy.depth.x`"),
        ("zzzzzz=3", "the keys are address, checkpoint"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_with_rule_and_value(override: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        load_config(None, [*BASE, override])
    assert "\n" not in str(refusal.value)
    assert "pydantic" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"seed: 1\nseed: 2\n", "line 2.*`seed` is given twice"),
        (b"- 1\n", "`key: value` lines, got list"),
        (b"just words\n", "`key: value` lines, got str"),
        (b"1: 2\n", "a key must be text"),
        (b"seed: [\n", "line 2: not valid YAML"),
        (b"seed: \x00\n", "not valid YAML"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"seed: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        (b"seed: " + b"[" * 3000, "not valid YAML"),
        (b"a" * 1_000_001, "at most 1000000 bytes"),
        (b"polcy: fixed\n", "unknown key `polcy`; did you mean `policy`"),
        (b"policy:\n  dpeth: 3\n", "unknown key `policy.dpeth`; did you mean `policy.depth`"),
        (b"policy:\n  depth: 0\n", "policy.depth must be at least 1"),
        (b"", "puzzles must be given"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=words) as refusal:
        load_config(file)
    assert "\n" not in str(refusal.value)
    if content:
        assert str(refusal.value).startswith(str(file))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("depth: 3\n", "must give `name`"),
        ("name: other.yaml\n", "cannot point to another"),
        ("name: fixed\ndepth: 0\n", "depth must be at least 1"),
        ("name: fixed\nparams: 3\n", "params must be a group of keys"),
    ],
)
def test_a_policy_file_that_cannot_be_used_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    file = yaml(tmp_path / "p.yaml", text)
    with pytest.raises(InputError, match=words) as refusal:
        policy_config(str(file))
    assert str(refusal.value).startswith(str(file))


@given(st.text(max_size=40).filter(lambda text: "=" not in text or text.startswith("=")))
def test_an_override_that_is_no_pair_is_refused_whatever_it_is(text: str) -> None:
    with pytest.raises(InputError, match="--set takes key=value"):
        load_config(None, [*BASE, text])


@given(st.text(max_size=20))
def test_any_text_is_either_a_depth_or_refused_in_one_sentence(text: str) -> None:
    try:
        depth = load_config(None, [*BASE, f"policy.depth={text}"]).policy.depth
    except InputError:
        return
    assert depth is None or depth >= 1


def test_every_shipped_configuration_loads() -> None:
    files = sorted((Path(__file__).parents[2] / "configs" / "evaluate").glob("*.yaml"))
    assert files
    for file in files:
        assert load_config(file).out
