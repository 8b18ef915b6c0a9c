"""Builds pair_features."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from training_assets.features.actions import read_actions, with_sessions
from training_assets.features.affinity import with_affinity
from training_assets.features.calendar import Calendar, DaysOfFrame, KnownDays, known_days
from training_assets.features.catalogue import catalogue_as_of, with_source_names
from training_assets.features.declared_pairs import CUSTOMER_FEATURES
from training_assets.features.declared_users import USERS
from training_assets.features.feature import FeatureTable
from training_assets.features.inputs import (
    as_day,
    as_id,
    as_micros,
    column_or_null,
    is_text_id,
    require_columns,
    require_same_ids,
)
from training_assets.features.measures import Given
from training_assets.features.neighbours import rows_by_group
from training_assets.features.plan import Plan, make_plan
from training_assets.features.registry import declared_table
from training_assets.features.users import collect_users


def build_pair_features(
    pairs: DataFrame,
    actions: DataFrame,
    items: DataFrame | None = None,
    *,
    lookback_days: int | None = 365,
    days: Iterable[date | str] | None = None,
    table: FeatureTable | None = None,
) -> DataFrame:
    """One row per row of ``pairs``, with their other columns behind the key.

    ``pairs``: dt, customer_id, item_id; optionally occurred_at, session_id, interaction_id, from
    which come hour, weekday and place in the session; any others pass through. ``actions`` and
    ``items`` as for the other tables. Where the days of ``pairs`` are known, ``days`` spares
    looking at each of them apart; pairs of other days are then left out.

    Raises ``SchemaError`` for missing columns, ``SettingsError`` for arguments that cannot work.
    """
    where = "build_pair_features"
    table = table or declared_table("pair_features")
    require_columns(pairs, "pairs", ("dt", "customer_id", "item_id"), where)
    if items is None:
        kind = "string" if is_text_id(pairs, "item_id") else "long"
        items = pairs.sparkSession.createDataFrame([], f"dt date, item_id {kind}")
    rows = read_actions(actions, items, where=where)
    for column in ("customer_id", "item_id"):
        require_same_ids(pairs, rows, column, where)
    given = _read_pairs(pairs, table)

    def calendar(lengths: Iterable[int]) -> Calendar:
        if days is not None:
            return known_days(days, lengths, where)
        days_of_pairs = given.select("dt").where(F.col("dt").isNotNull()).distinct()
        return DaysOfFrame(days_of_pairs, tuple(sorted(lengths)))

    plan = make_plan(table, calendar, lookback_days=lookback_days, where=where)
    if isinstance(plan.calendar, KnownDays):
        given = given.where(F.col("dt").isin(list(plan.calendar.numbers)))
    customers = given.select("customer_id").distinct()
    rows = rows.join(customers, on="customer_id", how="left_semi")
    catalogue = catalogue_as_of(items, plan.calendar, where=where)
    frame = with_affinity(_with_position(given), rows, catalogue, plan.calendar)
    frame = frame.join(with_source_names(catalogue), on=["dt", "item_id"], how="left")
    frame = _with_customers(frame, rows, items, plan, where)
    keep = _passed_through(pairs, table)
    return plan.select(frame, is_text_id=is_text_id(pairs, "item_id"), keep=keep)


def _read_pairs(pairs: DataFrame, table: FeatureTable) -> DataFrame:
    return pairs.select(
        as_day(pairs, "dt").cast("long").alias("dt"),
        as_id(pairs, "customer_id").alias("customer_id"),
        as_id(pairs, "item_id").alias("item_id"),
        *_passed_through(pairs, table),
        as_micros(pairs, "occurred_at").alias("_pair_at_micros"),
        column_or_null(pairs, "session_id", "string").alias("_pair_session_id"),
        column_or_null(pairs, "interaction_id", "string").alias("_pair_id"),
    )


def _passed_through(pairs: DataFrame, table: FeatureTable) -> tuple[str, ...]:
    """Columns of ``pairs`` that are neither key nor feature."""
    taken = {"dt", *table.key, *(feature.name for feature in table.features)}
    return tuple(name for name in pairs.columns if name not in taken)


def _with_position(pairs: DataFrame) -> DataFrame:
    """Adds ``_pair_position``: the place in the customer's session of the day, from 1."""
    order = ("_pair_at_micros", "_pair_id", "item_id")
    owner = ("customer_id", "dt", "_pair_session_id")
    started = with_sessions(pairs, owner=owner, order=order)
    rows = rows_by_group(owner, order)
    so_far = rows.rowsBetween(Window.unboundedPreceding, 0)
    start = F.max(F.when(F.col("is_session_start") == 1, F.col("_pair_row"))).over(so_far)
    is_timed = F.col("_pair_at_micros").isNotNull()
    return (
        started.withColumn("_pair_row", F.row_number().over(rows))
        .withColumn("_pair_position", F.when(is_timed, F.col("_pair_row") - start + 1))
        .drop("is_session_start", "session_micros", "_pair_row", "_pair_session_id", "_pair_id")
    )


def _with_customers(
    frame: DataFrame, rows: DataFrame, items: DataFrame, plan: Plan, where: str
) -> DataFrame:
    """Adds the columns of customers that the table's formulas name, as ``_customer_<name>``."""
    wanted = [leaf for leaf in plan.table.leaves_wanted() if isinstance(leaf, Given)]
    names = [leaf.name for leaf in wanted if leaf.source == "customer"]
    if not names:
        return frame
    table = replace(USERS, features=tuple(CUSTOMER_FEATURES[name] for name in names))
    lookback_days = plan.windows[0]
    customers = make_plan(table, lambda _: plan.calendar, lookback_days=lookback_days, where=where)
    collected = collect_users(rows, items, customers, where)
    columns = customers.select(collected, is_text_id=is_text_id(rows, "item_id")).select(
        F.unix_date("dt").cast("long").alias("dt"),
        "customer_id",
        *(F.col(name).alias(f"_customer_{name}") for name in names),
    )
    return frame.join(columns, on=["dt", "customer_id"], how="left")
