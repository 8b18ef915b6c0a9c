"""Rows of a published table for the online store, and the day as which they are loaded."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from training_assets.online import Loaded, OnlineStore
from training_assets.online.encoding import column_types, encode

DAY = date(2026, 3, 10)
# Six hours after the day has ended.
NOW = datetime(2026, 3, 11, 6, tzinfo=UTC)

SCHEMA = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("total_purchases", pa.int64()),
        ("conversion_rate", pa.float64()),
        ("monetary_value", pa.decimal128(18, 4)),
        ("favorite_category", pa.string()),
        ("is_new", pa.bool_()),
        ("last_interaction", pa.timestamp("us", "UTC")),
        ("first_day", pa.date32()),
        ("recent_items", pa.list_(pa.int64())),
    ]
)
ROWS: list[dict[str, Any]] = [
    {
        "customer_id": 17,
        "total_purchases": 2,
        "conversion_rate": 1 / 3,
        "monetary_value": Decimal("19.9000"),
        "favorite_category": 'Bücher "neu"\n',
        "is_new": False,
        "last_interaction": datetime(2026, 3, 9, 23, 59, 59, 999999, tzinfo=UTC),
        "first_day": date(2024, 2, 29),
        "recent_items": [2**31 - 1, 5],
    },
    {"customer_id": 18} | dict.fromkeys(SCHEMA.names[1:]),
    {
        "customer_id": 2**62,
        "total_purchases": 2**53 + 1,
        "conversion_rate": 1.0,
        "monetary_value": Decimal("-0.0001"),
        "favorite_category": "",
        "is_new": True,
        "last_interaction": datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        "first_day": date(1, 1, 1),
        "recent_items": [],
    },
]


def load(
    store: OnlineStore,
    day: date = DAY,
    *,
    table: str = "users",
    content: str | None = None,
    rows: Sequence[dict[str, Any]] = ROWS,
    blocks: int = 2,
    force: bool = False,
) -> Loaded:
    """Load rows as of a day, the content of which has its name by default."""
    return store.load(
        table,
        day,
        in_blocks(rows, blocks),
        content=content or f"{day:%Y%m%d}{'0' * 8}",
        columns=column_types(SCHEMA, "customer_id"),
        num_rows=len(rows),
        force=force,
    )


def in_blocks(rows: Sequence[dict[str, Any]], blocks: int) -> Iterable[tuple[list[int], list[str]]]:
    size = max(1, -(-len(rows) // blocks))
    for start in range(0, len(rows), size):
        some = pa.Table.from_pylist(list(rows[start : start + size]), SCHEMA)
        yield some["customer_id"].to_pylist(), encode(some, "customer_id")


def numbered(number: int, ids: Iterable[int]) -> list[dict[str, Any]]:
    """Rows that all hold one number, so that an answer tells which load it is of."""
    return [
        dict.fromkeys(SCHEMA.names) | {"customer_id": n, "total_purchases": number} for n in ids
    ]


def days_before(number: int) -> date:
    return DAY - timedelta(days=number)
