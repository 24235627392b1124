"""The scripts that start nodes: what they refuse, the certificates they make, the token they fetch."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[2] / "cluster"

REFUSALS = [
    (["boss"], "the role must be head or worker, got 'boss'"),
    ([], "say `start-node.sh head`"),
    (["worker"], "the head's address must be HOST:PORT"),
    (["worker", "10.0.0.1"], "the head's address must be HOST:PORT, got '10.0.0.1'"),
    (["head"], "there is no token in"),
]


def script(name: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "EQR_"))}
    return subprocess.run([CLUSTER / name, *arguments], env=kept | settings, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["start-node.sh", "tls.sh", "aws.sh"])
def test_a_script_is_sound_and_may_be_run(name: str):
    assert os.access(CLUSTER / name, os.X_OK)
    assert subprocess.run(["bash", "-n", CLUSTER / name]).returncode == 0
    assert shellcheck(CLUSTER / name) == ""


def test_shellcheck_finds_a_mistake(tmp_path: Path):
    (tmp_path / "bad.sh").write_text((CLUSTER / "tls.sh").read_text().replace('mkdir -p "$dir"', "mkdir -p $dir"))
    assert "SC2086" in shellcheck(tmp_path / "bad.sh")


def shellcheck(script: Path) -> str:
    """Return what shellcheck, of the `dev` extra, says; backquotes in a message to the user are no command."""
    program = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if program is None:
        pytest.skip("no shellcheck on this machine")
    return subprocess.run([program, "--exclude", "SC2016", script], capture_output=True, text=True).stdout


@pytest.mark.parametrize(("arguments", "said"), REFUSALS)
def test_a_node_that_cannot_be_safe_is_not_started(arguments: list[str], said: str, tmp_path: Path):
    done = script("start-node.sh", *arguments, HOME=str(tmp_path))
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_half_a_set_of_certificates_is_refused(tmp_path: Path):
    done = script(
        "start-node.sh",
        "head",
        HOME=str(tmp_path),
        RAY_AUTH_TOKEN="x" * 32,
        EQR_TLS_DIR=str(tmp_path),
        EQR_NODE_IP="127.0.0.2",
    )
    assert done.returncode == 2
    assert "ca.crt is missing" in done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_a_nodes_certificate_is_signed_and_names_its_address(tmp_path: Path):
    assert script("tls.sh", "ca", str(tmp_path)).returncode == 0
    assert script("tls.sh", "node", str(tmp_path), "10.1.2.3").returncode == 0
    checked = subprocess.run(
        ["openssl", "verify", "-CAfile", tmp_path / "ca.crt", "-verify_ip", "10.1.2.3", tmp_path / "node.crt"],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    other = subprocess.run(
        ["openssl", "verify", "-CAfile", tmp_path / "ca.crt", "-verify_ip", "10.1.2.4", tmp_path / "node.crt"],
        capture_output=True,
    )
    assert other.returncode != 0
    for key in ("ca.key", "node.key", "ca.pem"):
        assert stat.S_IMODE((tmp_path / key).stat().st_mode) == 0o600
    again = script("tls.sh", "ca", str(tmp_path))
    assert again.returncode == 2
    assert "is there already" in again.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_an_authority_comes_out_of_its_one_file_as_it_went_in(tmp_path: Path):
    script("tls.sh", "ca", str(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a/ca.pem", tmp_path / "b/ca.pem")
    assert script("tls.sh", "unpack", str(tmp_path / "b")).returncode == 0
    assert (tmp_path / "a/ca.crt").read_text() == (tmp_path / "b/ca.crt").read_text()
    assert script("tls.sh", "node", str(tmp_path / "b"), "10.1.2.3").returncode == 0


def test_an_address_that_is_none_is_refused(tmp_path: Path):
    script("tls.sh", "ca", str(tmp_path))
    done = script("tls.sh", "node", str(tmp_path), "head,DNS:evil.example")
    assert done.returncode == 2
    assert "must be an IP" in done.stderr


def test_a_token_is_fetched_into_a_file_that_only_its_owner_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    moto = pytest.importorskip("moto", reason="no moto in this environment")
    boto3 = pytest.importorskip("boto3")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(CLUSTER))
    from fetch_parameter import fetch

    file = tmp_path / "ray" / "token"
    with moto.mock_aws():
        boto3.client("ssm").put_parameter(Name="/eqr-ray/ray-auth-token", Value="a" * 64, Type="SecureString")
        fetch("/eqr-ray/ray-auth-token", file)
        with pytest.raises(SystemExit, match="cannot be read"):
            fetch("/eqr-ray/other", tmp_path / "other")
    assert file.read_text() == "a" * 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not (tmp_path / "other").exists()
