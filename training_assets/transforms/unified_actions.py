"""Clicks, add-to-carts and orders as one table of actions; see ``schemas.UNIFIED_ACTIONS``."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training_assets.kernels.equal_rows import EXTRA_DDL, SOURCE, VARIANT
from training_assets.schemas import (
    ACTION_SOURCES,
    MAX_ITEM_ID,
    MIN_ITEM_ID,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.transforms.columns import day_of, midnight, require_columns, utc_time


def build_unified_actions(
    clicks: DataFrame, add_to_carts: DataFrame, previous_orders: DataFrame
) -> DataFrame:
    """All valid actions, typed as ``unified_actions``; rows that break rule 9 are left out.

    The day of an action is its ``dt`` (``order_date`` of orders), never the date of its event
    time; a time without a zone is UTC, a null or absent one the day at 00:00:00 UTC.

    Raises ``SchemaError`` for a wrong or missing column.
    """
    frames = (clicks, add_to_carts, previous_orders)
    return unite_actions(list(zip(ACTION_SOURCES, frames, strict=True)))


def unite_actions(
    sources: Sequence[tuple[Table, DataFrame]], once: Sequence[Table] = ()
) -> DataFrame:
    """The same of any sources of one kind each, at least one; ``Table.action_type`` is the kind.

    With sources ``once`` rows have besides what tells equal rows of these: the number of the source
    among them, and the size of the article; null in rows of others.
    """
    return reduce(DataFrame.unionByName, [_actions(*source, once) for source in sources])


def _actions(table: Table, frame: DataFrame, once: Sequence[Table]) -> DataFrame:
    require_columns(frame, table)
    day, names = table.day_column, table.column_names
    item = "item_id" if "item_id" in names else "config_id"
    event_time = next(column.name for column in table.columns if column.type == "timestamp")
    at = utc_time(frame, event_time) if event_time in frame.columns else F.lit(None)
    return (
        frame.select(
            day_of(frame, day).alias("dt"),
            F.col("customer_id").cast("long").alias("customer_id"),
            F.col(item).cast("long").alias("item_id"),
            at.cast(T.TimestampType()).alias("occurred_at"),
            *_extra(table, frame, once),
        )
        .where(is_valid_action())
        .select(
            "dt",
            "customer_id",
            F.col("item_id").cast("int").alias("item_id"),
            F.lit(table.action_type).cast("tinyint").alias("action_type"),
            F.coalesce("occurred_at", midnight("dt")).alias("occurred_at"),
            F.col("occurred_at").isNotNull().alias("has_time"),
            F.lit(False).alias("is_bot"),
            *(F.lit(None).cast(c.type).alias(c.name) for c in UNIFIED_ACTIONS.columns[7:]),
            *(EXTRA_DDL if once else ()),
        )
        .select(*UNIFIED_ACTIONS.column_names, *(EXTRA_DDL if once else ()))
    )


def _extra(table: Table, frame: DataFrame, once: Sequence[Table]) -> list[Column]:
    number = once.index(table) if table in once else None
    has = number is not None and VARIANT in frame.columns
    columns = {
        SOURCE: F.lit(number),
        VARIANT: F.col(VARIANT) if has else F.lit(None),
    }
    return [columns[name].cast(kind).alias(name) for name, kind in EXTRA_DDL.items() if once]


def is_valid_action() -> Column:
    """Rule 9 on ``dt``, ``customer_id`` and a wide ``item_id``."""
    return (
        F.col("dt").isNotNull()
        & F.col("customer_id").isNotNull()
        & F.coalesce(F.col("item_id").between(MIN_ITEM_ID, MAX_ITEM_ID), F.lit(False))
    )
