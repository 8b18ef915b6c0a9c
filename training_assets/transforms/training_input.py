"""One row per impression item with its customer's padded history; see ``TRAINING_INPUT``."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.schemas import IMPRESSIONS, MAX_ITEM_ID, MIN_ITEM_ID, TRAINING_INPUT
from training_assets.settings import (
    DEFAULT_HISTORY_LENGTH,
    DEFAULT_LOOKBACK_DAYS,
    validate_window,
)
from training_assets.transforms.columns import day_of, require_columns
from training_assets.transforms.customer_history import build_customer_history
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

    ``lookback_days=None`` is unlimited. ``occurred_at`` may be absent from orders. Invalid rows
    and items are left out.

    Raises ``SchemaError`` for a wrong or missing column, ``SettingsError`` for knobs below 1.
    """
    validate_window("build_training_input", history_length, lookback_days)
    rankings = only_valid_impressions(impressions)
    actions = build_unified_actions(clicks, add_to_carts, previous_orders)
    history = build_customer_history(
        actions,
        customer_days_of(rankings),
        history_length=history_length,
        lookback_days=lookback_days,
    )
    return pad_and_explode(with_history(rankings, history), history_length=history_length)


def only_valid_impressions(impressions: DataFrame) -> DataFrame:
    """Rankings with a day and a customer, reduced to their valid items, which may be none.

    Raises ``SchemaError`` for a wrong or missing column.
    """
    require_columns(impressions, IMPRESSIONS)

    def is_valid(item: Column) -> Column:
        inside = item.item_id.between(MIN_ITEM_ID, MAX_ITEM_ID)
        return F.coalesce(item.isNotNull() & inside & item.is_order.isNotNull(), F.lit(False))

    # The cast names the fields where an array of nothing but nulls has none.
    items = F.col("impressions").cast("array<struct<item_id:bigint,is_order:boolean>>")
    # No condition on the filtered items: Sail would push its lambda into a file scan, and fail.
    return impressions.select(
        day_of("dt").alias("dt"),
        "ranking_id",
        F.col("customer_id").cast("long").alias("customer_id"),
        F.filter(items, is_valid).alias("impressions"),
    ).where(F.col("dt").isNotNull() & F.col("customer_id").isNotNull())


def customer_days_of(rankings: DataFrame) -> DataFrame:
    """(dt, customer_id), each once: whose history is needed, and as of when."""
    return rankings.select("dt", "customer_id").distinct()


def with_history(rankings: DataFrame, history: DataFrame) -> DataFrame:
    """Rankings with the unpadded history of their customer and day, null where there is none."""
    arrays = history.select("dt", "customer_id", "action_items", "action_types")
    return rankings.join(arrays, on=["dt", "customer_id"], how="left")


def pad_and_explode(rankings: DataFrame, *, history_length: int) -> DataFrame:
    """``training_input`` from rankings with history, in their order; no history gives zeros.

    Arrays are padded once per ranking, before the items are exploded.
    """

    def padded(name: str) -> Column:
        values = F.coalesce(F.col(name).cast("array<int>"), F.array().cast("array<int>"))
        zeros = F.array_repeat(F.lit(0), F.lit(history_length) - F.size(values))
        return F.concat(values, zeros).alias(name)

    return (
        rankings.select(
            F.col("dt").cast("string").alias("dt"),
            "customer_id",
            "ranking_id",
            F.explode("impressions").alias("item"),
            padded("action_items"),
            padded("action_types"),
        )
        .select(
            "dt",
            "customer_id",
            "ranking_id",
            F.col("item.item_id").cast("long").alias("impression_item_id"),
            F.col("item.is_order").cast("int").alias("is_order"),
            "action_items",
            "action_types",
        )
        .select(*TRAINING_INPUT.column_names)
    )
