"""What sources.toml makes of columns and rows: constants, other words, parts, elements."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.errors import RawDataError, SchemaError, SettingsError
from training_assets.lake import Lake
from training_assets.schemas import CLICKS, IMPRESSIONS, RAW_INTERACTIONS, RAW_USERS, Table
from training_assets.sources import find_raw_days, source_days
from training_assets.sources.declared import parse
from training_assets.sources.text_ids import TextIds, as_texts
from training_assets_tests.support.raw_input import parse_all

DAY = date(2026, 3, 1)
FORMATS = ("jsonl", "csv", "parquet")
Row = dict[str, Any]


def deliver(root: Path, declared: str, rows: list[Row], format_: str, path: str = "in/a") -> Path:
    target = root / f"{path}.{format_}"
    target.parent.mkdir(parents=True, exist_ok=True)
    (root / "sources.toml").write_text(declared)
    if format_ == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), target)
    elif format_ == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        target.write_text("\n".join(lines) + "\n")
    else:
        target.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def read(root: Path, table: Table, day: date = DAY, *, rejects: bool = False) -> list[Row]:
    raw = find_raw_days(Lake.at(root), table, [day])
    assert sum(raw.count_rows().values()) == sum(
        len(parse_all(raw, wants_rejects=wanted)) for wanted in (False, True)
    )
    return parse_all(raw, wants_rejects=rejects)


ACTIONS = """
    [interactions]
    path = "in"
    where = { type = [1, 4] }
    [interactions.columns]
    dt = { from = "time", unit = "ms" }
    user_id = { from = "pair", split = "_", part = 1 }
    item_id = { from = "pair", split = "_", part = 2 }
    interaction_type = { from = "type", values = { 1 = "view", 4 = "purchase" } }
    timestamp = { from = "time", unit = "ms" }
    page_context = { value = "Home" }
"""


@pytest.mark.parametrize("format_", FORMATS)
def test_parts_words_and_constants_are_the_same_in_each_format(
    tmp_path: Path, format_: str
) -> None:
    at = 1_772_359_200_000
    rows = [
        {"pair": "7_42", "type": 1, "time": at},
        {"pair": "8_43", "type": 4, "time": at},
        {"pair": "9_44", "type": 3, "time": at},
        {"pair": "10", "type": 1, "time": at},
        {"pair": "7_45", "type": 1, "time": at + 86_400_000},
    ]
    root = deliver(tmp_path, ACTIONS, rows, format_)
    assert source_days(Lake.at(root), RAW_INTERACTIONS).days == (DAY, date(2026, 3, 2))
    names = ("user_id", "item_id", "interaction_type", "page_context")
    found = [tuple(row[name] for name in names) for row in read(root, RAW_INTERACTIONS)]
    assert found == [("7", "42", "view", "home"), ("8", "43", "purchase", "home")]
    assert [r["reason"] for r in read(root, RAW_INTERACTIONS, rejects=True)] == ["item_id is null"]


NESTED = """
    [interactions]
    path = "in"
    rows = "events"
    [interactions.columns]
    dt = { from = "events.ts", unit = "s" }
    user_id = "session"
    item_id = "events.aid"
    interaction_type = { from = "events.type", values = { clicks = "click" } }
    timestamp = { from = "events.ts", unit = "s" }
