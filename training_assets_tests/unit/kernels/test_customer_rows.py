"""Training rows of whole customers: what plain loops give, however the rows arrive."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_assets.kernels import customer_rows
from training_assets.kernels.customer_rows import build_customer_rows
from training_assets.schemas import TRAINING_INPUT
from training_assets_tests.support import reference
from training_assets_tests.support.frames import DAY, at, before, click, order, ranking

INPUT = pa.schema(
    [
        ("dt", pa.date32()),
        ("customer_id", pa.int64()),
        ("ranking_id", pa.string()),
        ("item_ids", pa.list_(pa.int64())),
        ("labels", pa.list_(pa.bool_())),
        ("item_id", pa.int32()),
        ("action_type", pa.int8()),
        ("occurred_at", pa.timestamp("us", "America/New_York")),
    ]
)
Row = dict[str, Any]


def input_of(row: Row) -> Row:
    """A raw row in the columns of the kernel."""
    if "impressions" in row:
        items = row["impressions"]
        return {
            **{name: row[name] for name in ("dt", "customer_id", "ranking_id")},
            "item_ids": None if items is None else [item and item["item_id"] for item in items],
            "labels": None if items is None else [item and item["is_order"] for item in items],
        }
    (action,) = reference.unified_actions(
        *([row] if "click_time" in row else [], [], [row] if "order_date" in row else [])
    )
    return {
        "dt": action.day,
        "customer_id": action.customer_id,
        "item_id": action.item_id,
        "action_type": action.action_type,
        "occurred_at": action.at,
    }


def rows_of(rows: list[Row], batch_rows: int, **knobs: Any) -> list[tuple[Any, ...]]:
    """Rows as they are given; in batches of that many, and an empty one."""
    table = pa.Table.from_pylist([input_of(row) for row in rows], INPUT)
    empty = pa.RecordBatch.from_pylist([], INPUT)
    batches = [empty, *table.to_batches(max_chunksize=batch_rows)]
    found = list(build_customer_rows(batches, **knobs))
    assert all(batch.schema.names == TRAINING_INPUT.column_names for batch in found)
    return [tuple(row.values()) for batch in found for row in batch.to_pylist()]


def random_rows(seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    rng = random.Random(seed)
    rankings, clicks, orders = [], [], []
    for customer in (-5, 0, 1, 2**62):
        for _ in range(rng.randrange(4)):
            items = [
                rng.choice([None, (None, True), (0, False), (3, None), (2**31, True), (4, True), 5])
                for _ in range(rng.randrange(5))
            ]
            day, name = before(rng.randrange(3)), rng.choice(["a", "b", None])
            rankings.append(ranking(customer, rng.choice([items, items, None]), day, name))
        for _ in range(rng.randrange(30)):
            day = before(rng.randrange(12))
            when = rng.choice([None, at(day), at(day) - timedelta(days=4, microseconds=1)])
            item = rng.choice([1, 2, 3, 2**31 - 1])
            clicks.append(click(customer, item, day, when))
            orders.append(order(customer, item, day, when))
    return rankings, clicks, orders


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    batch_rows=st.sampled_from([1, 3, 1000]),
    length=st.sampled_from([1, 3, 40]),
    lookback=st.sampled_from([1, 5, None]),
    values=st.sampled_from([1, 10, 10**6]),
)
def test_rows_are_those_of_plain_loops(
    seed: int, batch_rows: int, length: int, lookback: int | None, values: int
) -> None:
    rankings, clicks, orders = random_rows(seed)
    knobs: dict[str, Any] = {"history_length": length, "lookback_days": lookback}
    rows = [*rankings, *clicks, *orders]
    random.Random(seed).shuffle(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(customer_rows, "_VALUES_PER_BATCH", values)
        found = rows_of(rows, batch_rows, **knobs)
    expected = reference.training_input(rankings, clicks, [], orders, **knobs)
    assert sorted(found, key=repr) == expected
    places = [(row[0], row[1], row[2] is not None, row[2] or "") for row in found]
    assert places == sorted(places)


@pytest.mark.parametrize("count", [255, 256, 257, 65_535, 65_536, 65_537])
def test_histories_of_any_number_of_distinct_items_are_padded_with_zeros(count: int) -> None:
    start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) - timedelta(days=1)
    actions = pa.table(
        {
            "dt": pa.array([before(1)] * count, pa.date32()),
            "customer_id": pa.array([1] * count, pa.int64()),
            "item_id": pa.array(np.arange(1, count + 1, dtype=np.int32)),
            "action_type": pa.array([1] * count, pa.int8()),
            "occurred_at": pa.array([start] * count, INPUT.field("occurred_at").type),
        }
    )
    shown = pa.Table.from_pylist([input_of(ranking(1, [9]))], INPUT)
    table = pa.concat_tables([shown, actions], promote_options="default").combine_chunks()
    (batch,) = build_customer_rows(table.to_batches(), history_length=count + 3, lookback_days=None)
    (items,) = batch["action_items"].to_pylist()
    assert items == [*range(1, count + 1), 0, 0, 0]


def test_nothing_gives_nothing() -> None:
    assert rows_of([], 1, history_length=3, lookback_days=None) == []
    assert list(build_customer_rows([], history_length=3, lookback_days=None)) == []
