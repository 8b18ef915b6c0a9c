"""Training input of four raw frames, by the code that the assets run.

    impressions ──────────────────────────────────┐
    clicks, add_to_carts, previous_orders         ├─union, by customer──> kernels ──> training rows
        └──build_unified_actions──> actions ──────┘

Each frame stands in the plan once: one that is not the same twice (a sample, a row number) is
evaluated once, and its rows cannot lose their histories.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training_assets.kernels.customer_rows import build_customer_rows
from training_assets.schemas import IMPRESSIONS, TRAINING_INPUT
from training_assets.settings import (
    DEFAULT_HISTORY_LENGTH,
    DEFAULT_LOOKBACK_DAYS,
    validate_window,
)
from training_assets.transforms.columns import day_of, require_columns
from training_assets.transforms.unified_actions import build_unified_actions


def build_training_input(
    impressions: DataFrame,
    clicks: DataFrame,
    add_to_carts: DataFrame,
    previous_orders: DataFrame,
    *,
    history_length: int = DEFAULT_HISTORY_LENGTH,
    lookback_days: int | None = DEFAULT_LOOKBACK_DAYS,
) -> DataFrame:
    """Training input of all days that ``impressions`` holds, from the four raw frames.

    One row per valid impression item. ``action_items`` and ``action_types`` are exactly
    ``history_length`` long: the customer's newest actions whose day is in
    [dt - lookback_days, dt), newest first, cut at the old end, zeros on the right. With
    ``history_length=4`` and two actions, click 7 yesterday and order 9 before it:

        action_items  [7, 9, 0, 0]
        action_types  [1, 3, 0, 0]

    ``lookback_days=None`` is unlimited. ``occurred_at`` may be absent from orders. Times without a
    zone are UTC, days may be text YYYY-MM-DD, columns and fields are found by their names. Invalid
    rows and items are left out. The customers of one shuffle partition are in memory together.

    Raises ``SchemaError`` for a wrong or missing column, ``SettingsError`` for knobs that are not
    whole numbers of at least 1.
    """
    length, lookback = validate_window("build_training_input", history_length, lookback_days)
    rankings = _rankings(impressions)
    actions = build_unified_actions(clicks, add_to_carts, previous_orders)

    def build(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return build_customer_rows(batches, history_length=length, lookback_days=lookback)

    rows = rankings.unionByName(actions, allowMissingColumns=True)
    return rows.repartition("customer_id").mapInArrow(build, TRAINING_INPUT.ddl)


def _rankings(impressions: DataFrame) -> DataFrame:
    """Rankings with a day and a customer; their items as two arrays, in the same order.

    Raises ``SchemaError`` for a wrong or missing column.
    """
    require_columns(impressions, IMPRESSIONS)
    items = _items(impressions)
    # Two arrays, because every engine finds the fields of a struct by name, and a lambda would be
    # pushed into a file scan by Sail, which fails.
    return (
        impressions.select(
            day_of(impressions, "dt").alias("dt"),
            F.col("customer_id").cast("long").alias("customer_id"),
            F.col("ranking_id").cast("string").alias("ranking_id"),
            items.alias("items"),
        )
        .where(F.col("dt").isNotNull() & F.col("customer_id").isNotNull())
        .select(
            "dt",
            "customer_id",
            "ranking_id",
            F.col("items.item_id").cast("array<bigint>").alias("item_ids"),
            F.col("items.is_order").cast("array<boolean>").alias("labels"),
        )
    )


def _items(impressions: DataFrame) -> Column:
    found = impressions.schema["impressions"].dataType
    is_known = isinstance(found, T.ArrayType) and isinstance(found.elementType, T.StructType)
    # An array of nothing but nulls has no fields.
    items = F.col("impressions")
    return items if is_known else items.cast("array<struct<item_id:bigint,is_order:boolean>>")
