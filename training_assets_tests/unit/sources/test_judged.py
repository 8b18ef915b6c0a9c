"""A file of any table is judged row by row: valid rows, and each fault with row, line and code."""

import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.errors import RawDataError, SchemaError
from training_assets.schemas import CLICKS, IMPRESSIONS, RAW_INTERACTIONS, RAW_ITEMS
from training_assets.sources import Dialect, judge
from training_assets.sources.judged import Judged, code_of
from training_assets_tests.support.raw_input import REASONS

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
GOOD = {
    "user_id": "u1",
    "item_id": "5",
    "interaction_type": "click",
    "timestamp": "2026-03-01T10:00:00Z",
}


def text_of(lines: Iterable[str]) -> io.BytesIO:
    return io.BytesIO("".join(f"{line}\n" for line in lines).encode())


def whole(parts: Iterable[Judged]) -> tuple[list[Any], list[int], list[Any]]:
    rows, numbers, faults = [], [], []
    for part in parts:
        rows += part.rows.to_pylist()
        numbers += part.numbers.tolist()
        faults += [fault._replace(message="") for fault in part.faults]
    return rows, numbers, faults


def test_empty_cells_beside_a_quote_or_a_carriage_return_are_none() -> None:
    for title in ('5" Lamp', '"two\rlines"'):
        lines = ["item_id,title,price,avg_rating,num_reviews,description"]
        lines += [f"i1,{title},,,,x", "i2,Desk,1,2,3,x"]
        rows, numbers, faults = whole(judge(text_of(lines), RAW_ITEMS, "csv"))
        assert (numbers, faults) == ([1, 2], [])
        assert [row["price"] for row in rows] == [None, 1]


def test_csv_tells_rows_lines_columns_and_codes() -> None:
    lines = [
        "\ufeffuser_id,product_id,interaction_type,timestamp,rating,price",
        "u1,5,click,2026-03-01T10:00:00Z,5,1.50",
        ",x,view,nope,a,1.23456",
        "u2,6,like",
        '"u',
        '3",7,purchase,2026-03-01 10:00:00 UTC,,"2"',
        "",
        "u4,8,view,2026-03-01 10:00:00,6,",
    ]
    rows, numbers, faults = whole(judge(text_of(lines), RAW_INTERACTIONS, "csv"))
    assert [(r["user_id"], r["item_id"], r["price"]) for r in rows] == [
        ("u1", "5", Decimal("1.5000")),
        ("u\n3", "7", Decimal(2)),
        ("u4", "8", None),
    ]
    assert {row["timestamp"] for row in rows} == {AT}
    assert numbers == [1, 4, 5]
    assert faults == [
        (2, 3, "price", "out_of_range", "", "1.23456"),
        (2, 3, "rating", "not_a_number", "", "a"),
        (2, 3, "timestamp", "not_a_timestamp", "", "nope"),
        (2, 3, "user_id", "required", "", None),
        (3, 4, "", "wrong_number_of_cells", "", "u2,6,like"),
    ]


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_json_tells_rows_lines_columns_and_codes(format_: Any) -> None:
    lines = [
        json.dumps({**GOOD, "user_id": 1, "price": 19.99}),
        "nope",
        "[1]",
        json.dumps({**GOOD, "timestamp": 17, "item_id": None}),
        '{"user_id": "\\ud800"}',
        json.dumps(GOOD),
    ]
    rows, numbers, faults = whole(judge(text_of(lines), RAW_INTERACTIONS, format_))
    assert [(r["user_id"], r["price"]) for r in rows] == [("1", Decimal("19.99")), ("u1", None)]
    assert numbers == [1, 6]
    assert [fault[:4] for fault in faults] == [
        (2, 2, "", "not_json"),
        (3, 3, "", "not_an_object"),
        (4, 4, "item_id", "required"),
        (4, 4, "timestamp", "not_a_timestamp"),
        (5, 5, "interaction_type", "required"),
        (5, 5, "item_id", "required"),
        (5, 5, "timestamp", "required"),
        (5, 5, "user_id", "not_utf8"),
    ]
    assert faults[3].value == 17


