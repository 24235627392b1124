"""The shards of a run, made one run.

Invariants, asserted in tests/cli/test_run_commands.py: the merged folder is that of a run that was never split, but for the order of its
rows; a merge that was cut off goes on; shards of different work are not mixed; nothing of a shard is changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace

from eqr_ray.config import EvaluateConfig, first_difference
from eqr_ray.coordinator import Ledger
from eqr_ray.evaluation.report import write_report
from eqr_ray.evaluation.summary import SUMMARY_COLUMNS, CheckpointFacts, RunFacts, Running, Summary
from eqr_ray.evaluation.verdicts import VERDICT_SCHEMA
from eqr_ray.runs.folder import SESSIONS, SHARDS, SUMMARY, VERDICTS, Folder, Session, read_config, read_sessions
from eqr_ray.runs.manifest import Manifest, read_manifest
from eqr_ray.storage import Kind, Place
from eqr_ray.types import InputError, StorageError

_SHARD = re.compile(r"(\d+)-of-(\d+)\Z")


@dataclass(frozen=True, slots=True)
class _Share:
    """One shard's folder."""

    name: str
    place: Place
    config: EvaluateConfig
    manifest: Manifest
    sessions: tuple[Session, ...]
    summary: dict[str, object]

    @property
    def wall_s(self) -> float:
        return sum(session.wall_s for session in self.sessions)


def merge(run: str, partial: bool = False) -> Summary:
    """Merge the shards of a run's folder into it and return its summary; InputError where they are not all there.

    partial: merge what there is; merging again adds what the shards have done since.
    """
    place = Place(run)
    try:
        shares = _shares(place, partial)
    except StorageError as error:
        raise InputError(str(error)) from None
    whole = all(share.manifest.complete for share in shares) and len(shares) == _count(shares)
    config = shares[0].config.model_copy(update={"shard": None, "out": run, "resume": True})
    folder = Folder(config, str(shares[0].sessions[0].checkpoint_sha256 if shares[0].sessions else ""))
    with folder.held():
        folder.begin(sum(share.manifest.total or share.manifest.rows for share in shares) if whole else None)
        have = {part.origin for part in folder.manifest.parts}
        for share in shares:
            ledger = Ledger(share.place.at(VERDICTS).uri, VERDICT_SCHEMA)
            for part in share.manifest.parts:
                origin = f"{share.name}/{part.name}"
                if origin not in have:
                    folder.commit(ledger.read(part.name), origin)
        if whole:
            folder.complete()
        folder.write(SESSIONS, _sessions(shares))
        summary = _summary(folder, shares)
        folder.write(SUMMARY, summary.to_json())
        if summary.puzzles:
            write_report(folder.uri)
    return summary


def _shares(place: Place, partial: bool) -> list[_Share]:
    names = sorted(place.at(SHARDS).names(Kind.FOLDER))
    found = [match for match in map(_SHARD.match, names) if match]
    if not found:
        raise InputError(f"{place.uri} holds no {SHARDS}/; merge the --out folder of jobs that ran with --shard i/n")
    counts = {int(match[2]) for match in found}
    if len(counts) > 1:
        raise InputError(
            f"{place.uri}/{SHARDS} holds shares of {' and of '.join(map(str, sorted(counts)))}; keep those of one number only"
        )
    missing = sorted({*range(1, counts.pop() + 1)} - {int(match[1]) for match in found})
    if missing and not partial:
        raise InputError(
            f"{place.uri}/{SHARDS} lacks the shard {missing[0]}; run it with --shard {missing[0]}/{found[0][2]}, or give --partial"
        )
    shares = [_share(place.at(f"{SHARDS}/{match.string}"), match.string) for match in found]
    for share in shares:
        difference = first_difference(shares[0].config, share.config)
        if difference is not None:
            raise InputError(
                f"shards {shares[0].name} and {share.name} were made with different configurations ({difference}); "
                "run one of them again"
            )
        if not share.manifest.complete and not partial:
            raise InputError(
                f"shard {share.name} is not finished; go on with it by --shard {share.config.shard} --resume, or give --partial"
            )
    return shares


def _share(place: Place, name: str) -> _Share:
    config, manifest = read_config(place), read_manifest(place)
    if config is None or manifest is None:
        raise InputError(f"{place.uri} holds no evaluation that was begun; run the shard, or remove the folder")
    summary = json.loads(place.read(SUMMARY) or b"{}")
    return _Share(name, place, config, manifest, read_sessions(place), summary)


def _count(shares: list[_Share]) -> int:
    match = _SHARD.match(shares[0].name)
    assert match is not None
    return int(match[2])


def _sessions(shares: list[_Share]) -> str:
    return json.dumps([asdict(session) for share in shares for session in share.sessions], indent=1) + "\n"


def _summary(folder: Folder, shares: list[_Share]) -> Summary:
    """Return the numbers of the whole; shards ran beside each other, so the longest is the time it took."""
    running = Running()
    for part in folder.ledger.tables(list(SUMMARY_COLUMNS)):
        running.add(part)
    known = next((share.summary for share in shares if share.summary.get("checkpoint")), shares[0].summary)
    checkpoint, nle = known.get("checkpoint"), known.get("nle_mean")
    sessions = [session for share in shares for session in share.sessions]
    facts = RunFacts(
        nfe_computed=sum(session.nfe_computed for session in sessions),
        wall_s=max(share.wall_s for share in shares),
        replicas=sum(max((own.replicas for own in share.sessions), default=0) for share in shares),
        lost_slices=sum(session.lost_slices for session in sessions),
        storage_retries=sum(session.storage_retries for session in sessions),
        checkpoint=CheckpointFacts(**checkpoint) if isinstance(checkpoint, dict) else None,
        policy=shares[0].config.policy.model_dump(mode="json"),
        seed=shares[0].config.seed,
        version=str(known.get("version") or ""),
        device=", ".join(sorted({name for own in sessions for name in own.device.split(", ") if name})),
    )
    summary = running.summary(facts)
    nfe = known.get("nfe_mean")
    if isinstance(nle, float) and isinstance(nfe, float) and nfe and summary.nfe_mean is not None:
        summary = replace(summary, nle_mean=summary.nfe_mean * nle / nfe)
    return summary
