"""Checkpoints on the Hugging Face Hub: `hf://owner/repository[@revision]/path[#sha256=HEX]`.

The path names a checkpoint folder of ours, or a published `.pth` file, which is converted without running what is pickled in it.
Invariants, asserted in tests/unit/model/test_hub.py: weights whose digest is not the one asked for, or not the one that the Hub states,
are refused; without a network what was fetched before still loads; a missing package, network or file is one InputError sentence.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqr_ray.types import InputError

if TYPE_CHECKING:
    from eqr_ray.model.checkpoint import CheckpointFiles

SCHEME = "hf://"
_ADDRESS = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+?))?/(?P<path>[^#@]+?)/?(?:#sha256=(?P<sha256>[0-9a-fA-F]{64}))?"
)
TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A file or folder of a repository of models."""

    repo: str
    path: str
    revision: str | None = None
    sha256: str | None = None
    """Of the weights file: `model.safetensors` or the `.pth`."""

    @classmethod
    def parse(cls, uri: str) -> HubAddress:
        """Return the parts of a URI; InputError for one that is not of this form."""
        found = _ADDRESS.fullmatch(uri)
        if found is None:
            raise InputError(
                f"{uri}: a checkpoint on the Hugging Face Hub is named hf://OWNER/REPOSITORY[@REVISION]/PATH[#sha256=64 hex digits], "
                "such as hf://locuslab/EqR-model/sudoku-extreme/eqr.pth; correct it"
            )
        digest = found["sha256"]
        return cls(found["repo"], found["path"], found["revision"], digest.lower() if digest else None)


def fetch_from_hub(uri: str) -> CheckpointFiles:
    """Download (or find in the Hub's cache) a checkpoint; InputError when it cannot be had or its digest is wrong."""
    from eqr_ray.model.checkpoint import CALIBRATION, CARD, SPEC, WEIGHTS, read_folder

    address = HubAddress.parse(uri)
    hub = _Hub(address, uri)
    if address.path.lower().endswith(".pth"):
        return _converted(hub, address, uri)
    weights = hub.file(f"{address.path}/{WEIGHTS}")
    hub.check(weights, f"{address.path}/{WEIGHTS}")
    hub.file(f"{address.path}/{SPEC}")
    for name in (CARD, CALIBRATION):
        hub.optional_file(f"{address.path}/{name}")
    return read_folder(str(weights.parent), uri)


def _converted(hub: _Hub, address: HubAddress, uri: str) -> CheckpointFiles:
    from eqr_ray.model.checkpoint import read_folder
    from eqr_ray.model.convert import SETTINGS_FILES, convert_published

    source = hub.file(address.path)
    hub.check(source, address.path)
    folder, _, _ = address.path.rpartition("/")
    for name in SETTINGS_FILES:
        hub.optional_file(f"{folder}/{name}" if folder else name)
    with tempfile.TemporaryDirectory() as place:
        convert_published(source, Path(place) / "converted")
        return read_folder(str(Path(place) / "converted"), uri)


class _Hub:
    """One repository, through the Hub's own client and its cache."""

    def __init__(self, address: HubAddress, uri: str) -> None:
        try:
            import huggingface_hub
        except ImportError:
            raise InputError(
                f"{uri}: the package huggingface_hub fetches weights from the Hub and is not installed; "
                "`pip install 'eqr-ray[hub]'`, or give a folder"
            ) from None
        self.client: Any = huggingface_hub
        self.address, self.uri = address, uri

    def file(self, path: str) -> Path:
        """Return where a file of the repository lies on this machine."""
        found = self.optional_file(path)
        if found is None:
            revision = f" at {self.address.revision}" if self.address.revision else ""
            raise InputError(
                f"{self.uri}: {self.address.repo}{revision} has no file {path}, or does not exist, or asks for a login; "
                "correct the address or log in with `hf auth login`"
            )
        return found

    def optional_file(self, path: str) -> Path | None:
        """Return where a file lies on this machine, None where the repository has none such."""
        from huggingface_hub import errors

        try:
            return Path(
                self.client.hf_hub_download(
                    self.address.repo, path, revision=self.address.revision, etag_timeout=TIMEOUT_S
                )
            )
        except errors.LocalEntryNotFoundError as error:
            if path.endswith((".pth", ".safetensors")):
                raise self._unreachable(error) from None
            return None
        except (errors.EntryNotFoundError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
            return None
        except (errors.HfHubHTTPError, OSError, ValueError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> InputError:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return InputError(
            f"{self.uri}: cannot be fetched from the Hub and was not fetched before ({reason[:200]}); "
            "check the network (HF_ENDPOINT, HF_HUB_OFFLINE), or give a folder"
        )

    def check(self, file: Path, path: str) -> None:
        """Compare a file's digest with the one asked for, or else with the one under which the Hub's cache keeps large files."""
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        wanted, whose = self.address.sha256, "the address asks for"
        if wanted is None:
            # Large files lie in the cache under the digest that the Hub states for them.
            kept_as = file.resolve().name
            wanted, whose = (kept_as, "the Hub states") if re.fullmatch(r"[0-9a-f]{64}", kept_as) else (found, "")
        if found != wanted:
            raise InputError(
                f"{self.uri}: {path} has sha256 {found}, {whose} {wanted}; it was changed or damaged on the way: "
                "delete it from the cache and fetch it again, or correct the digest"
            )