def test_json_array_is_judged_by_its_objects() -> None:
    content = json.dumps([GOOD, {**GOOD, "user_id": None}, GOOD], indent=2).encode()
    rows, numbers, faults = whole(judge(io.BytesIO(content), RAW_INTERACTIONS, "json"))
    assert (len(rows), numbers) == (2, [1, 3])
    assert [fault[:4] for fault in faults] == [(2, 8, "user_id", "required")]


def test_elements_of_an_array_that_are_no_objects_have_numbers_of_their_own() -> None:
    content = json.dumps([1, GOOD, "x,y", [2, 3], GOOD]).encode()
    rows, numbers, faults = whole(judge(io.BytesIO(content), RAW_INTERACTIONS, "json"))
    assert (len(rows), numbers) == (2, [2, 5])
    assert [fault[:4] for fault in faults] == [(n, 1, "", "not_an_object") for n in (1, 3, 4)]


def test_parquet_has_row_numbers_and_no_lines(tmp_path: Path) -> None:
    rows = [{**GOOD, "item_id": n} for n in (1.0, None, 2.5, 3.0)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=2)
    found = whole(judge(tmp_path / "a.parquet", RAW_INTERACTIONS, "parquet"))
    assert ([row["item_id"] for row in found[0]], found[1]) == (["1", "3"], [1, 4])
    assert [fault[:4] for fault in found[2]] == [
        (2, None, "item_id", "required"),
        (3, None, "item_id", "not_an_integer"),
    ]


def test_rows_are_numbered_through_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training_assets.sources.blocks._BLOCK_BYTES", 64)
    monkeypatch.setattr("training_assets.sources.text.HEAD_BYTES", 50)
    monkeypatch.setattr("training_assets.sources.judged.HEAD_BYTES", 50)
    lines = ["customer_id,item_id", *(f"{n},{n % 7}" for n in range(1, 200))]
    rows, numbers, faults = whole(judge(text_of(lines), CLICKS, "csv"))
    assert numbers == [n for n in range(1, 200) if n % 7]
    assert [row["customer_id"] for row in rows] == numbers
    assert [fault[:2] for fault in faults] == [(n, n + 1) for n in range(7, 200, 7)]
    assert {fault.code for fault in faults} == {"out_of_range"}


def test_dialect_and_other_names_are_declared() -> None:
    lines = ["1;NULL;7", "x;2;8"]
    dialect = Dialect(delimiter=";", header=False, null=("NULL",))
    columns = {"customer_id": "3", "item_id": "2"}
    parts = judge(text_of(lines), CLICKS, "csv", dialect=dialect, columns=columns)
    rows, numbers, faults = whole(parts)
    assert [(row["customer_id"], row["item_id"]) for row in rows] == [(8, 2)]
    assert numbers == [2]
    assert [fault[:4] for fault in faults] == [(1, 1, "item_id", "required")]


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_rows_of_a_file_without_a_required_column_lack_it(format_: Any) -> None:
    delivered = io.BytesIO()
    if format_ == "parquet":
        pq.write_table(pa.table({"customer_id": [1, 2]}), delivered)
    else:
        rows = ["customer_id", "1", "2"] if format_ == "csv" else ['{"customer_id": 1}'] * 2
        delivered = text_of(rows)
    delivered.seek(0)
    rows, _, faults = whole(judge(delivered, CLICKS, format_))
    assert not rows
    assert [(f.row, f.column, f.code) for f in faults] == [
        (1, "item_id", "required"),
        (2, "item_id", "required"),
    ]


