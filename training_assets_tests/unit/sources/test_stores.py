"""Raw data in an object store is listed by the same rules and read to the same rows."""

import gzip
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from training_assets.errors import RawDataError, TrainingAssetsError
from training_assets.lake import Lake, RemoteStore
from training_assets.schemas import CLICKS, IMPRESSIONS, PREVIOUS_ORDERS, RAW_INTERACTIONS, Table
from training_assets.sources import (
    RawDays,
    files_of_days,
    find_raw_days,
    fingerprint,
    flat_days,
    source_days,
    whole_file,
)
from training_assets.sources.local import LocalListing
from training_assets.sources.remote import RemoteListing
from training_assets_tests.support.faulty_days import file_of
from training_assets_tests.support.frames import DAY, before
from training_assets_tests.support.raw_input import csv_lines, orders, parse_all, put
from training_assets_tests.support.s3 import S3Place

FOLDER = f"clicks/dt={DAY}"
ENDINGS = ["parquet", "jsonl", "csv", "jsonl.gz", "csv.gz"]
GOOD = b"customer_id,item_id\n7,5\n"


@pytest.fixture
def lake(s3_server: S3Place) -> Lake:
    return Lake.at(s3_server.new_url())


def content_of(table: Table, ending: str) -> bytes:
    plain = file_of(table, DAY, ending.removesuffix(".gz"))
    return gzip.compress(plain, mtime=0) if ending.endswith(".gz") else plain


