"""What warehouses and trackers deliver, and the rows that it is."""

import bz2
import gzip
import io
import json
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.errors import RawDataError, SchemaError
from training_assets.lake import Lake
from training_assets.schemas import ADD_TO_CARTS, CLICKS, IMPRESSIONS, PREVIOUS_ORDERS
from training_assets.sources import find_raw_days, source_days
from training_assets_tests.support.frames import DAY
from training_assets_tests.support.raw_input import json_lines, parse_all, put, put_rows, read

TEN = datetime(2024, 5, 10, 10, tzinfo=UTC)
LINE = json_lines([{"customer_id": 1, "item_id": 5, "click_time": TEN}]).encode()
IDS = pa.table({"customer_id": [1], "item_id": [5], "click_time": [TEN]})


def decimals(precision: int, scale: int = 0) -> pa.Table:
    kind = pa.decimal128(precision, scale)
    ids = {n: pa.array([Decimal(v)], kind) for n, v in (("customer_id", 1), ("item_id", 5))}
    return pa.table({**ids, "click_time": [TEN]})


def as_parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jsonl", data)
    return file.getvalue()


CLICK_DELIVERIES: dict[str, tuple[str, Any]] = {
    "decimal(38,0)": ("a.parquet", decimals(38)),
    "decimal(18,0)": ("a.parquet", decimals(18)),
    "decimal(38,6)": ("a.parquet", decimals(38, 6)),
    "floats in CSV": (
        "a.csv",
        "customer_id,item_id,click_time\n1.0,5.0,2024-05-10 10:00:00\n",
    ),
    "texts in JSON, time in UTC": (
        "a.jsonl",
        '{"customer_id":"1","item_id":"5","click_time":"2024-05-10 10:00:00 UTC"}\n',
    ),
    "gzip called jsonl": ("a.jsonl", gzip.compress(LINE)),
    "zstd called jsonl": ("a.jsonl", pa.Codec("zstd").compress(LINE, asbytes=True)),
    "Parquet called jsonl": ("a.jsonl", as_parquet(IDS)),
}


@pytest.mark.parametrize("name", CLICK_DELIVERIES)
def test_a_delivery_is_one_click(tmp_path: Path, name: str) -> None:
    put(tmp_path, *CLICK_DELIVERIES[name])
    found = read(tmp_path)
    assert found.faults == []
    shown = [(r["customer_id"], r["item_id"], _utc(r["click_time"])) for r in found.valid]
    assert shown == [(1, 5, TEN)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_zip_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, zipped(LINE))
    with pytest.raises((RawDataError, SchemaError), match=r"\bzip\b"):
        parse_all(find_raw_days(Lake.at(tmp_path), CLICKS, [DAY]), wants_rejects=False)


def labelled(kind: pa.DataType) -> pa.Table:
    struct = pa.struct([("item_id", pa.int64()), ("is_order", kind)])
    listed = [[{"item_id": 5, "is_order": 1}, {"item_id": 6, "is_order": 0}]]
    if pa.types.is_boolean(kind):
        listed = [[{**item, "is_order": bool(item["is_order"])} for item in listed[0]]]
    shown = pa.array(listed, pa.list_(struct))
    return pa.table({"ranking_id": ["r"], "customer_id": [1], "impressions": shown})


CELL = json.dumps([{"item_id": 5, "is_order": 1}, {"item_id": 6, "is_order": 0}])
IMPRESSION_DELIVERIES: dict[str, tuple[str, Any]] = {
    **{str(kind): ("a.parquet", labelled(kind)) for kind in (pa.int8(), pa.int64(), pa.bool_())},
    "CSV cell": (
        "a.csv",
        'ranking_id,customer_id,impressions\nr,1,"' + CELL.replace('"', '""') + '"\n',
    ),
    "JSON list": ("a.jsonl", f'{{"ranking_id":"r","customer_id":1,"impressions":{CELL}}}\n'),
    "JSON text": (
        "a.jsonl",
        json_lines([{"ranking_id": "r", "customer_id": 1, "impressions": CELL}]),
    ),
    "text in Parquet": (
        "a.parquet",
        pa.table({"ranking_id": ["r"], "customer_id": [1], "impressions": [CELL]}),
    ),
}


