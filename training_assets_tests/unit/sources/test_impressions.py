"""Rankings are judged item by item, however they are nested."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from training_assets.errors import SchemaError
from training_assets.lake import Lake
from training_assets.schemas import (
    IMPRESSIONS,
)
from training_assets.sources import find_raw_days
from training_assets_tests.support.frames import DAY, ranking
from training_assets_tests.support.raw_input import (
    OUTSIDE,
    WRITE,
    Row,
    each_format,
    each_text,
    put,
    put_rows,
    rankings_left_out,
    read,
)

_SHOWN_ITEM = pa.struct([("item_id", pa.int64()), ("is_order", pa.bool_())])
_RANKINGS = pa.schema(
    [
        ("ranking_id", pa.string()),
        ("customer_id", pa.int64()),
        ("impressions", pa.list_(_SHOWN_ITEM)),
    ]
)


def put_rankings(root: Path, ending: str, rows: list[Row]) -> None:
    bare = [{k: v for k, v in row.items() if k != "dt"} for row in rows]
    content = pa.Table.from_pylist(bare, _RANKINGS) if ending == "parquet" else WRITE[ending](bare)
    put(root, f"a.{ending}", content, IMPRESSIONS)


@each_format
def test_each_item_of_a_ranking_is_judged_by_itself(tmp_path: Path, ending: str) -> None:
    items = [5, None, (None, True), (6, None), 0, (7, True), 2**40]
    put_rankings(tmp_path, ending, [ranking(1, [1], name="q"), ranking(2, items)])
    found = read(tmp_path, IMPRESSIONS)
    assert found.valid == [ranking(1, [1], name="q"), ranking(2, [5, (7, True)])]
    expected = [
        ("item is null", 1, None),
        ("item_id is null", 2, {"item_id": None, "is_order": True}),
        ("is_order is null", 3, {"item_id": 6, "is_order": None}),
        (OUTSIDE, 4, {"item_id": 0, "is_order": False}),
        (OUTSIDE, 6, {"item_id": 2**40, "is_order": False}),
    ]
    assert [(f.reason, json.loads(f.content)) for f in found.faults] == [
        (reason, {"ranking_id": "r", "customer_id": 2, "impressions": [item], "position": position}
         if ending != "csv" else
         {"ranking_id": "r", "customer_id": "2", "impressions": [item], "position": position})
        for reason, position, item in expected
    ]  # fmt: skip


@each_format
def test_ranking_without_valid_items_gives_no_row(tmp_path: Path, ending: str) -> None:
    rows = [
        ranking(1, None, name="null"),
        ranking(1, [], name="empty"),
        ranking(1, [0, None], name="faults"),
        ranking(1, [3, 3], name="twice"),
    ]
    put_rankings(tmp_path, ending, rows)
    found = read(tmp_path, IMPRESSIONS)
    assert found.valid == rows[3:]
    assert found.reasons == [OUTSIDE, "item is null"]
    assert all("faults" in fault.content for fault in found.faults)
    assert rankings_left_out(find_raw_days(Lake.at(tmp_path), IMPRESSIONS, [DAY]), *found) == 3


@each_format
def test_ranking_without_a_customer_is_one_fault_whatever_its_items(
    tmp_path: Path, ending: str
) -> None:
    put_rankings(tmp_path, ending, [ranking(None, [1, 0, None]), ranking(1, [1])])
    found = read(tmp_path, IMPRESSIONS)
    assert (found.reasons, found.valid) == (["customer_id is null"], [ranking(1, [1])])
    if ending != "csv":
        shown = ranking(None, [1, 0, None])["impressions"]
        assert json.loads(found.faults[0].content)["impressions"] == shown


ODD_ITEMS = [
    (17, "item is not an object"),
    ("x", "item is not an object"),
    ([], "item is not an object"),
    ({}, "item_id is null"),
    ({"item_id": 1}, "is_order is null"),
    ({"item_id": "x", "is_order": True}, "item_id is not an integer"),
    ({"item_id": 1.5, "is_order": True}, "item_id is not an integer"),
    ({"item_id": True, "is_order": True}, "item_id is not an integer"),
    ({"item_id": 2**64, "is_order": True}, OUTSIDE),
    ({"item_id": 1, "is_order": 2}, "is_order is not true or false"),
    ({"item_id": 1, "is_order": "yes"}, "is_order is not true or false"),
    ({"id": 1, "is_order": True}, "item_id is null"),
]


@each_text
@pytest.mark.parametrize(("item", "reason"), ODD_ITEMS)
def test_odd_text_item_is_a_fault_and_leaves_the_others(
    tmp_path: Path, ending: str, item: Any, reason: str
) -> None:
    good = {"item_id": 5, "is_order": True, "price": 9.5}
    row = {"ranking_id": "r", "customer_id": 1, "impressions": [good, item, good]}
    put_rows(tmp_path, ending, [row], IMPRESSIONS)
    found = read(tmp_path, IMPRESSIONS)
    assert found.valid == [ranking(1, [(5, True), (5, True)])]
    assert found.reasons == [reason]
    shown = json.loads(found.faults[0].content)
    assert (shown["impressions"], shown["position"]) == ([item], 1)


@each_text
@pytest.mark.parametrize("value", [5, {"item_id": 1, "is_order": True}, True])
def test_text_ranking_that_is_no_array_is_a_fault(tmp_path: Path, ending: str, value: Any) -> None:
    cell = value if ending == "jsonl" else json.dumps(value)
    rows = [{"ranking_id": "r", "customer_id": 1, "impressions": v} for v in (cell, [])]
    put_rows(tmp_path, ending, rows, IMPRESSIONS)
    found = read(tmp_path, IMPRESSIONS)
    assert (found.valid, found.reasons) == ([], ["impressions is not an array"])


@pytest.mark.parametrize("cell", ["[{", "x", "[1,]", "[" * 100_000])
def test_csv_ranking_that_is_no_json_is_a_fault(tmp_path: Path, cell: str) -> None:
    rows = [{"ranking_id": "r", "customer_id": 1, "impressions": cell}]
    put_rows(tmp_path, "csv", rows, IMPRESSIONS)
    assert read(tmp_path, IMPRESSIONS).reasons == ["impressions is not JSON"]


@each_text
def test_deeply_nested_item_is_a_fault_that_can_be_written(tmp_path: Path, ending: str) -> None:
    for depth in range(100, 1_000, 60):
        items = "[" * depth + "]" * depth
        line = f'{{"ranking_id": "r", "customer_id": 1, "impressions": {items}}}'
        content = (
            line if ending == "jsonl" else f'customer_id,ranking_id,impressions\n1,r,"{items}"'
        )
        put(tmp_path, f"a.{ending}", content, IMPRESSIONS)
        found = read(tmp_path, IMPRESSIONS)
        assert len(found.faults) == 1
        assert items[1:-1] in found.faults[0].content


def test_item_that_is_nested_too_deeply_to_be_read_again_is_a_fault(tmp_path: Path) -> None:
    def deeper(frames: int) -> list[str]:
        if frames:
            return deeper(frames - 1)
        return [fault.content for fault in read(tmp_path, IMPRESSIONS).faults]

    line = f'{{"ranking_id": "r", "customer_id": 1, "impressions": {"[" * 900}{"]" * 900}}}'
    put(tmp_path, "a.jsonl", line, IMPRESSIONS)
    # Somewhere on the way the parser may go no deeper, first where a row is read once more.
    for frames in range(0, 100, 2):
        (content,) = deeper(frames)
        assert "[" * 899 in content, frames


@each_format
def test_long_ranking_is_read(tmp_path: Path, ending: str) -> None:
    put_rankings(tmp_path, ending, [ranking(1, range(1, 6_001))])
    assert read(tmp_path, IMPRESSIONS) == ([ranking(1, range(1, 6_001))], [])


@each_format
def test_ranking_may_be_without_a_name(tmp_path: Path, ending: str) -> None:
    put_rankings(tmp_path, ending, [ranking(1, [1], name=None)])
    assert read(tmp_path, IMPRESSIONS) == ([ranking(1, [1], name=None)], [])


@pytest.mark.parametrize("name", [1.5, True, [], "\ud800"])
def test_json_ranking_name_that_is_no_text_is_a_fault(tmp_path: Path, name: Any) -> None:
    put_rows(tmp_path, "jsonl", [ranking(1, [1], name=name), ranking(1, [1])], IMPRESSIONS)
    found = read(tmp_path, IMPRESSIONS)
    reason = "ranking_id is not UTF-8" if name == "\ud800" else "ranking_id is not a string"
    assert (found.valid, found.reasons) == ([ranking(1, [1])], [reason])


def test_half_a_surrogate_pair_in_an_item_is_named_in_its_fault(tmp_path: Path) -> None:
    put_rows(tmp_path, "jsonl", [{**ranking(1, []), "impressions": ["\ud800"]}], IMPRESSIONS)
    assert r'"impressions": ["\ud800"]' in read(tmp_path, IMPRESSIONS).faults[0].content


def test_parquet_text_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    offsets = pa.py_buffer(np.array([0, 1, 3], np.int32).tobytes())
    names = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"r\xff\xfe")])
    lists = pa.array([[{"item_id": 1, "is_order": False}]] * 2)
    rows = {"ranking_id": names, "customer_id": [1, 1], "impressions": lists}
    put(tmp_path, "a.parquet", pa.table(rows), IMPRESSIONS)
    found = read(tmp_path, IMPRESSIONS)
    assert (found.valid, found.reasons) == ([ranking(1, [1])], ["ranking_id is not UTF-8"])
    assert json.loads(found.faults[0].content)["ranking_id"] == r"\xff\xfe"


def _item_lists(*fields: tuple[str, pa.DataType]) -> pa.DataType:
    return pa.list_(pa.struct(fields))


NESTED = {
    "reordered": _item_lists(("is_order", pa.bool_()), ("item_id", pa.int32())),
    "more fields": _item_lists(
        ("price", pa.float64()), ("item_id", pa.int64()), ("is_order", pa.bool_()),
        ("at", pa.timestamp("ns")), ("tags", pa.list_(pa.string())),
    ),
    "narrow": _item_lists(("item_id", pa.int8()), ("is_order", pa.bool_())),
    "unsigned": _item_lists(("item_id", pa.uint64()), ("is_order", pa.bool_())),
    "large": pa.large_list(_SHOWN_ITEM),
    "fixed": pa.list_(_SHOWN_ITEM, 3),
}  # fmt: skip


@pytest.mark.parametrize("kind", NESTED)
def test_rankings_nested_otherwise_are_read(tmp_path: Path, kind: str) -> None:
    lists = pa.array([ranking(1, [5, None, (6, True)])["impressions"], None], NESTED[kind])
    rows = {"ranking_id": ["r", "s"], "customer_id": [1, 1], "impressions": lists}
    put(tmp_path, "a.parquet", pa.table(rows), IMPRESSIONS)
    found = read(tmp_path, IMPRESSIONS)
    assert (found.valid, found.reasons) == ([ranking(1, [5, (6, True)])], ["item is null"])


@pytest.mark.parametrize(
    "lists",
    [
        pa.nulls(1),
        pa.array([[None]]),
        pa.array([[None]], _item_lists(("item_id", pa.null()), ("is_order", pa.null()))),
    ],
    ids=lambda v: str(v.type),
)
def test_rankings_without_any_value_give_no_row(tmp_path: Path, lists: pa.Array) -> None:
    rows = {"ranking_id": ["r"], "customer_id": [1], "impressions": lists}
    put(tmp_path, "a.parquet", pa.table(rows), IMPRESSIONS)
    found = read(tmp_path, IMPRESSIONS)
    assert (found.valid, len(found.faults)) == ([], lists.type != pa.null())


WRONG_NESTED = {
    "no label": _item_lists(("item_id", pa.int32())),
    "no item id": _item_lists(("is_order", pa.bool_())),
    "a day as id": _item_lists(("item_id", pa.date32()), ("is_order", pa.bool_())),
    "a day as label": _item_lists(("item_id", pa.int32()), ("is_order", pa.date32())),
    "bare ids": pa.list_(pa.int32()),
    "a struct": _SHOWN_ITEM,
    "a number": pa.int64(),
    "lists of lists": pa.list_(pa.list_(_SHOWN_ITEM)),
    "two labels": _item_lists(
        ("item_id", pa.int32()), ("is_order", pa.bool_()), ("is_order", pa.bool_())
    ),
}


@pytest.mark.parametrize("kind", WRONG_NESTED)
def test_rankings_nested_wrongly_are_an_error(tmp_path: Path, kind: str) -> None:
    rows = {"ranking_id": ["r"], "customer_id": [1], "impressions": pa.nulls(1, WRONG_NESTED[kind])}
    put(tmp_path, "a.parquet", pa.table(rows), IMPRESSIONS)
    with pytest.raises(SchemaError) as caught:
        find_raw_days(Lake.at(tmp_path), IMPRESSIONS, [DAY])
    assert "impressions.impressions: found" in str(caught.value)
    assert "expected array<struct<item_id:int,is_order:boolean>>" in str(caught.value)
