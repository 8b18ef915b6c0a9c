"""Kinds of bad input: columns, nesting, values."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.schemas import CLICKS, IMPRESSIONS, Table
from training_assets_tests.reliability.campaign.planting import (
    ACTIONS,
    ALL,
    EVE,
    FORMATS,
    Kind,
    Plant,
    content_of,
    drop,
    everywhere,
    good,
    item_column,
    parquet,
    planted,
    refused,
    time_column,
    with_day,
)
from training_assets_tests.support.frames import at
from training_assets_tests.support.raw_input import TEXTS, WRITE, Row

_OUTSIDE = "outside 1..2147483647"
_SHOWN = pa.struct([("item_id", pa.int64()), ("is_order", pa.bool_())])


def column_kinds() -> Iterator[Kind]:
    for name, new_name in (
        ("needed column is missing", None),
        ("needed column has another name", "{}_new"),
        ("needed column is in capitals", "upper"),
    ):
        acts = []
        for table in ALL:
            gone = "impressions" if table is IMPRESSIONS else item_column(table)
            for ending, column in zip(FORMATS, ("customer_id", gone, gone), strict=True):
                row = _renamed(good(table), column, new_name)
                acts.append((table, drop(f"odd.{ending}", content_of(ending, [row]), table)))
        yield refused(name, ["the column is missing in", "odd."], acts)
    extra = {"note": "x", "price": 1.5}
    yield Kind("columns that nobody knows", tuple(_reshaped(lambda row: {**extra, **row})))
    reverse: Callable[[Row], Row] = lambda row: dict(reversed(row.items()))  # noqa: E731
    yield Kind("columns in another order", tuple(_reshaped(reverse)))
    yield Kind("optional column is absent", tuple(_without_time()))
    acts = [
        (t, drop("odd.csv", "customer_id,customer_id," + WRITE["csv"]([good(t)]), t)) for t in ALL
    ]
    yield refused("column stands twice", ["stands 3 times", "odd.csv"], acts)
    for name, role, value, type_ in (
        ("ids as days", "item", EVE, pa.date32()),
        ("ids as booleans", "item", True, pa.bool_()),
        ("ids as lists", "item", [17], pa.list_(pa.int64())),
        ("times as numbers", "time", 1_715_212_800, pa.int64()),
        ("times as fractions", "time", 1.5, pa.float64()),
    ):
        acts = [(t, drop("odd.parquet", _retyped(t, role, value, type_), t)) for t in ACTIONS]
        yield refused(f"Parquet: {name}", [": found ", "odd.parquet", "expected"], acts)
    for type_ in (pa.int16(), pa.int32(), pa.uint16(), pa.uint32(), pa.uint64()):
        types = {"customer_id": type_, "item_id": type_, "config_id": type_}
        plants = everywhere(_good_rows, ACTIONS, ["parquet"], **types)
        yield Kind(f"Parquet: ids of {type_}", tuple(plants))
    yield Kind("Parquet: ids in a dictionary", tuple(_dictionaries()))
    yield Kind("Parquet: column of type null", tuple(_null_columns()))
    odd = ["XL", 2**40, -1, 1.5]
    yield Kind("simple_id of any kind (ignored)", tuple(p for v in odd for p in _simple_ids(v)))


def nested_kinds() -> Iterator[Kind]:
    one = {"item_id": 5, "is_order": True}
    for name, value, type_ in (
        ("without labels", [{"item_id": 5}], pa.list_(pa.struct([("item_id", pa.int64())]))),
        ("as bare ids", [5], pa.list_(pa.int64())),
        ("as one struct", one, _SHOWN),
        ("as text", "[5]", pa.string()),
        ("in lists of lists", [[one]], pa.list_(pa.list_(_SHOWN))),
        (
            "with numbers for labels",
            [{"item_id": 5, "is_order": 1}],
            pa.list_(pa.struct([("item_id", pa.int64()), ("is_order", pa.int8())])),
        ),
    ):
        content = parquet([good(IMPRESSIONS, items=value)], impressions=type_)
        acts = [(IMPRESSIONS, drop("odd.parquet", content, IMPRESSIONS))]
        yield refused(f"rankings {name} in Parquet", ["impressions.impressions: found"], acts)
    wider = pa.list_(
        pa.struct([("price", pa.float64()), ("is_order", pa.bool_()), ("item_id", pa.int32())])
    )
    yield Kind(
        "rankings with more fields in another order",
        tuple(_rankings([{"price": 1.5, "is_order": True, "item_id": 5}], [one], [], wider)),
    )
    for name, items, kept, reasons in (
        ("null item in a ranking", [one, None], [one], ["item is null"]),
        (
            "item without an id",
            [{"item_id": None, "is_order": True}, one],
            [one],
            ["item_id is null"],
        ),
        (
            "item without a label",
            [{"item_id": 9, "is_order": None}, one],
            [one],
            ["is_order is null"],
        ),
        ("ranking that is null", None, None, []),
        ("ranking without items", [], None, []),
        ("ranking of which no item is valid", [None], None, ["item is null"]),
        ("item twice in a ranking (both count)", [one, one], [one, one], []),
    ):
        yield Kind(name, tuple(_rankings(items, kept, reasons)))
    for name, value, reason in (
        ("ranking that is a number", 5, "impressions is not an array"),
        ("ranking that is an object", {"item_id": 1}, "impressions is not an array"),
    ):
        yield Kind(name, tuple(_rankings(value, None, [reason], endings=TEXTS)))
    for name, item, reason in (
        ("item that is no object", 17, "item is not an object"),
        (
            "item id as text in JSON",
            {"item_id": "5", "is_order": True},
            "item_id is not an integer",
        ),
        (
            "label as a number in JSON",
            {"item_id": 5, "is_order": 1},
            "is_order is not true or false",
        ),
    ):
        yield Kind(name, tuple(_rankings([one, item], [one], [reason], endings=TEXTS)))
    row = {"customer_id": 1, "ranking_id": "r", "impressions": "[{"}
    plant = planted(IMPRESSIONS, "csv", [row], [], ["impressions is not JSON"])
    yield Kind("ranking in CSV that is no JSON", (plant,))
    for name in (
        "../../../x",
        "<img src=x onerror=alert(1)>",
        "'; DROP TABLE x; --",
        "a\n\tb\r",
        "\x1b[2J",
    ):

        def named(table: Table, n: str = name) -> Any:
            rows = [good(table, ranking_id=n)]
            return rows, rows, []

        # A line of CSV cannot hold a line break.
        endings = ["parquet", "jsonl"] if "\n" in name else FORMATS
        yield Kind(f"ranking_id {name!r}", tuple(everywhere(named, [IMPRESSIONS], endings)))
    yield Kind("ranking_id is null", tuple(_nameless()))


def id_kinds() -> Iterator[Kind]:
    for name, value, reason in (
        ("item id is null", None, "{} is null"),
        ("item id is zero", 0, "{} " + _OUTSIDE),
        ("item id is negative", -7, "{} " + _OUTSIDE),
        ("item id beyond int32", 2**31, "{} " + _OUTSIDE),
        ("item id at the end of int64", 2**63 - 1, "{} " + _OUTSIDE),
    ):
        yield Kind(name, tuple(_bad(value, reason, "item", ALL, FORMATS)))
    big = 2**63 + 7
    unsigned = {"item_id": pa.uint64(), "config_id": pa.uint64()}
    plants = [
        *_bad(big, "{} " + _OUTSIDE, "item", ALL, TEXTS),
        *_bad(big, "{} " + _OUTSIDE, "item", ACTIONS, ["parquet"], **unsigned),
    ]
    yield Kind("item id beyond int64", tuple(plants))
    yield Kind("item id of 100 digits", tuple(_bad(10**99, "{} " + _OUTSIDE, "item", ALL, TEXTS)))
    yield Kind("customer is null", tuple(_bad(None, "{} is null", "customer_id", ALL, FORMATS)))
    beyond = "{} outside 64 bits"
    plants = [
        *_bad(big, beyond, "customer_id", ALL, TEXTS),
        *_bad(big, beyond, "customer_id", ALL, ["parquet"], customer_id=pa.uint64()),
    ]
    yield Kind("customer beyond int64", tuple(plants))
    for value in (0, -5, 2**63 - 1):

        def rows_of(table: Table, v: int = value) -> Any:
            rows = [good(table, customer_id=v)]
            return rows, rows, []

        yield Kind(f"customer {value} (valid)", tuple(everywhere(rows_of)))
    for value in ("17", 17.0, True, "x", [1], 1e400):
        whole = _bad(value, "{} is not an integer", "customer_id", ALL, ["jsonl"])
        yield Kind(f"JSON: customer is {value!r}", tuple(whole))
    for value in ("1.0", "1e3", "0x1F", "1_000", "NaN", "١", "null"):
        whole = _bad(value, "{} is not an integer", "customer_id", ALL, ["csv"])
        yield Kind(f"CSV: customer is {value}", tuple(whole))


def time_kinds() -> Iterator[Kind]:
    noon = at(EVE)
    for name, text, read_as in (
        ("time with an offset", "2024-05-09T14:00:00+02:00", noon),
        ("time without a zone (UTC)", "2024-05-09 12:00:00", noon),
        (
            "time in nanoseconds",
            "2024-05-09T12:00:00.123456789Z",
            noon + timedelta(microseconds=123456),
        ),
        ("time that is a date", "2024-05-09", at(EVE, "00:00")),
        ("time in the year 1", "0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        (
            "time in the year 9999",
            "9999-12-31T23:59:59Z",
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        ),
        ("time of another day than its dt", "2024-05-20T00:00:00Z", at(EVE) + timedelta(days=10.5)),
    ):
        yield Kind(f"text: {name}", tuple(_times(text, read_as)))
    for text in (
        "nope",
        "12:00",
        "10/05/2024 12:00",
        "2024-02-30T00:00:00Z",
        "2024-05-09T25:00:00",
    ):
        yield Kind(
            f"text: time {text!r}",
            tuple(_bad(text, "{} is not a timestamp", "time", ACTIONS, TEXTS)),
        )
    for text in ("1715212800", "1715212800000"):
        whole = _bad(text, "{} is not a timestamp", "time", ACTIONS, TEXTS)
        yield Kind(f"text: time as the number {text}", tuple(whole))
    beyond = "{} outside the years 1..9999"
    text = "9999-12-31T23:59:59-01:00"
    yield Kind("text: time beyond the calendar", tuple(_bad(text, beyond, "time", ACTIONS, TEXTS)))
    for unit in ("s", "ms", "us", "ns"):
        for zone in (None, "Europe/Berlin"):
            type_ = pa.timestamp(unit, zone)
            plants = tuple(_parquet_times(type_, noon))
            yield Kind(f"Parquet: time of {type_}", plants)
    yield Kind("Parquet: time of INT96", tuple(_int96(noon)))
    far = {name: pa.timestamp("ms") for name in ("click_time", "occurred_at")}
    whole = _bad(2**60, beyond, "time", ACTIONS, ["parquet"], **far)
    yield Kind("Parquet: time beyond the calendar", tuple(whole))
    yield Kind("time is null (the day at 00:00)", tuple(_parquet_times(pa.timestamp("us"), None)))


# --- plants ---------------------------------------------------------------------------------------


def _good_rows(table: Table) -> tuple[list[Row], list[Row], list[str]]:
    rows = [good(table, time=None), good(table, time=None)]
    return rows, rows, []


def _bad(
    value: Any,
    reason: str,
    role: str,
    tables: Sequence[Table],
    endings: Sequence[str],
    **types: pa.DataType,
) -> Iterator[Plant]:
    """A row with that value between two good ones; ``reason`` with the name of the column."""

    def rows_of(table: Table) -> tuple[list[Row], list[Row], list[str]]:
        column = role
        if role == "item":
            column = "item_id" if table is IMPRESSIONS else item_column(table)
        if role == "time":
            column = time_column(table)
        # Far times have no datetime, so a column of them has none in the good rows either.
        other = {"time": None} if role == "time" and types else {}
        rows = [good(table, **other), good(table, **{role: value}), good(table, **other)]
        return rows, [rows[0], rows[2]], [reason.format(column)]

    return everywhere(rows_of, tables, endings, **types)


def _renamed(row: Row, column: str, pattern: str | None) -> Row:
    name = column.upper() if pattern == "upper" else (pattern or "").format(column)
    changed = {name if key == column else key: value for key, value in row.items()}
    return {key: value for key, value in changed.items() if key}


def _reshaped(shape: Callable[[Row], Row]) -> Iterator[Plant]:
    for table in ALL:
        for ending in FORMATS:
            row = good(table)
            yield planted(table, ending, [shape(row)], [row])


def _without_time() -> Iterator[Plant]:
    for table in ACTIONS:
        for ending in FORMATS:
            row = good(table)
            bare = {k: v for k, v in row.items() if k != time_column(table)}
            yield planted(table, ending, [bare], [bare])


def _retyped(table: Table, role: str, value: Any, type_: pa.DataType) -> pa.Table:
    column = item_column(table) if role == "item" else time_column(table)
    return parquet([good(table, **{role: value})], **{column: type_})


def _dictionaries() -> Iterator[Plant]:
    types = {
        n: pa.dictionary(pa.int32(), pa.int64()) for n in ("customer_id", "item_id", "config_id")
    }
    return everywhere(_good_rows, ACTIONS, ["parquet"], **types)


def _null_columns() -> Iterator[Plant]:
    def rows_of(table: Table) -> tuple[list[Row], list[Row], list[str]]:
        return [good(table, customer_id=None)] * 2, [], ["customer_id is null"] * 2

    return everywhere(rows_of, ALL, ["parquet"], customer_id=pa.null())


def _simple_ids(value: Any) -> Iterator[Plant]:
    def rows_of(table: Table) -> tuple[list[Row], list[Row], list[str]]:
        row = good(table)
        return [{**row, "simple_id": value}], [row], []

    type_ = pa.array([value]).type
    return everywhere(rows_of, [t for t in ACTIONS if t is not CLICKS], FORMATS, simple_id=type_)


def _rankings(
    items: Any,
    kept: list[Row] | None,
    reasons: list[str],
    type_: pa.DataType | None = None,
    endings: Sequence[str] = FORMATS,
) -> Iterator[Plant]:
    def rows_of(table: Table) -> tuple[list[Row], list[Row], list[str]]:
        row = good(table, items=items)
        valid = [] if kept is None else [{**row, "impressions": kept}]
        return [row], valid, reasons

    types = {"impressions": type_} if type_ else {}
    return everywhere(rows_of, [IMPRESSIONS], endings, **types)


def _nameless() -> Iterator[Plant]:
    def rows_of(table: Table) -> tuple[list[Row], list[Row], list[str]]:
        rows = [good(table, ranking_id=None)]
        return rows, rows, []

    return everywhere(rows_of, [IMPRESSIONS])


def _times(text: str, read_as: datetime) -> Iterator[Plant]:
    for table in ACTIONS:
        for ending in TEXTS:
            row = good(table, time=text)
            valid = {**row, time_column(table): read_as}
            yield planted(table, ending, [row], [valid])


def _parquet_times(type_: pa.DataType, when: datetime | None) -> Iterator[Plant]:
    def rows_of(table: Table) -> tuple[list[Row], list[Row], list[str]]:
        rows = [good(table, time=when)]
        return rows, rows, []

    return everywhere(rows_of, ACTIONS, ["parquet"], click_time=type_, occurred_at=type_)


def _int96(when: datetime) -> Iterator[Plant]:
    for table in ACTIONS:
        row = good(table, time=when)

        def act(root: Any, t: Table = table, r: Row = row) -> None:
            path = root / "raw" / t.name / f"dt={EVE}" / "int96.parquet"
            pq.write_table(parquet([r]), path, use_deprecated_int96_timestamps=True)

        yield Plant(table, act, [with_day(table, row)])
