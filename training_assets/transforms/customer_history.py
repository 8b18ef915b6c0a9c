"""The newest actions before each impression day; see ``schemas.CUSTOMER_HISTORY``.

    unified_actions ──> day tiles: one row per (customer, day), sorted, at most history_length
                        actions ──> one sorted array per customer ──> a slice per impression day

An action among a customer's newest 1000 is also among the newest 1000 of its own day, so cutting
each day first loses nothing, and bounds what one customer can bring into one place. A range of
days is one pass: the sorted array is made once and each impression day takes its part of it.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.schemas import CUSTOMER_HISTORY
from training_assets.transforms.columns import day_number

# Newest first, then item id, then action type; the day, newest first, settles what is then left.
_ACTION = "struct<neg_micros:bigint,item_id:int,action_type:tinyint,neg_day:int>"
_MAX_DAYS_AGO = 2**15 - 1


def build_customer_history(
    actions: DataFrame,
    customer_days: DataFrame,
    *,
    history_length: int,
    lookback_days: int | None,
) -> DataFrame:
    """One row per row of ``customer_days`` (dt, customer_id), empty arrays included.

    ``actions`` has the columns of ``unified_actions`` and may hold any days: those outside
    ``dt - lookback_days <= day < dt`` do not count. Arrays are newest first (event time
    descending, item id ascending, action type ascending) and cut at the old end to
    ``history_length``. ``action_days_ago`` stops at 32767.
    """
    customers = customer_days.select("customer_id").distinct()
    relevant = actions.join(customers, on="customer_id", how="left_semi")
    timelines = build_timelines(build_day_tiles(relevant, history_length=history_length))
    return slice_timelines(
        timelines, customer_days, history_length=history_length, lookback_days=lookback_days
    )


def build_day_tiles(actions: DataFrame, *, history_length: int) -> DataFrame:
    """(customer_id, dt, actions): the newest ``history_length`` actions of each customer's day."""
    action = F.struct(
        (-F.unix_micros("occurred_at")).alias("neg_micros"),
        F.col("item_id"),
        F.col("action_type"),
        (-day_number("dt")).alias("neg_day"),
    ).cast(_ACTION)
    newest = F.slice(F.sort_array(F.collect_list(action)), 1, history_length)
    return actions.groupBy("customer_id", "dt").agg(newest.alias("actions"))


def build_timelines(tiles: DataFrame) -> DataFrame:
    """(customer_id, actions): all tiles of a customer as one sorted array."""
    merged = F.sort_array(F.flatten(F.collect_list("actions")))
    return tiles.groupBy("customer_id").agg(merged.alias("actions"))


def slice_timelines(
    timelines: DataFrame,
    customer_days: DataFrame,
    *,
    history_length: int,
    lookback_days: int | None,
) -> DataFrame:
    """``customer_history``: of each customer's sorted actions those that count for each day."""
    day = day_number("dt")

    def counts(action: Column) -> Column:
        action_day = -action.neg_day
        before = action_day < day
        return before if lookback_days is None else before & (action_day >= day - lookback_days)

    def days_ago(action: Column) -> Column:
        return F.least(day + action.neg_day, F.lit(_MAX_DAYS_AGO)).cast("smallint")

    no_actions = F.array().cast(f"array<{_ACTION}>")
    eligible = F.slice(F.filter("actions", counts), 1, history_length)
    return (
        customer_days.select("dt", "customer_id")
        .join(timelines, on="customer_id", how="left")
        .withColumn("actions", F.coalesce(eligible, no_actions))
        .select(
            "dt",
            "customer_id",
            F.col("actions.item_id").alias("action_items"),
            F.col("actions.action_type").alias("action_types"),
            F.transform("actions", days_ago).alias("action_days_ago"),
        )
        .select(*CUSTOMER_HISTORY.column_names)
    )
