"""Anything at all as raw input: no row is lost, and nothing is raised but our errors."""

import gzip
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from training_assets.errors import RawDataError, SchemaError
from training_assets.lake import Lake
from training_assets.schemas import (
    CLICKS,
    IMPRESSIONS,
    MAX_ITEM_ID,
    PREVIOUS_ORDERS,
    Table,
)
from training_assets.sources import find_raw_days
from training_assets_tests.support.frames import DAY
from training_assets_tests.support.raw_input import (
    FORMATS,
    TEXTS,
    Row,
    clicks,
    json_lines,
    put,
    put_rows,
    rankings_left_out,
    read,
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
some_ids = st.integers(1, 9) | st.integers(-(2**70), 2**70) | st.none() | anything
some_times = st.sampled_from([None, "2024-05-10T10:00:00Z", "2024-05-10 10:00:00+05:00"]) | anything
some_clicks = st.lists(
    st.fixed_dictionaries({"customer_id": some_ids, "item_id": some_ids, "click_time": some_times}),
    max_size=12,
)
# Cheap without an engine, so more of them; a longer profile makes them longer still.
more = settings(max_examples=4 * settings.default.max_examples)


def is_valid_id(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def is_valid_click(row: Row, when: Any) -> bool:
    return (
        is_valid_id(row["customer_id"], -(2**63), 2**63 - 1)
        and is_valid_id(row["item_id"], 1, MAX_ITEM_ID)
        and (when is None or (isinstance(when, str) and when.startswith("2024-05-10")))
    )


@more
@given(rows=some_clicks)
def test_no_json_row_is_lost(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), "a.json", json_lines(rows))
        found = read(Path(folder))
    expected = [row for row in rows if is_valid_click(row, row["click_time"])]
    assert [(r["customer_id"], r["item_id"]) for r in found.valid] == [
        (row["customer_id"], row["item_id"]) for row in expected
    ]
    assert len(found.faults) == len(rows) - len(expected)


@more
@given(lines=st.lists(st.text(max_size=30), max_size=8), rows=some_clicks)
def test_no_csv_line_is_lost(lines: list[str], rows: list[Row]) -> None:
    header = "customer_id,item_id,click_time\n"
    plain = [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    text = header + "\n".join([*lines, *plain])
    content = text.encode(errors="surrogatepass")
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), "a.csv", content)
        found = read(Path(folder))
    for row in found.valid:
        assert 1 <= row["item_id"] <= MAX_ITEM_ID
    given_lines = [line.rstrip(b"\r") for line in content.split(b"\n")[1:]]
    counted = [line for line in given_lines if line and not line.isspace()]
    assert len(found.valid) + len(found.faults) == len(counted)


int_types = st.sampled_from([pa.int8(), pa.int32(), pa.int64(), pa.uint16(), pa.uint64()])


@st.composite
def id_columns(draw: st.DrawFn) -> tuple[pa.Array, pa.Array]:
    size = draw(st.integers(0, 12))

    def column() -> pa.Array:
        type_ = draw(int_types)
        low = -(2 ** (type_.bit_width - 1)) if pa.types.is_signed_integer(type_) else 0
        high = low + 2**type_.bit_width - 1
        values = st.none() | st.integers(low, high) | st.integers(1, 9)
        return pa.array(draw(st.lists(values, min_size=size, max_size=size)), type_)

    return column(), column()