def test_file_of_another_kind_or_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(SchemaError, match=r"clicks\.customer_id: the column is missing"):
        list(judge(text_of(["customer;item", "1;2"]), CLICKS, "csv"))
    with pytest.raises(RawDataError, match="cannot be read as parquet"):
        list(judge(io.BytesIO(b"PAR1junk"), CLICKS, "parquet"))
    with pytest.raises(RawDataError, match="UTF-16"):
        list(judge(io.BytesIO("customer_id".encode("utf-16")), CLICKS, "csv"))
    assert whole(judge(io.BytesIO(b""), CLICKS, "csv")) == ([], [], [])


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_ids_of_actions_may_be_texts(format_: str) -> None:
    ids = [("u1", "prod_1"), (" u2 ", "2"), (" ", "prod_1"), ("u" * 256, "prod_1")]
    lines = ["customer_id,item_id", *(",".join(pair) for pair in ids)]
    if format_ == "jsonl":
        lines = [json.dumps({"customer_id": c, "item_id": i}) for c, i in ids]
    parts = judge(text_of(lines), CLICKS, format_, text_ids=("customer", "item"))  # type: ignore[arg-type]
    rows, numbers, faults = whole(parts)
    found = [(row["customer_id"], row["item_id"]) for row in rows]
    assert found == [("u1", "prod_1"), ("u2", "2")]
    assert numbers == [1, 2]
    assert [fault[2:4] for fault in faults] == [
        ("customer_id", "required"),
        ("customer_id", "too_long"),
    ]
    # Where they are not said to be texts, they are integers.
    assert whole(judge(text_of(lines), CLICKS, format_))[0] == []  # type: ignore[arg-type]


ITEMS: list[Any] = [
    {"item_id": " cafe\u0301 ", "is_order": "t"},
    {"item_id": 5, "is_order": 0},
    {"item_id": " ", "is_order": True},
    None,
    {"item_id": "x" * 256, "is_order": True},
    {"item_id": "b", "is_order": None},
]


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("entities", [(), ("item",), ("customer", "item")])
def test_items_of_rankings_are_judged_one_by_one_and_may_have_text_ids(
    format_: Any, entities: Any
) -> None:
    """As a lake's reader does; what is wrong with an item is told, and costs no other."""
    items = ITEMS if entities else [i and {**i, "item_id": n} for n, i in enumerate(ITEMS, 1)]
    customer = "u1" if "customer" in entities else "1"
    shown = [items, [], items[2:4], None, items[:1]]
    if not entities:
        shown[2] = [None]
    cells = [json.dumps(of) if of is not None else None for of in shown]
    rows = [
        {"ranking_id": n, "customer_id": customer, "impressions": c} for n, c in enumerate(cells)
    ]
    if format_ == "csv":
        lines = [",".join(rows[0])]
        for row in rows:
            quoted = (row["impressions"] or "").replace('"', '""')
            lines.append(f'{row["ranking_id"]},{customer},"{quoted}"')
        file = text_of(lines)
    elif format_ == "jsonl":
        file = text_of(
            json.dumps({**r, "impressions": i}) for r, i in zip(rows, shown, strict=True)
        )
    else:
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file)
        file.seek(0)
    found, numbers, faults = whole(judge(file, IMPRESSIONS, format_, text_ids=entities))
    kept = [[(i["item_id"], i["is_order"]) for i in row["impressions"]] for row in found]
    # The first ranking has the good ones of its items, and the last one has one.
    first = [("caf\u00e9", True), ("5", False)] if entities else [(1, True), (2, False)]
    others = [] if entities else [(3, True), (5, True)]
    assert kept == [[*first, *others], first[:1]]
    assert numbers == [1, 5]
    told = [(fault.row, fault.column, fault.code) for fault in faults]
    wrong = ["required"] * 2 + ["too_long"] if entities else ["required"]
    in_first = [(1, "impressions", code) for code in [*wrong, "required"]]
    assert told == [*in_first, *[(3, "impressions", "required")] * len(shown[2] or ())]
    if format_ == "jsonl":
        assert faults[0].value == ITEMS[2] if entities else faults[0].value is None


def test_rankings_of_one_row_per_item_are_judged_as_such_rows() -> None:
    lines = ["ranking_id,customer_id,item_id,is_order", "r,1,a,1", "r,1, ,0", "s,1,b,x"]
    rows, numbers, faults = whole(judge(text_of(lines), IMPRESSIONS, "csv", text_ids=["item"]))
    assert [(row["item_id"], row["is_order"]) for row in rows] == [("a", True)]
    assert numbers == [1]
    assert [fault[:4] for fault in faults] == [
        (2, 3, "item_id", "required"),
        (3, 4, "is_order", "not_allowed"),
    ]


def test_every_reason_has_its_code() -> None:
    allowed = {
        "is not a string",
        "is not true or false",
        "is not an array",
        "contradicts the folder",
    }
    assert {reason for reason in REASONS if code_of(f"x {reason}") == "not_allowed"} == allowed
