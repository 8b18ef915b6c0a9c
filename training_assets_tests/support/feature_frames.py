"""Literal rows as the inputs of feature functions, and their output as rows to compare."""

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

Row = dict[str, Any]

DAY = date(2024, 3, 1)
_MONEY = pa.decimal128(18, 4)
_TIME = pa.timestamp("us", tz="UTC")
_ACTIONS = {
    "dt": pa.date32(),
    "customer_id": pa.int64(),
    "item_id": pa.int32(),
    "action_type": pa.int8(),
    "occurred_at": _TIME,
    "session_id": pa.string(),
    "rating": pa.float64(),
    "price": _MONEY,
    "quantity": pa.int64(),
    "amount": _MONEY,
    "interaction_id": pa.string(),
    "is_bot": pa.bool_(),
    "has_time": pa.bool_(),
}
_ITEMS = {
    "dt": pa.date32(),
    "item_id": pa.int32(),
    "category": pa.string(),
    "subcategory": pa.string(),
    "brand": pa.string(),
    "price": _MONEY,
    "avg_rating": pa.float64(),
    "created_at": _TIME,
    "is_active": pa.bool_(),
}
_REQUIRED = {
    "actions": ("dt", "customer_id", "item_id", "action_type", "occurred_at"),
    "items": ("dt", "item_id"),
    "impressions": ("dt", "item_id"),
    "pairs": ("dt", "customer_id", "item_id"),
}
_TYPES = {
    "actions": _ACTIONS,
    "items": _ITEMS,
    "impressions": _ITEMS,
    "pairs": {name: kind for name, kind in _ACTIONS.items() if name != "action_type"},
}


def before(days: int) -> date:
    """The day that many days before DAY."""
    return DAY - timedelta(days=days)


def at(day: date, clock: str = "12:00") -> datetime:
    return datetime.fromisoformat(f"{day.isoformat()}T{clock}").replace(tzinfo=UTC)


def action(customer: int, item: int, kind: int, day: date, clock: str | None = None, **more) -> Row:
    """An action of the day; without a clock it has no time of its own."""
    when = None if clock is None else at(day, clock)
    keys = {"dt": day, "customer_id": customer, "item_id": item, "action_type": kind}
    return {**keys, "occurred_at": when, **more}


def frame(spark: SparkSession, name: str, rows: Iterable[Row], **types: pa.DataType) -> DataFrame:
    """Only the columns that a row has, and those that are required; ``types`` overrides some."""
    listed = list(rows)
    present = set(_REQUIRED[name]).union(*listed) if listed else set(_REQUIRED[name])
    kinds = {c: k for c, k in {**_TYPES[name], **types}.items() if c in present}
    schema = pa.schema(list(kinds.items()))
    if not listed:
        return spark.createDataFrame([], from_arrow_schema(schema))
    return spark.createDataFrame(pa.Table.from_pylist(listed, schema))


def rows_of(result: DataFrame, *key: str) -> dict[tuple, Row]:
    """Rows by dt and key; each key once."""
    table = result.toArrow()
    rows = table.to_pylist()
    found = {tuple(row[name] for name in ("dt", *key)): row for row in rows}
    assert len(found) == len(rows), "a key stands twice"
    return found


def assert_same(found: Row, expected: Row, columns: Iterable[str]) -> None:
    """Each value: doubles within 1e-9 relative, all others equal."""
    for name in columns:
        assert is_same(found[name], expected[name]), (
            f"{name}: found {found[name]!r}, expected {expected[name]!r}, in {expected}"
        )


def is_same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=0)
    if isinstance(expected, Decimal) and isinstance(found, Decimal):
        return found == expected and found.as_tuple().exponent == -4
    if isinstance(expected, bool) or isinstance(found, bool):
        return found is expected
    return bool(found == expected) and (found is None) == (expected is None)
