from dataclasses import fields
from pathlib import Path

import pytest

from eqr_ray.config import EvaluateConfig
from eqr_ray.evaluation.verdicts import VERDICT_SCHEMA, VerdictRow
from eqr_ray.runs.folder import Folder, Session
from eqr_ray.types import InputError

ROW = VerdictRow(
    puzzle_id="p1", source="s", question="1...", answer=None, prediction="1234", exact=None, valid=True, confidence=0.5,
    votes=1, distinct_answers=1, breadth=1, depth=4, nfe=4, residual=None, stop="converged", task="sudoku4",
    selection="majority", rating=None, n_cells=16, n_cells_right=None, any_correct=None, majority_exact=None,
    top1_residual_exact=None, top1_logit_exact=None, correct_votes=None,
)  # fmt: skip


def config(out: Path, **changes: object) -> EvaluateConfig:
    return EvaluateConfig.model_validate({"puzzles": "p.csv", "out": str(out), **changes})


def begun(out: Path) -> Folder:
    """Return the folder of a run with one verdict and one session."""
    folder = Folder(config(out), "aaaa")
    folder.begin()
    folder.ledger.append([{field.name: getattr(ROW, field.name) for field in fields(ROW)}])
    folder.ledger.flush()
    folder.write_sessions(
        Session(wall_s=2.0, nfe_computed=4, lost_slices=1, replicas=2, device="cpu", checkpoint_sha256="aaaa")
    )
    return folder


def test_opening_a_folder_writes_nothing(tmp_path: Path):
    folder = Folder(config(tmp_path / "a" / "b"))
    assert not (tmp_path / "a").exists()
    folder.begin()
    assert sorted(file.name for file in (tmp_path / "a" / "b").iterdir()) == ["config.json"]


@pytest.mark.parametrize("name", ["config.json", "summary.json", "report.html"])
@pytest.mark.parametrize("resume", [False, True])
def test_files_of_somebody_else_are_not_replaced(tmp_path: Path, name: str, resume: bool):
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(InputError, match=f"holds a {name} that no evaluation wrote"):
        Folder(config(tmp_path, resume=resume))


def test_a_folder_with_verdicts_is_refused_unless_the_run_resumes(tmp_path: Path):
    begun(tmp_path)
    with pytest.raises(InputError, match="--resume, or choose another folder"):
        Folder(config(tmp_path), "aaaa")
    again = Folder(config(tmp_path, resume=True), "aaaa")
    assert again.finished == {"p1"}
    assert [session.nfe_computed for session in again.sessions] == [4]


def test_a_folder_that_was_begun_and_has_no_verdict_is_free(tmp_path: Path):
    Folder(config(tmp_path)).begin()
    assert Folder(config(tmp_path)).finished == set()


def test_a_run_resumes_only_with_what_its_verdicts_depend_on(tmp_path: Path):
    begun(tmp_path)
    with pytest.raises(InputError, match=r"seed: 0 -> 7"):
        Folder(config(tmp_path, resume=True, seed=7), "aaaa")
    with pytest.raises(InputError, match=r"other weights \(sha256 aaaa -> bbbb\)"):
        Folder(config(tmp_path, resume=True), "bbbb")
    Folder(config(tmp_path, resume=True, replicas=9, limit=3), "aaaa")


def test_verdicts_without_their_configuration_are_not_gone_on_with(tmp_path: Path):
    begun(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"config.json is missing or of another version"):
        Folder(config(tmp_path, resume=True), "aaaa")


def test_damaged_totals_of_earlier_sessions_are_named(tmp_path: Path):
    begun(tmp_path)
    (tmp_path / "sessions.json").write_text("[{")
    with pytest.raises(InputError, match=r"sessions.json is damaged; remove it"):
        Folder(config(tmp_path, resume=True), "aaaa")


def test_totals_of_all_sessions_are_kept(tmp_path: Path):
    begun(tmp_path)
    again = Folder(config(tmp_path, resume=True), "aaaa")
    again.write_sessions(Session(nfe_computed=10, checkpoint_sha256="aaaa"))
    third = Folder(config(tmp_path, resume=True), "aaaa")
    assert [session.nfe_computed for session in third.sessions] == [4, 10]


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="out must be a folder, got the file"):
        Folder(config(tmp_path / "file"))
    with pytest.raises(InputError, match="is not a folder to write to"):
        Folder(config(tmp_path / "file" / "below"))
    assert (tmp_path / "file").read_text() == "mine"


def test_no_half_written_file_stays_behind(tmp_path: Path):
    folder = Folder(config(tmp_path))
    folder.write("summary.json", "{}")
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_a_row_has_the_columns_of_the_schema():
    assert [field.name for field in fields(VerdictRow)] == VERDICT_SCHEMA.names
