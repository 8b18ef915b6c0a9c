"""Campaign: raw files that hypothesis makes up, read as the workers read them, for some seconds.

Values of any kind in each format and table, and good files with their bytes changed. After each
example: nothing was raised but the platform's own errors; every row that an independent count finds
in the file is either valid or set aside; the valid rows are those of the plain loops below. Where
changed bytes cannot be judged by themselves (Parquet, quotes in CSV), only the counts are compared.
"""

import gzip
import json
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from training_assets.errors import RawDataError, SchemaError
from training_assets.lake import Lake
from training_assets.schemas import (
    ADD_TO_CARTS,
    CLICKS,
    IMPRESSIONS,
    MAX_ITEM_ID,
    PREVIOUS_ORDERS,
    RAW_TABLES,
    Table,
)
from training_assets.sources import find_raw_days
from training_assets_tests.reliability.campaign.outcome import Outcome
from training_assets_tests.support.frames import DAY, at, before
from training_assets_tests.support.raw_input import (
    FORMATS,
    TEXTS,
    WRITE,
    Fault,
    Row,
    json_lines,
    parse_all,
    put,
    rankings_left_out,
)
from training_assets_tests.unit.sources.test_fuzz import anything, some_ids, some_items

CAMPAIGN = "fuzz"
_EXAMPLES = 60
_ACTIONS = (CLICKS, ADD_TO_CARTS, PREVIOUS_ORDERS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Draw = Callable[[st.SearchStrategy[Any]], Any]


def run(scratch: Path, seed: int, times: int) -> list[Outcome]:
    """One outcome per property; ``times`` are the seconds for all of them together."""
    tried: Counter[str] = Counter()
    ends: dict[str, Counter[str]] = {name: Counter() for name in PROPERTIES}
    failed: dict[str, str] = {}
    until, number = time.monotonic() + times, seed
    while time.monotonic() < until and len(failed) < len(PROPERTIES):
        for name in PROPERTIES:
            if name not in failed and (number == seed or time.monotonic() < until):
                failed |= _attempt(name, scratch / "fuzz", number, tried, ends[name])
        number += 1
    return [
        Outcome(
            CAMPAIGN,
            name,
            tried[name],
            f"NOT AS PROMISED: {failed[name]}" if name in failed else _words(ends[name]),
            lost_rows=int(name in failed),
        )
        for name in PROPERTIES
    ]


def _words(ends: Counter[str]) -> str:
    return (
        ", ".join(f"{count:,} {end}" for end, count in sorted(ends.items())) + "; none unexplained"
    )


def _attempt(
    name: str, root: Path, number: int, tried: Counter[str], ends: Counter[str]
) -> dict[str, str]:
    @seed(number)
    @settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def attempt(data: st.DataObject) -> None:
        tried[name] += 1
        ends[PROPERTIES[name](data.draw, root)] += 1

    try:
        attempt()
    except Exception as error:
        notes = " ".join(getattr(error, "__notes__", []))
        return {name: f"{type(error).__name__}: {error} {notes}"[:1500]}
    return {}


# --- what a row must become -----------------------------------------------------------------------


def item_column(table: Table) -> str:
    return "item_id" if table is CLICKS else "config_id"


def time_column(table: Table) -> str:
    return "click_time" if table is CLICKS else "occurred_at"


def is_integer(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def time_of(value: Any) -> datetime | None:
    """The instant that a text says; raises ``ValueError`` where it says none."""
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d([T ]|$)", value.strip(), re.A):
        raise ValueError(value)
    parsed = datetime.fromisoformat(value.strip())
    try:
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(value) from error


def expected_action(table: Table, row: Any, day: date = DAY) -> tuple[Any, ...] | None:
    """(customer, item, time) of a raw action of that folder, None where it is invalid."""
    if type(row) is not dict:
        return None
    customer, item = row.get("customer_id"), row.get(item_column(table))
    when = row.get(time_column(table))
    if row.get(table.day_column, str(day)) is None:
        return None
    stated = row.get(table.day_column, str(day))
    if not isinstance(stated, str) or stated.strip() != str(day):
        return None
    try:
        moment = None if when is None else time_of(when)
    except ValueError:
        return None
    if not is_integer(customer, -(2**63), 2**63 - 1) or not is_integer(item, 1, MAX_ITEM_ID):
        return None
    return customer, item, moment


def actions_of(table: Table, rows: list[Row]) -> list[tuple[Any, ...]]:
    names = ("customer_id", item_column(table), time_column(table))
    return [tuple(row[name] for name in names) for row in rows]


def valid_items(items: Any) -> list[tuple[int, bool]]:
    return [
        (item["item_id"], item["is_order"])
        for item in items or []
        if type(item) is dict
        and is_integer(item.get("item_id"), 1, MAX_ITEM_ID)
        and type(item.get("is_order")) is bool
    ]


def json_row(line: bytes) -> Any:
    try:
        return json.loads(line.decode().strip(" \t\r\n"))
    except (ValueError, RecursionError):
        return None


def lines_of(content: bytes) -> list[bytes]:
    bare = (line.rstrip(b"\r\n") for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    return [line for line in bare if line and not line.isspace()]


# --- reading --------------------------------------------------------------------------------------


def fresh(root: Path) -> Path:
    """The root without the raw files of the example before."""
    for path in root.rglob("*"):
        if path.is_file():
            path.unlink()
    return root


def read_rows(root: Path, table: Table) -> tuple[list[Row], list[Row]] | None:
    """Valid rows and faults of DAY; None where the file is refused by an error of ours."""
    try:
        found = find_raw_days(Lake.at(root), table, [DAY], allow_missing=True)
        valid = parse_all(found, wants_rejects=False)
        faults = parse_all(found, wants_rejects=True)
        counted = found.count_rows()[DAY]
    except (RawDataError, SchemaError) as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert "raw/" in refusal, f"does not name the file: {refusal}"
        kinds = {unicodedata.category(character) for character in refusal}
        assert not kinds & {"Cc", "Cs", "Zl", "Zp"}, f"has control characters: {refusal!r}"
        return None
    if table is not IMPRESSIONS:
        assert len(valid) + len(faults) == counted
    else:
        assert rankings_left_out(found, valid, [Fault(**row) for row in faults]) >= 0
    assert all(row["source_file"] and row["reason"] for row in faults)
    return valid, faults


# --- properties: each makes one file, reads it, and says how that ended ---------------------------

texts_of_time = st.sampled_from(
    [
        "2024-05-10T10:00:00Z",
        "2024-05-10 10:00:00.123456789",
        "2024-05-10T23:59:59+05:30",
        "2024-05-10",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999Z",
        "2024-02-30T10:00:00",
        "2024-05-10T24:00:00",
        "2024-05-10T10:00:00.5Z",
        " 2024-05-10T10:00 ",
        "1715342400",
        "20240510",
    ]
)
some_days = st.sampled_from([str(DAY), str(before(1)), f" {DAY} ", "2024-5-10", "20240510", None])
some_times = st.none() | texts_of_time | anything


def _json_actions(draw: Draw, root: Path) -> str:
    table = draw(st.sampled_from(_ACTIONS))
    fields = {
        "customer_id": some_ids,
        item_column(table): some_ids,
        time_column(table): some_times,
    }
    optional = {table.day_column: some_days | anything, "simple_id": anything}
    rows = draw(st.lists(st.fixed_dictionaries(fields, optional=optional), max_size=10))
    put(fresh(root), "a.jsonl", json_lines(rows), table)
    return _judge_json(
        root, table, [json_row(line) for line in lines_of(json_lines(rows).encode())]
    )


def _judge_json(root: Path, table: Table, rows: list[Any]) -> str:
    found = read_rows(root, table)
    assert found is not None or not any(_has_all(table, row) for row in rows)
    if found is None:
        return "refused"
    if table is IMPRESSIONS:
        return _judge_rankings(found, rows)
    expected = [hit for row in rows if (hit := expected_action(table, row))]
    assert actions_of(table, found[0]) == expected
    assert len(found[0]) + len(found[1]) == len(rows)
    return "read"


def _has_all(table: Table, row: Any) -> bool:
    needed = {c.name for c in table.columns if not c.is_optional} - {table.day_column}
    return type(row) is dict and needed <= row.keys()


def _judge_rankings(found: tuple[list[Row], list[Row]], rows: list[Any]) -> str:
    expected, num_faults = [], 0
    for row in rows:
        items = row.get("impressions") if type(row) is dict else None
        name = row.get("ranking_id") if type(row) is dict else None
        is_whole = (
            type(row) is dict
            and is_integer(row.get("customer_id"), -(2**63), 2**63 - 1)
            and (items is None or type(items) is list)
            and (name is None or (isinstance(name, str) and _is_utf8(name)))
            and row.get("dt", str(DAY)) == str(DAY)
        )
        if not is_whole:
            num_faults += 1
            continue
        valid = valid_items(items)
        num_faults += len(items or []) - len(valid)
        if valid:
            expected.append((row["customer_id"], name, valid))
    shown = [
        (
            row["customer_id"],
            row["ranking_id"],
            [(item["item_id"], item["is_order"]) for item in row["impressions"]],
        )
        for row in found[0]
    ]
    assert shown == expected
    assert len(found[1]) == num_faults
    return "read"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_rankings(draw: Draw, root: Path) -> str:
    fields = {
        "ranking_id": st.none() | st.text(max_size=5) | anything,
        "customer_id": some_ids,
        "impressions": st.lists(some_items, max_size=4) | anything,
    }
    rows = draw(st.lists(st.fixed_dictionaries(fields), max_size=8))
    put(fresh(root), "a.jsonl", json_lines(rows), IMPRESSIONS)
    return _judge_json(root, IMPRESSIONS, [json.loads(json.dumps(row)) for row in rows])


cells = (
    st.integers(-3, 9).map(str)
    | st.integers(-(2**70), 2**70).map(str)
    | st.text(max_size=6)
    | st.text("0123456789+-. ,\"'\r\t", max_size=6)
    | texts_of_time
)


def _csv_actions(draw: Draw, root: Path) -> str:
    table = draw(st.sampled_from(_ACTIONS))
    names = ["customer_id", item_column(table), time_column(table), "note"]
    names = draw(st.permutations(names))
    lines = draw(st.lists(st.lists(cells, min_size=3, max_size=5).map(",".join), max_size=10))
    content = "\n".join([",".join(names), *lines]).encode(errors="surrogatepass")
    put(fresh(root), "a.csv", content, table)
    return _judge_csv(root, table, content)


def _judge_csv(root: Path, table: Table, content: bytes) -> str:
    found = read_rows(root, table)
    if found is None:
        return "refused"
    header, *lines = lines_of(content) or [b""]
    assert len(found[0]) + len(found[1]) == len(lines)
    if b'"' not in content:
        names = [name.strip() for name in header.decode(errors="replace").split(",")]
        rows = [_csv_row(table, names, line) for line in lines]
        expected = [hit for row in rows if (hit := expected_action(table, row))]
        assert actions_of(table, found[0]) == expected
    return "read"


def _csv_row(table: Table, names: list[str], line: bytes) -> Row | None:
    try:
        values = line.decode().split(",")
    except UnicodeDecodeError:
        return None
    if len(values) != len(names) or b"\r" in line:
        return None
    row: Row = {}
    for name, text in zip(names, values, strict=True):
        row[name] = text.strip() or None
        if name in ("customer_id", item_column(table)) and row[name] is not None:
            is_number = re.fullmatch(r"[+-]?[0-9]{1,4000}", row[name])
            row[name] = int(row[name]) if is_number else row[name]
    return row


def _csv_rankings(draw: Draw, root: Path) -> str:
    items = draw(st.lists(st.lists(some_items, max_size=3) | anything, max_size=6))
    rows = [
        {"ranking_id": f"r{n}", "customer_id": n, "impressions": json.dumps(value)}
        for n, value in enumerate([*items, [None]])
    ]
    put(fresh(root), "a.csv", WRITE["csv"](rows), IMPRESSIONS)
    parsed = [{**row, "impressions": json.loads(row["impressions"])} for row in rows]
    return _judge_json(root, IMPRESSIONS, parsed)


number_types = st.sampled_from(
    [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()]
)
wrong_types = st.sampled_from([pa.string(), pa.float64(), pa.bool_(), pa.date32(), pa.binary()])


def _numbers(draw: Draw, size: int) -> pa.Array:
    type_ = draw(number_types)
    is_signed = pa.types.is_signed_integer(type_)
    low = -(2 ** (type_.bit_width - 1)) if is_signed else 0
    values = st.none() | st.integers(low, low + 2**type_.bit_width - 1) | st.integers(1, 9)
    column = pa.array(draw(st.lists(values, min_size=size, max_size=size)), type_)
    return column.dictionary_encode() if draw(st.booleans()) else column


def _parquet_actions(draw: Draw, root: Path) -> str:
    table, size = draw(st.sampled_from(_ACTIONS)), draw(st.integers(0, 12))
    unit, zone = draw(st.sampled_from(["ms", "us", "ns"])), draw(st.sampled_from([None, "UTC"]))
    ticks = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**9), 10**9)
    times = pa.array(draw(st.lists(ticks, min_size=size, max_size=size)), pa.timestamp(unit, zone))
    columns = {
        "customer_id": _numbers(draw, size),
        item_column(table): _numbers(draw, size),
        time_column(table): times,
    }
    days = [draw(st.sampled_from([DAY, DAY, DAY, before(1), None])) for _ in range(size)]
    if draw(st.booleans()):
        columns[table.day_column] = pa.array(days, pa.date32())
    else:
        days = [DAY] * size
    is_wrong = draw(st.integers(0, 9)) == 0
    if is_wrong:
        columns["customer_id"] = pa.nulls(size, draw(wrong_types))
    put(fresh(root), "a.parquet", pa.table(columns), table)
    found = read_rows(root, table)
    assert (found is None) == is_wrong
    if found is None:
        return "refused"
    per_second = {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    expected = []
    for customer, item, tick, day in zip(
        columns["customer_id"].to_pylist(),
        columns[item_column(table)].to_pylist(),
        times.cast(pa.int64()).to_pylist(),
        days,
        strict=True,
    ):
        is_time = tick is None or -62_135_596_800 <= tick // per_second < 253_402_300_800
        is_row = is_integer(customer, -(2**63), 2**63 - 1) and is_integer(item, 1, MAX_ITEM_ID)
        if is_row and is_time and day == DAY:
            micros = None if tick is None else tick * 10**6 // per_second
            moment = None if micros is None else _EPOCH + timedelta(microseconds=micros)
            expected.append((customer, item, moment))
    assert actions_of(table, found[0]) == expected
    assert len(found[0]) + len(found[1]) == size
    return "read"


def _parquet_rankings(draw: Draw, root: Path) -> str:
    id_type = draw(st.sampled_from([pa.int8(), pa.int32(), pa.int64()]))
    high = 2 ** (id_type.bit_width - 1) - 1
    item = st.none() | st.fixed_dictionaries(
        {
            "item_id": st.none() | st.integers(-high, high) | st.integers(1, 9),
            "is_order": st.none() | st.booleans(),
        }
    )
    row = st.fixed_dictionaries(
        {
            "ranking_id": st.none() | st.text(st.characters(codec="utf-8"), max_size=4),
            "customer_id": st.none() | st.integers(-(2**63), 2**63 - 1),
            "impressions": st.none() | st.lists(item, max_size=4),
        }
    )
    rows = draw(st.lists(row, max_size=8))
    struct = pa.struct([("item_id", id_type), ("is_order", pa.bool_())])
    fields = [("ranking_id", pa.string()), ("customer_id", pa.int64())]
    list_type = draw(st.sampled_from([pa.list_, pa.large_list]))(struct)
    schema = pa.schema([*fields, ("impressions", list_type)])
    put(fresh(root), "a.parquet", pa.Table.from_pylist(rows, schema), IMPRESSIONS)
    found = read_rows(root, IMPRESSIONS)
    assert found is not None
    return _judge_rankings(found, rows)


def good_rows(table: Table) -> list[Row]:
    if table is IMPRESSIONS:
        items = [{"item_id": 5, "is_order": True}, {"item_id": 6, "is_order": False}]
        return [
            {"ranking_id": f"r{n}", "customer_id": n, "impressions": items} for n in range(1, 20)
        ]
    return [
        {"customer_id": n * 7919, item_column(table): n, time_column(table): at(DAY)}
        for n in range(1, 40)
    ]


GOOD = {
    (table.name, ending): WRITE[ending](good_rows(table))
    for table in RAW_TABLES.values()
    for ending in FORMATS
}


def _damaged(draw: Draw, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(damaged)))
        end = min(len(damaged), start + draw(st.integers(0, 12)))
        how = draw(st.sampled_from(["set", "insert", "remove", "repeat", "flip", "cut"]))
        if how == "set":
            damaged[start:end] = draw(st.binary(min_size=end - start, max_size=end - start))
        elif how == "insert":
            odd = st.sampled_from([b'"', b"\n", b"\r\n", b",", b"\0", b"\xff", b"{", b"]", b"\\"])
            damaged[start:start] = draw(odd | st.binary(max_size=8))
        elif how == "remove":
            del damaged[start:end]
        elif how == "repeat":
            damaged[start:start] = damaged[start:end] * draw(st.integers(1, 20))
        elif how == "flip" and start < len(damaged):
            damaged[start] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut" and draw(st.integers(0, 4)) == 0:
            del damaged[start:]
    return bytes(damaged)


def _damaged_pages(draw: Draw, content: bytes) -> bytes:
    damaged = bytearray(content)
    footer = int.from_bytes(content[-8:-4], "little") + 8
    for _ in range(draw(st.integers(1, 6))):
        damaged[draw(st.integers(4, len(content) - footer - 1))] = draw(st.integers(0, 255))
    return bytes(damaged)


def _changed_text(draw: Draw, root: Path) -> str:
    table, ending = draw(st.sampled_from([*RAW_TABLES.values()])), draw(st.sampled_from(TEXTS))
    content = _damaged(draw, GOOD[table.name, ending].encode())
    put(fresh(root), f"a.{ending}", content, table)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or content[:4] == b"\0\0\xfe\xff":
        assert read_rows(root, table) is None
        return "refused"
    if ending == "jsonl":
        return _judge_json(root, table, [json_row(line) for line in lines_of(content)])
    if table is not IMPRESSIONS:
        return _judge_csv(root, table, content)
    return "refused" if read_rows(root, table) is None else "read"


def _changed_binary(draw: Draw, root: Path) -> str:
    table = draw(st.sampled_from([*RAW_TABLES.values()]))
    ending = draw(st.sampled_from(["parquet", "jsonl.gz", "csv.gz"]))
    if ending == "parquet":
        options = {
            "compression": draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])),
            "use_dictionary": draw(st.booleans()),
            "row_group_size": draw(st.sampled_from([5, 1000])),
            "write_page_checksum": draw(st.booleans()),
            "data_page_version": draw(st.sampled_from(["1.0", "2.0"])),
        }
        sink = pa.BufferOutputStream()
        pq.write_table(GOOD[table.name, "parquet"], sink, **options)
        content = sink.getvalue().to_pybytes()
        if draw(st.booleans()):
            # Only the pages: a damaged footer is refused before any of them is looked at.
            content = _damaged_pages(draw, content)
            put(fresh(root), "a.parquet", content, table)
            return "refused" if read_rows(root, table) is None else "read"
    else:
        whole = GOOD[table.name, ending.removesuffix(".gz")].encode()
        content = gzip.compress(whole, mtime=0)
    put(fresh(root), f"a.{ending}", _damaged(draw, content), table)
    return "refused" if read_rows(root, table) is None else "read"


