"""Detections as files: full ones, the rest, each once, under the header of the contract."""

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from training_assets.errors import ChunkError
from training_assets.lake import Store, open_store
from training_assets.transactions.database import Database
from training_assets.transactions.export import close_file, export_files
from training_assets_tests.support.s3 import S3Place
from training_assets_tests.unit.transactions.totals import State, Total

HEADER = "YStartTime(IST),detectionTime(IST),patternId,ActionType,customerName,MerchantId"


def children(first: int, count: int) -> list[Total]:
    return [Total("M", f"C{number:04d}", 80) for number in range(first, first + count)]


def names(store: Store) -> list[str]:
    return [entry.path for entry in store.child("detections").list() if entry.path.endswith(".csv")]


def rows(store: Store, name: str) -> list[dict[str, str]]:
    text = store.child("detections").read(name).decode()
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("place", ["local", "s3"])
def test_120_detections_are_files_of_50_50_and_20(
    database: Database, tmp_path: Path, s3_server: S3Place, place: str
) -> None:
    store = open_store(tmp_path if place == "local" else s3_server.new_url())
    state = State(database)
    state.apply(*children(0, 70))
    assert export_files(database, store) == 1
    state.apply(*children(70, 50))
    assert export_files(database, store) == 1
    close_file(database)
    close_file(database)
    assert export_files(database, store) == 1
    assert export_files(database, store) == 0
    assert names(store) == [
        "detections-000000000001-000000000050.csv",
        "detections-000000000051-000000000100.csv",
        "detections-000000000101-000000000120.csv",
    ]
    found = [rows(store, name) for name in names(store)]
    assert [len(file) for file in found] == [50, 50, 20]
    customers = [row["customerName"] for file in found for row in file]
    assert customers == [f"C{number:04d}" for number in range(120)]
    for name in names(store):
        table = pq.read_table(io.BytesIO(store.child("detections").read(name[:-3] + "parquet")))
        assert table.to_pylist() == rows(store, name)


def test_a_file_has_every_field_of_the_record_and_times_in_ist(
    database: Database, tmp_path: Path
) -> None:
    store, state = open_store(tmp_path), State(database)
    women = [Total("A", f"F{i}", 1, "50", "F") for i in range(101)]
    men = [Total("A", f"M{i}", 1, "50", "M") for i in range(102)]
    state.apply(Total("M,1", 'C"0', 80), *women, *men)
    # The state's start is 18:29:59 UTC, one second before midnight in India.
    database.run(lambda c: c.execute("UPDATE detections SET detected_at = '2026-03-01 18:30:00Z'"))
    close_file(database)
    export_files(database, store)
    (name,) = names(store)
    assert store.child("detections").read(name).decode().splitlines() == [
        HEADER,
        '2026-03-01 23:59:59,2026-03-02 00:00:00,PatId2,CHILD,"C""0","M,1"',
        "2026-03-01 23:59:59,2026-03-02 00:00:00,PatId3,DEI-NEEDED,,A",
    ]
    assert [row["customerName"] for row in rows(store, name)] == ['C"0', ""]


def test_files_that_were_put_and_not_marked_are_put_again_alike(
    database: Database, tmp_path: Path
) -> None:
    store, state = open_store(tmp_path), State(database)
    state.apply(*children(0, 50))
    export_files(database, store)
    before = rows(store, names(store)[0])
    database.run(lambda c: c.execute("UPDATE detection_files SET exported_at = NULL"))
    assert export_files(database, store) == 1
    assert rows(store, names(store)[0]) == before


def test_a_file_that_holds_something_else_is_an_error(database: Database, tmp_path: Path) -> None:
    store, state = open_store(tmp_path), State(database)
    state.apply(*children(0, 50))
    store.child("detections").put("detections-000000000001-000000000050.csv", b"mine")
    with pytest.raises(ChunkError, match="holds other detections than the database"):
        export_files(database, store)
    assert store.child("detections").read(names(store)[0]) == b"mine"


def test_one_chunk_can_fill_several_files(database: Database, tmp_path: Path) -> None:
    store, state = open_store(tmp_path), State(database, file_rows=7)
    state.apply(*children(0, 22))
    export_files(database, store)
    assert [len(rows(store, name)) for name in names(store)] == [7, 7, 7]


def test_an_end_is_written_with_emit_changes(database: Database, tmp_path: Path) -> None:
    store, state = open_store(tmp_path), State(database, emit="changes")
    state.apply(*children(0, 1))
    state.apply(Total("M", "C0000", 1, "9999"))
    close_file(database)
    export_files(database, store)
    assert [row["ActionType"] for row in rows(store, names(store)[0])] == ["CHILD", "CHILD-ENDED"]
