"""Checkpoints from a Hub on loopback: digests, offline use, and what goes wrong in one sentence."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from eqr_ray.model.checkpoint import fetch, save
from eqr_ray.model.hub import HubAddress
from eqr_ray.model.network import EquilibriumReasoner
from eqr_ray.model.spec import ModelSpec
from eqr_ray.types import InputError

pytest.importorskip("huggingface_hub")
ROOT = Path(__file__).parents[3]
COMMIT = "c" * 40
SPEC = ModelSpec(
    task="sudoku4", rows=4, cols=4, vocab=5, model_vocab=5, token_map=(0, 1, 2, 3, 4), hidden=16, heads=2, layers=1
)


class Hub:
    """As much of the Hub as a download needs: HEAD and GET of `/OWNER/REPO/resolve/REVISION/PATH`."""

    def __init__(self, folder: Path) -> None:
        hub = self
        self.stated: dict[str, str] = {}
        """Digest stated for a path; that of its contents by default."""

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                prefix = "/locuslab/tiny/resolve/main/"
                file = folder / self.path.removeprefix(prefix)
                known = self.path.startswith(prefix)
                if not known or not file.is_file():
                    self.send_response(404)
                    self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
                    self.send_header("X-Repo-Commit", COMMIT)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                content = file.read_bytes()
                digest = hub.stated.get(str(file.relative_to(folder)), hashlib.sha256(content).hexdigest())
                self.send_response(200)
                self.send_header("ETag", f'"{digest}"')
                self.send_header("X-Linked-Etag", f'"{digest}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    torch.manual_seed(0)
    save(tmp_path / "repo" / "small", EquilibriumReasoner(SPEC), {"name": "small"})
    served = Hub(tmp_path / "repo")
    yield served
    served.close()


PROGRAM = """
import json, sys
from eqr_ray.model.checkpoint import load
from eqr_ray.types import InputError
for uri in json.loads(sys.argv[1]):
    try:
        found = load(uri)
        print(json.dumps([found.name, found.sha256, found.card.get("name")]))
    except InputError as error:
        print(json.dumps(str(error)))
"""


def load_in_a_process(uris: list[str], cache: Path, **environment: str) -> list[object]:
    """Load checkpoints where the Hub's client reads its settings afresh."""
    settings = {
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(uris)],
        env={**os.environ, **settings, **environment}, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_checkpoint_is_fetched_checked_and_then_had_without_a_network(hub: Hub, tmp_path: Path) -> None:
    digest = hashlib.sha256((tmp_path / "repo" / "small" / "model.safetensors").read_bytes()).hexdigest()
    shutil.copytree(tmp_path / "repo" / "small", tmp_path / "repo" / "changed")
    hub.stated["changed/model.safetensors"] = "1" * 64
    (tmp_path / "repo" / "eqr.pth").write_bytes(b"no checkpoint")
    uri, cache = "hf://locuslab/tiny/small", tmp_path / "cache"
    plain, right, wrong, missing, nobody, published, changed = load_in_a_process(
        [
            uri, f"{uri}#sha256={digest}", f"{uri}#sha256={'0' * 64}", "hf://locuslab/tiny/large",
            "hf://nobody/nothing/small", "hf://locuslab/tiny/eqr.pth",
            "hf://locuslab/tiny/changed",
        ],
        cache, HF_ENDPOINT=hub.address,
    )  # fmt: skip
    assert plain == [uri, digest, "small"]
    assert right == [f"{uri}#sha256={digest}", digest, "small"]
    assert f"sha256 {digest}" in str(wrong)
    assert "0000" in str(wrong)
    assert "has no file large/model.safetensors" in str(missing)
    assert "nobody/nothing" in str(nobody)
    assert "eqr.pth" in str(published)
    assert "the Hub states 1111" in str(changed)
    # The same weights without a network, and other ones that were never fetched.
    had, never = load_in_a_process([uri, "hf://locuslab/tiny/large"], cache, HF_HUB_OFFLINE="1")
    assert had == plain
    assert "not fetched before" in str(never)


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install 'eqr-ray\[hub\]'"):
        fetch("hf://locuslab/tiny/small")


def test_addresses() -> None:
    digest = "ab" * 32
    found = HubAddress.parse(f"hf://locuslab/EqR-model@v1.0/sudoku-extreme/eqr.pth#sha256={digest.upper()}")
    assert found == HubAddress("locuslab/EqR-model", "sudoku-extreme/eqr.pth", "v1.0", digest)
    assert HubAddress.parse("hf://a/b/c/") == HubAddress("a/b", "c")
    for wrong in ("hf://a/b", "hf://a", "hf://a/b/c#sha256=12", "hf://a/b/c#md5=12", "hf://"):
        with pytest.raises(InputError, match="hf://OWNER/REPOSITORY"):
            HubAddress.parse(wrong)
