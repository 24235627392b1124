from __future__ import annotations

from pathlib import Path

import pytest

from eqr_ray.tuning.storage import JOURNAL, open_study, repair
from eqr_ray.tuning.study import sampler
from eqr_ray.types import InputError


def test_a_line_cut_short_is_removed_and_the_study_goes_on(tmp_path: Path) -> None:
    study = open_study(str(tmp_path), None, "s", sampler(0, 0), resume=False)
    study.tell(study.ask(), [0.5, 1.0])
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    again = open_study(str(tmp_path), None, "s", sampler(1, 0), resume=True)
    assert journal.read_bytes().startswith(whole)
    again.tell(again.ask(), [0.6, 1.0])
    assert len(open_study(str(tmp_path), None, "s", sampler(2, 0), resume=True).trials) == 2


def test_a_whole_journal_is_left_alone(tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL
    assert not repair(journal)
    journal.write_bytes(b"one\ntwo\n")
    assert not repair(journal)
    assert journal.read_bytes() == b"one\ntwo\n"


def test_a_study_is_continued_only_when_asked_and_only_as_the_same(tmp_path: Path) -> None:
    open_study(str(tmp_path), None, "s", sampler(0, 0), resume=False)
    with pytest.raises(InputError, match="go on with it by --resume"):
        open_study(str(tmp_path), None, "s", sampler(0, 0), resume=False)
    with pytest.raises(InputError, match="policies or bounds differ"):
        open_study(str(tmp_path), None, "other", sampler(0, 0), resume=True)


def test_a_database_serves_as_storage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    study = open_study(str(tmp_path), url, "s", sampler(0, 0), resume=False)
    study.tell(study.ask(), [0.5, 1.0])
    assert len(open_study(str(tmp_path), url, "s", sampler(1, 0), resume=True).trials) == 1
    assert not (tmp_path / JOURNAL).exists()


def test_a_storage_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened") as problem:
        open_study(str(tmp_path), "sqlite:////nowhere/at/all/study.db", "s", sampler(0, 0), resume=False)
    assert "\n" not in str(problem.value)