def rows_of(found: RawDays) -> tuple[list[Any], list[Any]]:
    valid, rejects = (parse_all(found, wants_rejects=wants) for wants in (False, True))
    return valid, rejects


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("table", [CLICKS, IMPRESSIONS], ids=lambda table: table.name)
def test_rows_are_those_of_a_local_file(
    lake: Lake, tmp_path: Path, table: Table, ending: str
) -> None:
    content = content_of(table, ending)
    put(tmp_path, f"a.{ending}", content, table)
    lake.raw.put(f"{table.name}/dt={DAY}/a.{ending}", content)
    found, expected = (find_raw_days(at, table, [DAY]) for at in (lake, Lake.at(tmp_path)))
    assert len(rows_of(expected)[0]) == 40
    assert rows_of(found) == rows_of(expected)
    assert found.count_rows() == expected.count_rows() == {DAY: 40}


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_parts_of_a_large_file_are_those_of_a_local_one(
    lake: Lake, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_assets.sources.header._BYTES_PER_TASK", 256)
    content = content_of(CLICKS, ending)
    put(tmp_path, f"a.{ending}", content)
    lake.raw.put(f"{FOLDER}/a.{ending}", content)
    parts = [
        [(task.start, task.stop) for task in find_raw_days(at, CLICKS, [DAY]).tasks]
        for at in (lake, Lake.at(tmp_path))
    ]
    assert parts[0] == parts[1]
    assert len(parts[0]) > len(content) // 512


@pytest.mark.parametrize("name", ["a b.csv", "100%20x.csv", "ü#?&=+.csv", "[1]{2}.csv", "a:b.csv"])
def test_names_may_hold_what_urls_give_a_meaning_to(lake: Lake, name: str) -> None:
    lake.raw.put(f"{FOLDER}/hour=01/{name}", GOOD)
    found = find_raw_days(lake, CLICKS, [DAY])
    assert [file.name for file in found.files()] == [f"raw/{FOLDER}/hour=01/{name}"]
    assert len(rows_of(found)[0]) == 1


def test_engines_read_what_they_read_from_a_local_lake(
    lake: Lake, tmp_path: Path, spark: SparkSession
) -> None:
    for ending in ENDINGS:
        content = content_of(CLICKS, ending)
        put(tmp_path, f"a.{ending}", content)
        lake.raw.put(f"{FOLDER}/a.{ending}", content)
    lake.raw.put(f"{FOLDER}/b.csv", b"customer_id,item_id\n,1\n")
    put(tmp_path, "b.csv", b"customer_id,item_id\n,1\n")
    for read in (RawDays.read_valid, RawDays.read_rejects):
        found, expected = (
            sorted(map(tuple, read(find_raw_days(at, CLICKS, [DAY]), spark).collect()))
            for at in (lake, Lake.at(tmp_path))
        )
        assert found == expected
        assert len(found) == (200 if read is RawDays.read_valid else 1)


def test_rows_of_large_parquet_are_read_in_parts(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_assets.sources.header._ROWS_PER_TASK", 10)
    rows = pa.table({"customer_id": range(1, 41), "item_id": range(1, 41)})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, row_group_size=10)
    lake.raw.put(f"{FOLDER}/a.parquet", sink.getvalue().to_pybytes())
    found = find_raw_days(lake, CLICKS, [DAY])
    assert len(found.tasks) == 4
    assert sorted(row["item_id"] for row in rows_of(found)[0]) == list(range(1, 41))


def test_object_that_is_gone_is_named_without_any_secret(lake: Lake, s3_server: S3Place) -> None:
    lake.raw.put(f"{FOLDER}/a.csv", GOOD)
    found = find_raw_days(lake, CLICKS, [DAY])
    lake.raw.delete([f"{FOLDER}/a.csv"])
    with pytest.raises(RawDataError) as caught:
        rows_of(found)
    assert f"raw/{FOLDER}/a.csv: the file cannot be read as csv" in str(caught.value)
    for text in (str(caught.value), repr(found), repr(lake)):
        assert s3_server.secret not in text


# --- how days are known ---------------------------------------------------------------------------


def test_fingerprint_is_size_and_etag_and_tells_other_content_of_the_same_size(lake: Lake) -> None:
    lake.raw.put(f"{FOLDER}/a.csv", GOOD)
    ((name, size, etag),) = fingerprint(CLICKS, DAY, files_of_days(lake, CLICKS, [DAY]))
    assert (name, size) == (f"raw/{FOLDER}/a.csv", len(GOOD))
    assert isinstance(etag, str)
    assert etag.startswith('"')
    lake.raw.put(f"{FOLDER}/a.csv", GOOD.replace(b"5", b"6"))
    ((_, same_size, other),) = fingerprint(CLICKS, DAY, files_of_days(lake, CLICKS, [DAY]))
    assert same_size == size
    assert other != etag


def test_what_is_recorded_is_what_was_listed(lake: Lake) -> None:
    lake.raw.put(f"{FOLDER}/a.csv", GOOD)
    found = find_raw_days(lake, CLICKS, [DAY])
    before_it = fingerprint(CLICKS, DAY, found.files())
    lake.raw.put(f"{FOLDER}/a.csv", GOOD * 2)
    assert fingerprint(CLICKS, DAY, RawDays.of([found.by_day()[DAY]]).files()) == before_it


def test_table_is_listed_once_for_all_its_days(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    days = [before(n) for n in range(30)]
    lake.raw.put_all({f"clicks/dt={day}/a.csv": GOOD for day in days})
    listed: list[str] = []
    whole = RemoteStore.list

    def counting(store: RemoteStore, prefix: str = "") -> Any:
        listed.append(prefix)
        return whole(store, prefix)

    monkeypatch.setattr(RemoteStore, "list", counting)
    known = source_days(lake, CLICKS)
    for day in days:
        assert len(files_of_days(lake, CLICKS, [day], known)) == 1
        assert len(find_raw_days(lake, CLICKS, [day], known).tasks) == 1
    assert listed == ["clicks"]


def test_flat_orders_are_read_once_and_remembered_in_the_store(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.raw.put("previous_orders/o.csv", csv_lines(orders(before(3), before(1))).encode())
    found = source_days(lake, PREVIOUS_ORDERS)
    assert found.days == (before(3), before(1))
    (file,) = files_of_days(lake, PREVIOUS_ORDERS, [DAY], found)
    ((_, size, etag),) = fingerprint(PREVIOUS_ORDERS, DAY, [file])
    (cached,) = lake.store.list("_cache")

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr("training_assets.sources.flat._judge_all", refuse)
        assert source_days(lake, PREVIOUS_ORDERS) == found
        again = flat_days(lake, PREVIOUS_ORDERS, whole_file(file), size, etag)
        assert list(again) == [str(before(3)), str(before(1))]
        lake.store.put(cached.path, b"{broken")
        with pytest.raises(AssertionError, match="read again"):
            source_days(lake, PREVIOUS_ORDERS)
    assert source_days(lake, PREVIOUS_ORDERS) == found


def test_missing_day_is_named_with_what_an_empty_one_needs(lake: Lake) -> None:
    lake.raw.put(f"{FOLDER}/a.csv", GOOD)
    with pytest.raises(RawDataError) as caught:
        files_of_days(lake, CLICKS, [before(-1)])
    folder = f"{lake.store.url}/raw/clicks/dt={before(-1)}"
    assert f"expected the folder {folder} (with an object _SUCCESS, where" in str(caught.value)


# --- objects that stand for folders ---------------------------------------------------------------


def make_folder(lake: Lake, path: str) -> None:
    """As tools do: an object whose name ends in a slash."""
    filesystem, bucket = pafs.FileSystem.from_uri(lake.raw.url.rpartition("/")[0])
    filesystem.create_dir(f"{bucket}/raw/{path}")


@pytest.mark.parametrize("mark", ["", "_SUCCESS", ".keep", "_$folder$"])
def test_empty_day_is_a_folder_object_or_a_mark(lake: Lake, mark: str) -> None:
    if mark.startswith("_$"):
        lake.raw.put(f"{FOLDER}{mark}", b"")
        # What Hadoop's folders leave when the work in them is done.
        lake.raw.put(f"{FOLDER}/_temporary{mark}", b"")
    elif mark:
        lake.raw.put(f"{FOLDER}/{mark}", b"")
    else:
        make_folder(lake, FOLDER)
    assert source_days(lake, CLICKS).days == (DAY,)
    assert find_raw_days(lake, CLICKS, [DAY]).count_rows() == {DAY: 0}


def test_folder_objects_beside_data_are_of_no_account(lake: Lake) -> None:
    make_folder(lake, f"{FOLDER}/hour=03")
    lake.raw.put(f"{FOLDER}/hour=03/a.csv", GOOD)
    make_folder(lake, "clicks/archive")
    make_folder(lake, "clicks/dt=__HIVE_DEFAULT_PARTITION__")
    assert source_days(lake, CLICKS).days == (DAY,)
    assert find_raw_days(lake, CLICKS, [DAY]).count_rows() == {DAY: 1}


def test_folder_object_of_unfinished_work_is_refused(lake: Lake) -> None:
    make_folder(lake, f"{FOLDER}/_temporary/0")
    with pytest.raises(
        RawDataError, match=r"holds only what an unfinished writer left \(dt=.*/_temporary\)"
    ):
        find_raw_days(lake, CLICKS, [DAY])


# --- the same rules -------------------------------------------------------------------------------

DAYS = [before(2), before(1), DAY]
names = st.sampled_from(["a.csv", "b.jsonl.gz", "c.xlsx", "_SUCCESS", ".a.csv.x", "a.parquet"])
folders = st.sampled_from(
    [f"dt={day}" for day in DAYS]
    + [f"order_date={DAY}", "dt=20240510", "dt=x", f"{DAY}", "archive", "_old", "year=2024"]
)
inner = st.sampled_from(["", "", "hour=03/", "_temporary/0/", ".x/"])
trees = st.sets(
    st.builds("{}/{}{}".format, folders, inner, names) | names | st.just("dt=2024-05-09.csv"),
    max_size=5,
)


def told(lake: Lake, table: Table, days: list[date]) -> Any:
    """What listing says of days, whatever it is, without where the lake lies."""
    try:
        known = source_days(lake, table)
        files = files_of_days(lake, table, days, known)
    except TrainingAssetsError as error:
        text = str(error).replace(lake.store.url, "LAKE")
        return type(error), text.replace(RemoteListing.empty_day, LocalListing.empty_day)
    return known, [(file.name, file.format, file.day) for file in files]


@given(paths=trees)
@pytest.mark.parametrize("table", [CLICKS, PREVIOUS_ORDERS], ids=lambda table: table.name)
def test_any_tree_is_listed_as_on_a_disk(
    s3_server: S3Place, tmp_path_factory: pytest.TempPathFactory, table: Table, paths: set[str]
) -> None:
    lakes = [Lake.at(s3_server.new_url()), Lake.at(tmp_path_factory.mktemp("lake"))]
    content = csv_lines(orders(before(2), DAY)).encode()
    for lake in lakes:
        # Flat files of other kinds than CSV would be read, and these are not what they say.
        kept = {p for p in paths if "/" in p or p.endswith(".csv")}
        lake.raw.put_all({f"{table.name}/{path}": content for path in kept})
    for days in (DAYS, [DAY], [before(1)]):
        remote, local = (told(lake, table, days) for lake in lakes)
        assert remote == local


def test_folders_of_years_are_read_beside_those_of_days(lake: Lake) -> None:
    row = b'{"user_id":"u","item_id":"i","interaction_type":"view","timestamp":"2024-05-10T10:00Z"}'
    for folder in (f"year={DAY.year}/month={DAY:%m}/day={DAY:%d}", f"dt={DAY}"):
        lake.raw.put(f"interactions/{folder}/a.jsonl", row)
    found = find_raw_days(lake, RAW_INTERACTIONS, [DAY])
    assert source_days(lake, RAW_INTERACTIONS).days == (DAY,)
    assert [len(rows) for rows in rows_of(found)] == [2, 0]
    assert all(file.name.startswith("raw/interactions/") for file in found.files())
    lake.raw.put(f"interactions/year={DAY.year}/b.jsonl", row)
    with pytest.raises(RawDataError, match=r"year=2024/b\.jsonl: the file is read for no day"):
        find_raw_days(lake, RAW_INTERACTIONS, [DAY])