def _any_bytes(draw: Draw, root: Path) -> str:
    table = draw(st.sampled_from([*RAW_TABLES.values()]))
    name = draw(st.sampled_from(["a.parquet", "a.json", "a.csv", "a.csv.gz", "a.ndjson.gz", "a.x"]))
    is_flat = table is PREVIOUS_ORDERS and draw(st.booleans())
    put(fresh(root), name, draw(st.binary(max_size=400)), table, None if is_flat else f"dt={DAY}")
    return "refused" if read_rows(root, table) is None else "read"


def _flat_orders(draw: Draw, root: Path) -> str:
    ending, size = draw(st.sampled_from(FORMATS)), draw(st.integers(1, 10))
    days = [draw(st.sampled_from([DAY, before(1), before(2), None])) for _ in range(size)]
    items = [draw(st.sampled_from([0, 1, 2, 3])) for _ in range(size)]
    rows = [
        {"order_date": d, "customer_id": n, "config_id": item}
        for n, (d, item) in enumerate(zip(days, items, strict=True))
    ]
    put(fresh(root), f"a.{ending}", WRITE[ending](rows), PREVIOUS_ORDERS, None)
    found = read_rows(root, PREVIOUS_ORDERS)
    first = min((d for d in days if d), default=None)
    if found is None:
        assert first is None
        return "refused"
    of_day = [(d or first, d, item) for d, item in zip(days, items, strict=True)]
    mine = [(stated, item) for d, stated, item in of_day if d == DAY]
    assert len(found[0]) == sum(item > 0 and stated is not None for stated, item in mine)
    assert len(found[0]) + len(found[1]) == len(mine)
    return "read"


PROPERTIES: dict[str, Callable[[Draw, Path], str]] = {
    "JSON actions of any value": _json_actions,
    "JSON rankings of any value": _json_rankings,
    "CSV actions of any cells": _csv_actions,
    "CSV rankings of any items": _csv_rankings,
    "Parquet actions of any types": _parquet_actions,
    "Parquet rankings of any types": _parquet_rankings,
    "good JSON and CSV, bytes changed": _changed_text,
    "good Parquet and gzip, bytes changed": _changed_binary,
    "any bytes under any name": _any_bytes,
    "flat orders of any days": _flat_orders,
}
