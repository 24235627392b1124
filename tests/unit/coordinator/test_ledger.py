from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eqr_ray.coordinator import Ledger
from eqr_ray.types import InputError

SCHEMA = pa.schema([("puzzle_id", pa.string()), ("nfe", pa.int64())])


def rows(*numbers: int) -> list[dict[str, object]]:
    return [{"puzzle_id": f"p{n}", "nfe": n} for n in numbers]


def test_flushed_rows_are_known_to_a_ledger_opened_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "verdicts", SCHEMA)
    assert ledger.finished_ids() == set()
    ledger.append(rows(1, 2))
    ledger.flush()
    ledger.append(rows(3))
    again = Ledger(str(tmp_path / "verdicts"), SCHEMA)
    assert again.finished_ids() == {"p1", "p2"}
    ledger.flush()
    assert Ledger(f"file://{tmp_path}/verdicts/", SCHEMA).finished_ids() == {"p1", "p2", "p3"}


def test_parts_are_numbered_on_and_never_changed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SCHEMA)
    ledger.append(rows(1))
    ledger.flush()
    first = (tmp_path / "part-00000.parquet").read_bytes()
    again = Ledger(tmp_path, SCHEMA)
    again.append(rows(2))
    again.flush()
    again.flush()
    assert again.parts == ("part-00000.parquet", "part-00001.parquet")
    assert (tmp_path / "part-00000.parquet").read_bytes() == first
    assert again.table().column("nfe").to_pylist() == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == list(again.parts)


def test_a_full_part_is_written_without_being_asked(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SCHEMA, part_rows=3)
    ledger.append(rows(1, 2))
    assert (ledger.parts, ledger.n_waiting) == ((), 2)
    ledger.append(rows(3, 4))
    assert (ledger.parts, ledger.n_waiting) == (("part-00000.parquet",), 0)


def test_what_a_crash_left_half_written_is_removed_and_never_read(tmp_path: Path) -> None:
    (tmp_path / ".part-00000.parquet.torn-4711").write_bytes(b"PAR1 half")
    (tmp_path / "notes.txt").write_text("mine")
    ledger = Ledger(tmp_path, SCHEMA)
    assert ledger.finished_ids() == set()
    ledger.refresh()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


def test_a_damaged_part_is_refused_with_its_name(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SCHEMA)
    ledger.append(rows(1))
    ledger.flush()
    part = tmp_path / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(InputError, match=r"part-00000\.parquet: a part of the ledger must be a whole Parquet file"):
        Ledger(tmp_path, SCHEMA).finished_ids()


def test_a_part_of_another_schema_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"puzzle_id": [1]}), tmp_path / "part-00000.parquet")
    with pytest.raises(InputError, match="must have the columns"):
        Ledger(tmp_path, SCHEMA).table()


def test_a_row_with_other_columns_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, SCHEMA)
    with pytest.raises(ValueError, match="a row must have the columns"):
        ledger.append([*rows(1), {"puzzle_id": "p2"}])
    assert ledger.n_waiting == 0


def test_two_writers_do_not_overwrite_each_other(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path, SCHEMA), Ledger(tmp_path, SCHEMA)
    first.append(rows(1))
    first.flush()
    second.append(rows(2))
    with pytest.raises(RuntimeError, match="only one run may write"):
        second.flush()
    assert Ledger(tmp_path, SCHEMA).finished_ids() == {"p1"}


def test_a_uri_nobody_can_write_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="results go to a local folder or to s3://"):
        Ledger("ftp://host/folder", SCHEMA)


def test_parts_beyond_five_digits_stay_in_order(tmp_path: Path) -> None:
    for name in ("part-100000.parquet", "part-99999.parquet"):
        pq.write_table(pa.Table.from_pylist(rows(len(name)), schema=SCHEMA), tmp_path / name)
    ledger = Ledger(tmp_path, SCHEMA)
    assert ledger.parts == ("part-99999.parquet", "part-100000.parquet")
    ledger.append(rows(1))
    ledger.flush()
    assert ledger.parts[-1] == "part-100001.parquet"