"""


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_each_element_of_an_array_is_a_row(tmp_path: Path, format_: str) -> None:
    at = 1_772_359_200
    event = {"aid": 5, "ts": at, "type": "clicks"}
    rows: list[Row] = [
        {"session": 1, "events": [event, {**event, "aid": 6}]},
        {"session": 2, "events": []},
        {"session": 3, "events": None},
        {"session": 4, "events": [{**event, "type": "buys"}]},
    ]
    root = deliver(tmp_path, NESTED, rows, format_)
    names = ("user_id", "item_id", "interaction_type")
    found = [tuple(row[name] for name in names) for row in read(root, RAW_INTERACTIONS)]
    assert found == [("1", "5", "click"), ("1", "6", "click")]
    (rejected,) = read(root, RAW_INTERACTIONS, rejects=True)
    assert rejected["reason"].startswith("interaction_type is not one of")
    assert "buys" in rejected["content"]
    # The other elements of its array are no part of what is set aside.
    assert "clicks" not in rejected["content"]


def test_what_is_no_array_is_set_aside_or_refused(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"session": 1, "events": [{"aid": 5, "ts": 1_772_359_200, "type": "clicks"}]},
        {"session": 2, "events": "none"},
    ]
    raw = find_raw_days(Lake.at(deliver(tmp_path, NESTED, rows, "jsonl")), RAW_INTERACTIONS, [DAY])
    assert [r["reason"] for r in parse_all(raw, wants_rejects=True)] == ["events is not an array"]
    with pytest.raises(RawDataError, match=r"rows = 'events' of sources.toml is int64"):
        read(deliver(tmp_path / "p", NESTED, [{"events": 1}], "parquet"), RAW_INTERACTIONS)
    with pytest.raises(RawDataError, match="expected arrays, which CSV lacks"):
        read(deliver(tmp_path / "c", NESTED, [{"events": 1}], "csv"), RAW_INTERACTIONS)


def test_a_path_may_name_one_file_that_serves_several_sources(tmp_path: Path) -> None:
    declared = """
        [impressions]
        path = "in/log.csv"
        [impressions.columns]
        dt = { from = "at", time = true }
        customer_id = "u"
        ranking_id = "u"
        item_id = "v"
        is_order = { value = false }
        [clicks]
        path = "in/log.csv"
        where = { is_click = 1 }
        columns = { dt = "at", customer_id = "u", item_id = "v", click_time = "at" }
    """
    rows = [
        {"u": 1, "v": 5, "at": "2026-03-01 10:00:00", "is_click": 1},
        {"u": 1, "v": 6, "at": "2026-03-01 11:00:00", "is_click": 0},
    ]
    root = deliver(tmp_path, declared, rows, "csv", "in/log")
    (root / "in/other.csv").write_text("x\n1\n")
    assert [row["item_id"] for row in read(root, CLICKS)] == [5]
    shown = [(row["item_id"], row["is_order"]) for row in read(root, IMPRESSIONS)]
    assert shown == [(5, False), (6, False)]


def test_days_that_are_not_the_partition_may_be_numbers(tmp_path: Path) -> None:
    declared = """
        [users]
        path = "in"
        columns = { dt = { value = 2026-03-01 }, join_date = { from = "t", unit = "ms" } }
    """
    root = deliver(tmp_path, declared, [{"user_id": 1, "t": 1_772_359_200_000}], "parquet")
    (row,) = read(root, RAW_USERS)
    assert (row["dt"], row["join_date"]) == (DAY, DAY)
    assert source_days(Lake.at(root), RAW_USERS).days == (DAY,)


@pytest.mark.parametrize(
    ("folder", "template"),
    [
        # pandas, partition_cols=["event_date"] of times.
        ("event_date=2026-03-01%2000%3A00%3A00.000", "event_date={dt}"),
        # Spark, partitionBy a time.
        ("event_date=2026-03-01 00%3A00%3A00", "event_date={dt}"),
        # Polars, and Spark of a date.
        ("event_date=2026-03-01", "event_date={dt}"),
        ("event_date=20260301", "event_date={yyyymmdd}"),
        # DuckDB, PARTITION_BY (year, month, day).
        ("year=2026/month=3/day=1", "year={year}/month={month}/day={day}"),
    ],
)
def test_days_of_folders_that_other_tools_make(tmp_path: Path, folder: str, template: str) -> None:
    rows: list[Row] = [{"customer_id": 1, "item_id": 5}]
    root = deliver(tmp_path, "[clicks]\npath = 'in'", rows, "parquet", f"in/{folder}/part-0")
    # Whoever names the folder above is told how to go on.
    with pytest.raises(SchemaError) as raised:
        find_raw_days(Lake.at(root), CLICKS, [DAY])
    path = f"{root}/in/{template}"
    assert f'Its folders tell the day: write [clicks] path = "{path}"' in str(raised.value)
    (root / "sources.toml").write_text(f"[clicks]\npath = '{path}'")
    assert source_days(Lake.at(root), CLICKS).days == (DAY,)
    assert [row["item_id"] for row in read(root, CLICKS)] == [5]


def test_a_time_that_is_not_midnight_is_no_day_of_a_folder(tmp_path: Path) -> None:
    declared = "[clicks]\npath = 'in/at={dt}'"
    folder = "in/at=2026-03-01%2010%3A00%3A00.000/part-0"
    root = deliver(tmp_path, declared, [{"customer_id": 1, "item_id": 5}], "parquet", folder)
    with pytest.raises(RawDataError, match="the file is read for no day"):
        find_raw_days(Lake.at(root), CLICKS, [DAY])


def test_a_first_line_of_values_is_taken_for_no_header(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("2026-03-01,7,5,2026-03-01T10:00:00.000Z,58.00\n" * 2)
    (tmp_path / "sources.toml").write_text("[clicks]\npath = 'in'")
    with pytest.raises(SchemaError, match=r"\[clicks.csv\] header = false, and name columns by"):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    columns = '{ dt = "1", customer_id = "2", item_id = "3", click_time = "4" }'
    (tmp_path / "sources.toml").write_text(
        f"[clicks]\npath = 'in'\ncolumns = {columns}\ncsv.header = false"
    )
    assert [row["item_id"] for row in read(tmp_path, CLICKS)] == [5, 5]


def test_a_long_first_row_behind_a_byte_order_mark_has_all_its_columns(tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text(
        "[clicks]\npath = 'in/dt={dt}'\ncsv.header = false\n"
        "columns = { customer_id = '2', item_id = '3' }"
    )
    folder = tmp_path / f"in/dt={DAY}"
    folder.mkdir(parents=True)
    line = f"{'x' * 5_000},7,5\n"
    (folder / "a.csv").write_text(f"\ufeff{line}{line}")
    assert [found["item_id"] for found in read(tmp_path, CLICKS)] == [5, 5]


EXPORTS = Path(__file__).parents[3] / "examples/sources/exports"


@pytest.mark.parametrize("tool", ["pandas", "polars", "duckdb", "spark", "tracker"])
def test_declarations_of_exports_are_understood(tool: str) -> None:
    assert parse((EXPORTS / f"{tool}.toml").read_bytes(), tool).sources


RETURNS = """
    [interactions]
    path = "in"
    returns = "subtract"
    columns.dt = { from = "timestamp", time = true }
    columns.interaction_type = { from = "interaction_type", values = { refund = "return" } }