@more
@given(columns=id_columns(), unit=st.sampled_from(["ms", "us", "ns"]), data=st.data())
def test_no_parquet_row_is_lost(
    columns: tuple[pa.Array, pa.Array], unit: str, data: st.DataObject
) -> None:
    customers, items = columns
    ticks = st.none() | st.integers(-(2**63), 2**63 - 1)
    times = pa.array([data.draw(ticks) for _ in customers], pa.timestamp(unit))
    rows = pa.table({"customer_id": customers, "item_id": items, "click_time": times})
    per_second = {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    first, last = -62_135_596_800, 253_402_300_800
    expected = [
        (customer, item)
        for customer, item, tick in zip(
            customers.to_pylist(),
            items.to_pylist(),
            times.cast(pa.int64()).to_pylist(),
            strict=True,
        )
        if is_valid_id(customer, -(2**63), 2**63 - 1)
        and is_valid_id(item, 1, MAX_ITEM_ID)
        and (tick is None or first * per_second <= tick < last * per_second)
    ]
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), "a.parquet", rows)
        found = read(Path(folder))
    assert [(row["customer_id"], row["item_id"]) for row in found.valid] == expected


some_items = (
    st.none()
    | anything
    | st.fixed_dictionaries({"item_id": some_ids, "is_order": st.booleans() | anything})
)
some_rankings = st.lists(st.lists(some_items, max_size=4) | anything, max_size=8)


@more
@given(rankings=some_rankings, ending=st.sampled_from(TEXTS))
def test_no_ranking_and_no_item_of_it_is_lost(rankings: list[Any], ending: str) -> None:
    shown = [*rankings, [None]]
    rows = [
        {"ranking_id": "r", "customer_id": n, "impressions": listed}
        for n, listed in enumerate(shown)
    ]
    if ending == "csv":
        rows = [{**row, "impressions": json.dumps(row["impressions"])} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        put_rows(Path(folder), ending, rows, IMPRESSIONS)
        found = read(Path(folder), IMPRESSIONS)
        left_out = rankings_left_out(find_raw_days(Lake.at(folder), IMPRESSIONS, [DAY]), *found)
    valid = {row["customer_id"]: len(row["impressions"]) for row in found.valid}
    faults = Counter(int(_customer_of(fault.content, ending)) for fault in found.faults)
    no_item = 0
    for n, listed in enumerate(shown):
        if listed is None or isinstance(listed, list):
            assert valid.get(n, 0) + faults[n] == len(listed or [])
            no_item += n not in valid
        else:
            assert (faults[n], n in valid) == (1, False)
    assert left_out == no_item


def _customer_of(content: str, ending: str) -> Any:
    is_line = ending == "csv" and not content.startswith("{")
    return content.split(",")[1] if is_line else json.loads(content)["customer_id"]


@more
@given(
    content=st.binary(max_size=300),
    name=st.sampled_from(["a.parquet", "a.json", "a.csv", "a.csv.gz", "a.json.gz"]),
    table=st.sampled_from([CLICKS, IMPRESSIONS, PREVIOUS_ORDERS]),
    is_flat=st.booleans(),
)
def test_random_bytes_end_in_faults_or_one_of_our_errors(
    content: bytes, name: str, table: Table, is_flat: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = None if is_flat and table is PREVIOUS_ORDERS else f"dt={DAY}"
        put(Path(folder), name, content, table, where)
        try:
            found = read(Path(folder), table)
        except (RawDataError, SchemaError):
            return
    assert found.valid == []


@more
@given(data=st.data(), ending=st.sampled_from([*FORMATS, "csv.gz"]))
def test_damaged_file_ends_in_rows_faults_or_one_of_our_errors(
    data: st.DataObject, ending: str
) -> None:
    rows = clicks(*((n, n) for n in range(1, 60)))
    with tempfile.TemporaryDirectory() as folder:
        path = put_rows(Path(folder), ending.removesuffix(".gz"), rows)
        content = path.read_bytes()
        if ending.endswith(".gz"):
            path.unlink()
            path, content = path.with_name("a.csv.gz"), gzip.compress(content, mtime=0)
        damaged = bytearray(content)
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(damaged) - 1))
            damaged[place] = data.draw(st.integers(0, 255))
        path.write_bytes(damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))])
        try:
            found = read(Path(folder))
        except (RawDataError, SchemaError):
            return
    assert all(1 <= row["item_id"] <= MAX_ITEM_ID for row in found.valid)
