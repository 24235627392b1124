"""Where a study lives: a journal beside its results, or any database that Optuna knows.

Invariants, asserted in tests/unit/tuning/test_storage.py: a line that a crash cut short is removed before anything is appended; a study
that is there is continued only when asked for.
"""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from eqr_ray.types import InputError

JOURNAL = "study.journal"


def repair(journal: Path) -> bool:
    """Remove an unfinished last line; returns whether there was one. The next append would make it unreadable for good."""
    if not journal.exists():
        return False
    content = journal.read_bytes()
    if not content or content.endswith(b"\n"):
        return False
    with journal.open("r+b") as file:
        file.truncate(content.rfind(b"\n") + 1)
    return True


def open_storage(out: str, url: str | None) -> BaseStorage | str:
    """Return the storage of a study; InputError for a folder that cannot be written."""
    if url is not None:
        return url
    journal = Path(out) / JOURNAL
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        repair(journal)
        # A lock left by a killed process would block its successor.
        for lock in journal.parent.glob(f"{JOURNAL}*.lock"):
            lock.unlink()
        return JournalStorage(JournalFileBackend(str(journal)))
    except OSError as error:
        raise InputError(
            f"{journal} cannot be written ({error.strerror or error}); name another folder with --out"
        ) from None


def open_study(
    out: str, url: str | None, name: str, sampler: optuna.samplers.BaseSampler, resume: bool
) -> optuna.Study:
    """Return a study of that name with two objectives; InputError where one is there and `resume` was not asked for."""
    storage = open_storage(out, url)
    try:
        earlier = optuna.get_all_study_names(storage=storage)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"storage {url or out} cannot be opened ({reason}); check the address, or leave it out"
        ) from None
    if earlier and not resume:
        raise InputError(
            f"{url or out} holds the study {earlier[0]}; go on with it by --resume, or choose another folder with --out"
        )
    if earlier and name not in earlier:
        raise InputError(
            f"{url or out} holds the study {earlier[0]}, and this one is {name}: trace, split, policies or bounds differ; "
            "resume with the same, or choose another folder with --out"
        )
    study = optuna.create_study(
        storage=storage, study_name=name, sampler=sampler, directions=["maximize", "minimize"], load_if_exists=True
    )
    if not earlier:
        study.set_metric_names(["exact_accuracy", "log10_nfe"])
    return study