"""


@pytest.mark.parametrize("format_", FORMATS)
def test_a_purchase_below_zero_is_a_return_where_that_is_declared(
    tmp_path: Path, format_: str
) -> None:
    plain = {"user_id": 1, "timestamp": "2026-03-01 10:00:00", "interaction_type": "purchase"}
    told = [
        {"quantity": 2, "price": "5.00", "amount": "10.00"},
        {"quantity": -1, "price": "5.00", "amount": "5.00"},
        {"quantity": 0, "price": "5.00", "amount": "0"},
        {"quantity": 1, "price": "-5.00", "amount": "0"},
        {"quantity": 1, "price": "5.00", "amount": "-0.01"},
        {"quantity": 1, "price": "5.00", "amount": "5", "interaction_type": "refund"},
        {"quantity": -1, "price": "5.00", "amount": "5", "interaction_type": "add_to_cart"},
        {"quantity": 1, "price": "-1.00", "amount": "5", "interaction_type": "view"},
    ]
    rows = [{**plain, "item_id": n, **row} for n, row in enumerate(told, 1)]
    root = deliver(tmp_path, RETURNS, rows, format_)
    found = {row["item_id"]: row["interaction_type"] for row in read(root, RAW_INTERACTIONS)}
    assert found == {"1": "purchase", **dict.fromkeys("23456", "return")}
    reasons = [row["reason"] for row in read(root, RAW_INTERACTIONS, rejects=True)]
    assert reasons == ["quantity is not above 0", "price is below 0"]
    undeclared = RETURNS.replace('returns = "subtract"', "").replace("refund =", "order =")
    deliver(tmp_path, undeclared.replace('"return"', '"purchase"'), rows, format_)
    assert [row["item_id"] for row in read(root, RAW_INTERACTIONS)] == ["1"]


def test_endlessly_many_are_no_return(tmp_path: Path) -> None:
    plain = {"user_id": 1, "item_id": 1, "timestamp": "2026-03-01 10:00:00"}
    rows = [
        {**plain, "interaction_type": "return", "quantity": many} for many in (float("-inf"), -1.0)
    ]
    root = deliver(tmp_path, RETURNS, rows, "parquet")
    assert [row["quantity"] for row in read(root, RAW_INTERACTIONS)] == [-1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[items]\nsnapshot = 'change'",
            r"\[items\] snapshot is 'change' \(did you mean 'changes'",
        ),
        ("[clicks]\nsnapshot = 'full'", r"snapshot is 'full'; expected that only of items, users"),
        ("[items]\ndedupe = 'exact'", r"dedupe is 'exact'; expected that only of sources of a"),
        ("[clicks]\nreturns = 'subtract'", r"'subtract'; expected that only of interactions"),
        ("[interactions]\nreturns = 'ignore'", r"returns is 'ignore'; expected one of subtract"),
        ("[interactions]\ndedupe = true", r"dedupe is True; expected one of exact"),
        ("[items]\nengagement = 'view'", r"expected that only of sources of actions"),
        (
            "[clicks]\nengagement = 'click'\n[interactions]\nengagement = 'view'",
            r"engagement is view in \[interactions\] and click in \[clicks\]",
        ),
        ("[clicks]\ncomplete = false", r"complete: expected that only of items, users"),
        ("[clicks]\nrows = 'a.b'", r"rows is 'a.b'; expected the name of one column of arrays"),
        (
            "[interactions]\ncolumns = { interaction_type = { values = { a = 'buy' } } }",
            r"values.a is 'buy'; expected one of view, click",
        ),
        (
            "[interactions]\ncolumns = { interaction_type = { value = 'vew' } }",
            r"value is 'vew' \(did you mean 'view'",
        ),
        ("[clicks]\ncolumns = { item_id = { value = 'x' } }", r"item_id is not an integer"),
        ("[clicks]\ncolumns = { item_id = { value = 1, unit = 's' } }", r"expected nothing else"),
        ("[clicks]\ncolumns = { item_id = { from = 'a', split = '_' } }", r"expected both"),
        ("[clicks]\ncolumns = { item_id = { from = 'a', time = true } }", r"only of the day"),
        (
            "[clicks]\ncolumns = { click_time = { id = 'text' } }",
            r"is none of a customer or an item",
        ),
        ("[clicks]\ncolumns = { item_id = { id = 'texts' } }", r"id is 'texts' .*'text'"),
        (
            "[impressions]\ncolumns = { impressions = { value = 1 } }",
            r"expected only where it stands",
        ),
    ],
)
def test_a_mistake_is_told(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(text.encode(), "sources.toml")


def test_tables_have_texts_of_the_entities_that_are_texts() -> None:
    types = {c.name: c.type for c in as_texts(CLICKS, TextIds(("item",))).columns}
    assert (types["customer_id"], types["item_id"]) == ("long", "string")
