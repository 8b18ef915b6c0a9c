"""Raw days and their files are found, or refused before a job starts, with the reason."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from training_assets.errors import RawDataError, SchemaError
from training_assets.lake import Lake
from training_assets.schemas import (
    ADD_TO_CARTS,
    CLICKS,
    PREVIOUS_ORDERS,
)
from training_assets.sources import (
    find_raw_days,
    fingerprint,
    source_days,
)
from training_assets_tests.support.frames import DAY, before, cart, click
from training_assets_tests.support.raw_input import (
    NOON,
    OUTSIDE,
    WRITE,
    clicks,
    each_format,
    orders,
    parse_all,
    put,
    put_rows,
    read,
)

# --- listing --------------------------------------------------------------------------------------


def test_missing_day_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    put_rows(tmp_path, "csv", clicks((1, 1)))
    with pytest.raises(RawDataError) as caught:
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY, before(-1)])
    folder = tmp_path / "raw" / "clicks" / f"dt={before(-1)}"
    assert f"clicks: raw day {before(-1)} is missing; expected the folder {folder}" in str(
        caught.value
    )


def test_missing_day_can_be_taken_as_empty(tmp_path: Path) -> None:
    put_rows(tmp_path, "csv", clicks((1, 1)), folder=f"dt={before(1)}")
    found = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY], allow_missing=True)
    assert (found.tasks, found.count_rows()) == ((), {DAY: 0})


def test_present_and_empty_day_is_a_day_without_rows(tmp_path: Path) -> None:
    (tmp_path / "raw" / "clicks" / f"dt={DAY}").mkdir(parents=True)
    assert read(tmp_path) == ([], [])
    assert find_raw_days(Lake.at(tmp_path), CLICKS, [DAY]).count_rows() == {DAY: 0}
    assert source_days(Lake.at(tmp_path), CLICKS).days == (DAY,)


def test_hidden_files_and_unknown_tables_are_ignored(tmp_path: Path) -> None:
    put_rows(tmp_path, "csv", clicks((1, 1)))
    for name in ("_SUCCESS", ".a.csv.crc", "_temporary/0/b.parquet", ".hidden.csv"):
        put(tmp_path, name, b"junk")
    for other in ("views", "clicks_old", "_clicks"):
        (tmp_path / "raw" / other / f"dt={DAY}").mkdir(parents=True)
        (tmp_path / "raw" / other / f"dt={DAY}" / "a.xlsx").write_bytes(b"junk")
    assert read(tmp_path) == ([click(1, 1, DAY, NOON)], [])


def test_files_in_folders_within_the_day_are_read(tmp_path: Path) -> None:
    put_rows(tmp_path, "csv", clicks((1, 1)), folder=f"dt={DAY}/hour=03")
    found = read(tmp_path)
    assert found.valid == [click(1, 1, DAY, NOON)]


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.parquet.gz", "a.csv.xz", "a.avro", "a.gz"])
def test_unknown_file_ending_is_an_error_that_names_those_known(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, b"junk")
    with pytest.raises(RawDataError) as caught:
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    assert f"raw/clicks/dt={DAY}/{name}: the format is not known by its ending" in str(caught.value)
    assert ".parquet, .parq, .json, .jsonl, .ndjson, .csv" in str(caught.value)


@pytest.mark.parametrize("name", ["a.PARQUET", "a.JSON", "a.ndjson", "a.CSV", "a.Jsonl.GZ"])
def test_ending_is_known_in_any_case(tmp_path: Path, name: str) -> None:
    kind = {".parquet": "parquet", ".csv": "csv"}.get(Path(name).suffix.lower(), "jsonl")
    content = WRITE[kind](clicks((1, 1)))
    is_gz = name.endswith("GZ")
    put(tmp_path, name, gzip.compress(content.encode()) if is_gz else content)
    assert read(tmp_path) == ([click(1, 1, DAY, NOON)], [])


def test_file_name_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    folder = put(tmp_path, "a.csv", b"").parent
    (folder / "b\udcff.csv").write_bytes(b"")
    with pytest.raises(RawDataError, match=r"b\\udcff\.csv: the file name is not UTF-8"):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])


def test_only_folders_named_by_an_iso_day_are_days(tmp_path: Path) -> None:
    for name in (
        "dt=20240511",
        "dt=2024-5-12",
        "dt=2024-W19-1",
        "dt=",
        f"dt={DAY}",
        "order_date=x",
    ):
        (tmp_path / "raw" / "clicks" / name).mkdir(parents=True)
    (tmp_path / "raw" / "clicks" / "dt=2024-05-13").write_bytes(b"a file")
    assert source_days(Lake.at(tmp_path), CLICKS).days == (DAY,)


@pytest.mark.parametrize(
    "name",
    [
        "dt=__HIVE_DEFAULT_PARTITION__", "dt=", "dt=2024-05", "dt=2024-02-30", "year=2024/month=05",
        "country=DE/dt=2024-05-10",
    ],
)  # fmt: skip
def test_folder_of_no_day_that_holds_files_stops_the_table(tmp_path: Path, name: str) -> None:
    put_rows(tmp_path, "csv", clicks((1, 1)))
    put_rows(tmp_path, "csv", clicks((1, 2)), folder=name)
    with pytest.raises(RawDataError) as caught:
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    first = name.partition("/")[0]
    assert f"raw/clicks/{first}: the folder is read for no day" in str(caught.value)
    assert "expected only folders dt=YYYY-MM-DD" in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "dt=2024-5-10/a.csv", "dt=20240510/a.csv", "DT=2024-05-10/a.csv", "2024-05-10/a.csv",
        "dt=2024-05-10 00%3A00%3A00/a.csv", "order_date=2024-05-10/a.csv", "dt=2024-05-10.csv",
        "2024-05-10.csv",
    ],
)  # fmt: skip
def test_day_under_another_name_stops_that_day_only(tmp_path: Path, name: str) -> None:
    put_rows(tmp_path, "csv", clicks((1, 1)))
    put_rows(tmp_path, "csv", clicks((1, 1)), folder=f"dt={before(1)}")
    put(tmp_path, name, "customer_id,item_id\n1,2\n", folder=None)
    assert read(tmp_path, days=[before(1)]).valid == [click(1, 1, before(1), NOON)]
    for days in ([DAY], [before(1), DAY]):
        with pytest.raises(RawDataError, match=r"raw/clicks/.*2024.* is read for no day"):
            find_raw_days(Lake.at(tmp_path), CLICKS, days)


def test_data_beside_the_day_folders_stops_the_table(tmp_path: Path) -> None:
    put_rows(tmp_path, "csv", clicks((1, 1)))
    put(tmp_path, "part-0.parquet", b"", folder=None)
    with pytest.raises(RawDataError, match=r"raw/clicks/part-0\.parquet: the file is read for no"):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])


def test_what_does_not_look_like_data_is_of_no_account(tmp_path: Path) -> None:
    put_rows(tmp_path, "csv", clicks((1, 1)))
    for name in ("README.md", "_tmp/a.csv", ".dt=x/a.csv", "_SUCCESS"):
        put(tmp_path, name, b"junk", folder=None)
    (tmp_path / "raw" / "clicks" / "dt=__HIVE_DEFAULT_PARTITION__").mkdir()
    assert read(tmp_path) == ([click(1, 1, DAY, NOON)], [])


def test_fingerprint_of_a_day_names_the_files_it_is_read_from(tmp_path: Path) -> None:
    flat = put_rows(tmp_path, "csv", orders(DAY), PREVIOUS_ORDERS, folder=None)
    put_rows(tmp_path, "csv", orders(before(1)), PREVIOUS_ORDERS, folder=f"dt={before(1)}")
    found = find_raw_days(Lake.at(tmp_path), PREVIOUS_ORDERS, [DAY, before(1)]).by_day()[DAY]
    stat = flat.stat()
    assert fingerprint(PREVIOUS_ORDERS, DAY, found.files()) == [
        ("raw/previous_orders/a.csv", stat.st_size, stat.st_mtime_ns)
    ]


# --- columns --------------------------------------------------------------------------------------


@each_format
@pytest.mark.parametrize("gone", ["customer_id", "item_id"])
@pytest.mark.parametrize("name", ["", "{}_x"])
def test_missing_or_renamed_column_is_an_error(
    tmp_path: Path, ending: str, gone: str, name: str
) -> None:
    renamed = name.format(gone)
    rows = [
        {renamed if key == gone else key: value for key, value in row.items()}
        for row in clicks((1, 1))
    ]
    put_rows(tmp_path, ending, [{k: v for k, v in row.items() if k} for row in rows])
    with pytest.raises(SchemaError) as caught:
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    text = str(caught.value)
    assert f"clicks.{gone}: the column is missing in raw/clicks/dt={DAY}/a.{ending}" in text
    assert "click_time" in text


@each_format
def test_added_and_reordered_columns_change_nothing(tmp_path: Path, ending: str) -> None:
    rows = [{"x": "y", "item_id": 5, "click_time": NOON, "customer_id": 7, "z": 1.5}]
    put_rows(tmp_path, ending, rows)
    assert read(tmp_path) == ([click(7, 5, DAY, NOON)], [])


@each_format
def test_optional_columns_may_be_absent(tmp_path: Path, ending: str) -> None:
    put_rows(tmp_path, ending, [{"customer_id": 7, "config_id": 5}], ADD_TO_CARTS)
    expected = {**cart(7, 5, DAY), "simple_id": None}
    assert read(tmp_path, ADD_TO_CARTS) == ([expected], [])


@each_format
@pytest.mark.parametrize(
    ("simple_id", "shown"), [(4, 4), (2**40, None), ("XL", None), (1.5, None), (-1, -1)]
)
def test_simple_id_is_never_a_reason(
    tmp_path: Path, ending: str, simple_id: Any, shown: Any
) -> None:
    put_rows(tmp_path, ending, [{**cart(7, 5, DAY, NOON), "simple_id": simple_id}], ADD_TO_CARTS)
    expected = {**cart(7, 5, DAY, NOON), "simple_id": shown}
    assert read(tmp_path, ADD_TO_CARTS) == ([expected], [])


def test_column_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "customer_id,item_id,customer_id\n1,2,3\n")
    with pytest.raises(SchemaError, match=r"clicks\.customer_id: the column stands 2 times"):
        read(tmp_path)
    columns = [pa.array([1])] * 3
    names = ["customer_id", "item_id", "item_id"]
    put(tmp_path, "a.csv", "")
    put(tmp_path, "a.parquet", pa.Table.from_arrays(columns, names))
    with pytest.raises(SchemaError, match=r"clicks\.item_id: the column stands 2 times"):
        read(tmp_path)


def test_column_that_only_late_rows_have_is_not_missing(tmp_path: Path) -> None:
    lines = ['{"customer_id": 1}'] * 500 + ['{"customer_id": 1, "item_id": 2}']
    put(tmp_path, "a.jsonl", "\n".join(lines))
    found = read(tmp_path)
    assert found.reasons == ["item_id is null"] * 500
    assert found.valid == [click(1, 2, DAY)]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("customer_id", pa.array([DAY])),
        ("item_id", pa.array([True])),
        ("item_id", pa.array([[1]])),
        ("item_id", pa.array([{"id": 1}])),
        ("click_time", pa.array([1_700_000_000])),
        ("click_time", pa.array([1.7e9])),
        ("dt", pa.array([1.5])),
        ("dt", pa.array([True])),
    ],
    ids=str,
)
def test_column_of_another_type_is_an_error(tmp_path: Path, column: str, values: pa.Array) -> None:
    row = {"customer_id": pa.array([1]), "item_id": pa.array([1]), column: values}
    put(tmp_path, "a.parquet", pa.table(row))
    with pytest.raises(SchemaError) as caught:
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    expected = {c.name: c.type for c in CLICKS.columns}[column]
    found = str(values.type).replace("list<item:", "list<element:")
    assert f"clicks.{column}: found {found} in raw/clicks/dt={DAY}/a.parquet" in str(caught.value)
    assert f"expected {expected}." in str(caught.value)


@pytest.mark.parametrize(
    "type_", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()]
)
def test_integers_of_any_width_are_read(tmp_path: Path, type_: pa.DataType) -> None:
    ids = pa.array([7, None, 0, 7], type_)
    for values in (ids, ids.dictionary_encode()):
        put(tmp_path, "a.parquet", pa.table({"customer_id": values, "item_id": values}))
        found = read(tmp_path)
        assert found.valid == [click(7, 7, DAY)] * 2
        assert found.reasons == ["customer_id is null", OUTSIDE]


def test_columns_without_any_value_are_read_as_nulls(tmp_path: Path) -> None:
    put(tmp_path, "a.parquet", pa.table({"customer_id": pa.nulls(2), "item_id": [1, 2]}))
    assert read(tmp_path).reasons == ["customer_id is null"] * 2
    rows = {"customer_id": [1], "item_id": [1], "click_time": pa.nulls(1)}
    put(tmp_path, "a.parquet", pa.table(rows))
    assert read(tmp_path) == ([click(1, 1, DAY)], [])


# --- files that change between two looks ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "then", "says"),
    [
        ("a.csv", "customer_id,item\n1,2\n", "the column item_id was there when the file was"),
        ("a.parquet", pa.table({"customer_id": [1]}), "the column item_id was there when the file"),
        ("a.parquet", pa.table({"customer_id": [True], "item_id": [2]}), "customer_id is bool"),
    ],
)
def test_file_that_is_another_one_when_it_is_read_is_refused(
    tmp_path: Path, name: str, then: Any, says: str
) -> None:
    put_rows(tmp_path, name.partition(".")[2], clicks((1, 2)))
    found = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    put(tmp_path, name, then)
    with pytest.raises(RawDataError, match=says) as caught:
        parse_all(found, wants_rejects=False)
    assert f"raw/clicks/dt={DAY}/{name}: " in str(caught.value)
