from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pytest

from eqr_ray.config import EvaluateConfig
from eqr_ray.evaluation.verdicts import VERDICT_SCHEMA, VerdictRow, to_table
from eqr_ray.runs.folder import Folder, Session
from eqr_ray.runs.manifest import MANIFEST, Superseded, read_manifest
from eqr_ray.storage import Held, Place
from eqr_ray.types import InputError

ROW = VerdictRow(
    puzzle_id="p1", source="s", question="1...", answer=None, prediction="1234", exact=None, valid=True, confidence=0.5,
    votes=1, distinct_answers=1, breadth=1, depth=4, nfe=4, residual=None, stop="converged", task="sudoku4",
    selection="majority", rating=None, n_cells=16, n_cells_right=None, any_correct=None, majority_exact=None,
    top1_residual_exact=None, top1_logit_exact=None, correct_votes=None,
)  # fmt: skip


def config(out: Path, **changes: object) -> EvaluateConfig:
    return EvaluateConfig.model_validate({"puzzles": "p.csv", "out": str(out), **changes})


def rows(*names: str) -> pa.Table:
    return to_table([replace(ROW, puzzle_id=name) for name in names])


def begun(out: Path) -> Folder:
    """Return the folder of a run with one verdict and one session."""
    folder = Folder(config(out), "aaaa")
    with folder.held():
        folder.begin(3)
        folder.commit(rows("p1"))
        folder.write_sessions(
            Session(wall_s=2.0, nfe_computed=4, lost_slices=1, replicas=2, device="cpu", checkpoint_sha256="aaaa")
        )
    return folder


def again(out: Path, **changes: object) -> Folder:
    return Folder(config(out, resume=True, **changes), "aaaa")


def test_opening_a_folder_writes_nothing(tmp_path: Path):
    folder = Folder(config(tmp_path / "a" / "b"))
    assert not (tmp_path / "a").exists()
    with folder.held():
        folder.begin(None)
    assert sorted(file.name for file in (tmp_path / "a" / "b").iterdir()) == ["config.json", "manifest.json"]


def test_a_second_run_is_refused_while_the_first_one_writes(tmp_path: Path):
    with (
        Folder(config(tmp_path)).held(),
        pytest.raises(Held, match=r"is being written by process \d+ on .*--shard i/n"),
    ):
        Folder(config(tmp_path)).held().__enter__()
    with Folder(config(tmp_path)).held():
        pass


def test_a_part_that_no_manifest_names_is_taken_in_once(tmp_path: Path):
    begun(tmp_path)
    folder = again(tmp_path)
    with folder.held():
        folder.ledger.write(rows("p2"))
        folder.ledger.write(rows("p2", "p3"))
        folder.ledger.write(rows("p1"))
    folder = again(tmp_path)
    with folder.held():
        assert sorted(folder.finished) == ["p1", "p2", "p3"]
        assert folder.manifest.rows == 3
        assert [part["puzzle_id"].to_pylist() for part in folder.ledger.tables()] == [["p1"], ["p2"], ["p3"]]


def test_a_folder_of_a_version_without_manifests_goes_on(tmp_path: Path):
    begun(tmp_path)
    (tmp_path / MANIFEST).unlink()
    folder = again(tmp_path)
    with folder.held():
        assert (folder.manifest.rows, folder.manifest.nfe) == (1, 4)


def test_a_driver_that_was_taken_over_adds_nothing(tmp_path: Path):
    begun(tmp_path)
    silent, successor = again(tmp_path), again(tmp_path)
    with silent.held():
        (tmp_path / "lock.json").unlink()
        with successor.held():
            successor.commit(rows("p2"))
            with pytest.raises(Superseded, match="another run has taken"):
                silent.commit(rows("p2", "p3"))
    manifest = read_manifest(Place(tmp_path))
    assert manifest is not None
    assert manifest.rows == 2
    assert len(list((tmp_path / "verdicts").iterdir())) == 2


def test_an_owner_goes_on_past_a_part_of_a_driver_that_was_taken_over(tmp_path: Path):
    silent = begun(tmp_path)
    with (owner := again(tmp_path)).held():
        silent.ledger.write(rows("p2"))
        owner.commit(rows("p2", "p3"))
        assert [part.name for part in owner.manifest.parts] == ["part-00000.parquet", "part-00002.parquet"]
        owner.complete()
    assert sorted(file.name for file in (tmp_path / "verdicts").iterdir()) == [
        "part-00000.parquet",
        "part-00002.parquet",
    ]


def test_a_damaged_manifest_is_named_with_what_to_do(tmp_path: Path):
    begun(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(InputError, match=r"manifest.json is damaged; remove it"), again(tmp_path).held():
        pass


def test_a_shard_has_a_folder_of_its_own(tmp_path: Path):
    assert Folder(config(tmp_path, shard="2/4")).place.root == str(tmp_path / "shards" / "2-of-4")


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
    folder = again(tmp_path)
    assert [session.nfe_computed for session in folder.sessions] == [4]
    with folder.held():
        assert list(folder.finished) == ["p1"]


def test_a_folder_that_was_begun_and_has_no_verdict_is_free(tmp_path: Path):
    with (folder := Folder(config(tmp_path))).held():
        folder.begin(1)
    with (folder := Folder(config(tmp_path))).held():
        assert len(folder.finished) == 0


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
    again(tmp_path).write_sessions(Session(nfe_computed=10, checkpoint_sha256="aaaa"))
    third = again(tmp_path)
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
