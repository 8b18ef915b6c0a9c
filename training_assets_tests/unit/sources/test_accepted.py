"""What warehouses and trackers deliver, and the rows that it is."""

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
from training_assets_tests.support.raw_input import json_lines, parse_all, put, read

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