@pytest.mark.parametrize("name", IMPRESSION_DELIVERIES)
def test_labels_are_zero_and_one_of_any_type(tmp_path: Path, name: str) -> None:
    put(tmp_path, *IMPRESSION_DELIVERIES[name], IMPRESSIONS)
    found = read(tmp_path, IMPRESSIONS)
    assert found.faults == []
    (row,) = found.valid
    assert [(i["item_id"], i["is_order"]) for i in row["impressions"]] == [(5, True), (6, False)]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_orders_of_midnights_are_orders_of_days(tmp_path: Path, unit: str) -> None:
    days = pa.array(np.array([str(DAY)], "datetime64[s]")).cast(pa.timestamp(unit))
    orders = {"order_date": days, "customer_id": [1], "config_id": [5], "simple_id": [1]}
    put(tmp_path, "a.parquet", pa.table({**orders, "occurred_at": [TEN]}), PREVIOUS_ORDERS, None)
    found = read(tmp_path, PREVIOUS_ORDERS)
    assert found.faults == []
    assert [(row["order_date"], row["config_id"]) for row in found.valid] == [(DAY, 5)]


def test_a_table_without_a_folder_is_absent(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", LINE)
    lake = Lake.at(tmp_path)
    assert source_days(lake, ADD_TO_CARTS).first is None
    assert find_raw_days(lake, ADD_TO_CARTS, [DAY]).tasks == ()
    assert len(read(tmp_path).valid) == 1


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


HEADER = "customer_id,item_id,click_time\n"
NOT_WHOLE = "customer_id is not an integer"
NOT_EXACT = "customer_id outside the integers that a float holds"
CELLS = {
    **dict.fromkeys(["1", "1.0", "1.", "+1", "01", " 1\t", "1\u00a0", "\u20031"], 1),
    "-0": 0,
    str(2**63 - 1): 2**63 - 1,
    f"{2**63 - 1}.0": 2**63 - 1,
    str(-(2**63)): -(2**63),
    str(2**63): "customer_id outside 64 bits",
    **dict.fromkeys(["", '""', "  "], "customer_id is null"),
    **dict.fromkeys(
        ["1.5", "1e3", "1e400", "NaN", "inf", "NULL", "0x1F", "1_000", "\uff11", "1\x00"], NOT_WHOLE
    ),
}
JSON_VALUES = {
    **dict.fromkeys(["1", "1.0", "1e0", '"1.0"', '" 1 "', '"1\\u00a0"'], 1),
    f"{2**53 - 1}.0": 2**53 - 1,
    # As a float it is 2**53.
    f"{2**53 + 1}.0": NOT_EXACT,
    f"{2**53}.0": NOT_EXACT,
    str(2**53 + 1): 2**53 + 1,
    str(2**63): "customer_id outside 64 bits",
    **dict.fromkeys(["null", "NaN"], "customer_id is null"),
    **dict.fromkeys(
        ["true", "Infinity", "1e400", "1.5", "[1]", "{}", '""', '"\\u0000"'], NOT_WHOLE
    ),
}


@pytest.mark.parametrize("among_others", [False, True])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_id_is_taken_or_set_aside_as_it_is_written(
    tmp_path: Path, ending: str, among_others: bool
) -> None:
    cells: dict[str, Any] = CELLS if ending == "csv" else JSON_VALUES
    for number, (cell, expected) in enumerate(cells.items()):
        plain = "7,5,\n" if ending == "csv" else '{"customer_id":7,"item_id":5}\n'
        text = f"{cell},5,\n" if ending == "csv" else f'{{"customer_id":{cell},"item_id":5}}\n'
        others = plain * 3 if among_others else ""
        head = HEADER if ending == "csv" else ""
        put(tmp_path / str(number), f"a.{ending}", head + others + text + others)
        found = read(tmp_path / str(number))
        taken = [row["customer_id"] for row in found.valid if row["customer_id"] != 7]
        assert (taken or found.reasons) == [expected], cell
        assert len(found.valid) + len(found.faults) == 1 + 6 * among_others


TIMES = {
    **dict.fromkeys(
        [
            *("2024-05-10T10:00:00Z", "2024-05-10 10:00:00 UTC", "2024-05-10 10:00:00"),
            *("2024-05-10T12:00:00+02:00", "2024-05-10T12:00:00+0200", "2024-05-10 10:00"),
            *("2024-05-10T10:00:00.000000999Z", "2024-05-10T10:00:00.0", " 2024-05-10 10:00:00 "),
        ],
        TEN,
    ),
    "2024-05-10": datetime(2024, 5, 10, tzinfo=UTC),
    "2024-02-29 10:00:00": datetime(2024, 2, 29, 10, tzinfo=UTC),
    **dict.fromkeys(
        [
            *("2024-02-30 10:00:00", "2023-02-29 10:00:00", "2024-04-31 10:00:00", "1715335200"),
            *("2024-05-10T24:00:00", "2024-05-10 10:00:60", "0000-01-01 00:00:00", "20240510T10"),
            *("10000-01-01 00:00:00", "2024-W19-5", "2024-05-10 10:00:00 Europe/Berlin"),
        ],
        "click_time is not a timestamp",
    ),
}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_time_is_taken_or_set_aside_as_it_is_written(tmp_path: Path, ending: str) -> None:
    rows = [{"customer_id": 1, "item_id": n, "click_time": t} for n, t in enumerate(TIMES, 1)]
    put_rows(tmp_path, ending, rows)
    found = read(tmp_path)
    good = {n: at for n, at in enumerate(TIMES.values(), 1) if isinstance(at, datetime)}
    assert {row["item_id"]: _utc(row["click_time"]) for row in found.valid} == good
    assert found.reasons == ["click_time is not a timestamp"] * (len(TIMES) - len(good))


@pytest.mark.parametrize("text", ["1.0", "1", "T", "TRUE"])
def test_a_label_in_a_cell_is_true(tmp_path: Path, text: str) -> None:
    put(tmp_path, "a.csv", f"ranking_id,customer_id,item_id,is_order\nr,1,5,{text}\n", IMPRESSIONS)
    (row,) = read(tmp_path, IMPRESSIONS).valid
    assert row["is_order"] is True


REFUSED = {
    "CSV called jsonl": ("a.jsonl", HEADER + "1,5,\n", "no row of it begins like JSON"),
    "JSON called csv": ("a.csv", '{"customer_id":1}\n', "the column is missing"),
    "gzip within gzip": ("a.csv.gz", gzip.compress(gzip.compress(b"x")), "gz that holds gz"),
    "text called gz": ("a.csv.gz", HEADER, "first bytes are not those of gz"),
    "semicolons": ("a.csv", "customer_id;item_id\n1;5\n", r'\[clicks\.csv\] delimiter = ";"'),
    "tabs": ("a.csv", "customer_id\titem_id\n1\t5\n", r'\[clicks\.csv\] delimiter = "\\t"'),
    "two headers": ("a.csv", "customer_id,item_id,item_id\n1,5,6\n", "stands 2 times"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_of_another_kind_is_refused_whole(tmp_path: Path, name: str) -> None:
    file, content, message = REFUSED[name]
    put(tmp_path, file, content)
    with pytest.raises((RawDataError, SchemaError), match=message):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])


EMPTY = {
    "no byte": ("a.csv", b""),
    "header": ("a.csv", HEADER),
    "mark": ("a.csv", b"\xef\xbb\xbf"),
    "blank lines": ("a.jsonl", "\n \n"),
    "empty array": ("a.json", "[]"),
    "packed nothing": ("a.csv.gz", gzip.compress(b"")),
}


@pytest.mark.parametrize("name", EMPTY)
def test_a_file_without_rows_has_none(tmp_path: Path, name: str) -> None:
    put(tmp_path, *EMPTY[name])
    assert read(tmp_path) == ([], [])


def test_zeros_returns_and_long_cells_within_csv_spoil_no_row(tmp_path: Path) -> None:
    lines = ["1,5,a\x00b", '1,6,"a\rb"', "2\r3,7,x", f"1,8,{'x' * 5_000_000}", '1,9,"a\nb"', "1,1,"]
    put(tmp_path, "a.csv", "customer_id,item_id,spare\n" + "\n".join(lines) + "\n")
    found = read(tmp_path)
    assert [row["item_id"] for row in found.valid] == [5, 6, 8, 9, 1]
    assert found.reasons == ["row is not CSV"]


@pytest.mark.parametrize("pack", ["gz", "zst", "bz2"])
def test_a_file_packed_in_parts_is_read_whole_under_any_of_the_names(
    tmp_path: Path, pack: str
) -> None:
    packs = {
        "gz": gzip.compress,
        "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
        "bz2": bz2.compress,
    }
    for ending in ("", ".gz", ".zst", ".bz2"):
        put(
            tmp_path / pack / ending,
            f"a.csv{ending}",
            b"".join(packs[pack](part) for part in (HEADER.encode(), b"1,5,\n2,6,", b"\n")),
        )
        found = read(tmp_path / pack / ending)
        assert [row["item_id"] for row in found.valid] == [5, 6]
