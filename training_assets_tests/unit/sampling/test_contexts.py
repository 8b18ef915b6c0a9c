"""When and in which visit a positive came about."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from training_assets.sampling.contexts import COLUMNS, contexts

KINDS = (2, 3, 5)


def actions(*rows: tuple[Any, ...]) -> pa.Table:
    """(customer, item, kind, minute of Friday 2024-05-10, session), without a time if None."""
    day = 1_715_299_200_000_000
    schema = pa.schema(
        [
            ("customer_id", pa.int64()),
            ("item_id", pa.int32()),
            ("action_type", pa.int8()),
            ("occurred_at", pa.timestamp("us", "UTC")),
            ("has_time", pa.bool_()),
            ("is_bot", pa.bool_()),
            ("session_id", pa.string()),
        ]
    )
    listed = [
        (customer, item, kind, day + (minute or 0) * 60_000_000, minute is not None, False, session)
        for customer, item, kind, minute, session in rows
    ]
    return pa.Table.from_pylist(
        [dict(zip(COLUMNS, row, strict=True)) for row in listed], schema=schema
    )


def of(table: pa.Table, *pairs: tuple[int, int]) -> list[Any]:
    customers, items = (np.array(column) for column in zip(*pairs, strict=True))
    found = contexts(table, KINDS).of(customers, items)
    return [tuple(row.values()) for row in found.to_pylist()]


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2024, 5, 10, hour, minute, tzinfo=UTC)


def test_first_positive_action_of_a_pair_counts() -> None:
    table = actions((7, 1, 3, 125, "a"), (7, 1, 2, 61, "a"), (7, 1, 1, 10, "a"), (7, 2, 3, 62, "a"))
    assert of(table, (7, 1), (7, 2)) == [
        (at(1, 1), "a", 2, 1, 5),
        (at(1, 2), "a", 3, 1, 5),
    ]


def test_a_pause_of_more_than_half_an_hour_begins_a_session_without_an_id() -> None:
    table = actions((7, 1, 3, 0, None), (7, 2, 3, 30, None), (7, 3, 3, 61, None))
    assert [row[2] for row in of(table, (7, 1), (7, 2), (7, 3))] == [1, 2, 1]


def test_a_session_with_an_id_has_no_pauses_and_is_of_its_customer() -> None:
    table = actions((7, 1, 3, 0, "a"), (8, 5, 3, 1, "a"), (7, 2, 3, 600, "a"), (7, 3, 3, 5, "b"))
    pairs = [(7, 1), (7, 2), (7, 3), (8, 5)]
    assert [row[2] for row in of(table, *pairs)] == [1, 2, 1, 1]


def test_ties_are_by_item_and_kind() -> None:
    table = actions((7, 9, 2, 5, "a"), (7, 4, 3, 5, "a"), (7, 4, 2, 5, "a"))
    assert [row[2] for row in of(table, (7, 4), (7, 9))] == [1, 3]


def test_without_a_time_or_an_action_all_is_null() -> None:
    table = actions((7, 1, 3, None, "a"), (7, 2, 1, 9, "a"))
    nothing = (None, None, None, None, None)
    assert of(table, (7, 1), (7, 2), (8, 1)) == [nothing] * 3
    assert of(actions((7, 1, 1, 3, None)).slice(1), (7, 1)) == [nothing]
