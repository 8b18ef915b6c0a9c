"""Whose actions a rebuild of out-of-date days would change, and which later rows are theirs.

The published actions of the days are compared with what their raw files give now, as multisets of
rows. All of it happens in the engine; only counts and a few ids come back. Of the event stream
counts what is published: its own days that are out of date are to be rebuilt first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.lake.frames import read_days
from training_assets.provenance import Provenance, looking_back
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.sources import RawDays, action_sources
from training_assets.tables.unified_actions import streamed_actions
from training_assets.transforms import unite_actions


@dataclass(frozen=True)
class ChangedCustomers:
    """Customers with other actions than published, by day of the actions; and what is theirs.

    ``histories`` and ``rows`` are counts of published histories and training rows by their day.
    They may change: an action that a newer thousand displaces changes nothing.
    """

    customers: dict[date, int]
    examples: list[int]
    histories: dict[date, int]
    rows: dict[date, int]


def changed_customers(
    spark: SparkSession, provenance: Provenance, days: Sequence[date], *, num_examples: int = 5
) -> ChangedCustomers:
    """For ``days`` of actions, whose raw data must be there; one that is not published is empty."""
    if not days:
        return ChangedCustomers({}, [], {}, {})
    later = looking_back(provenance.settings, provenance.lake.days(CUSTOMER_HISTORY.name), days)
    changed = _changed(spark, provenance, days)
    ids = changed.select("customer_id").distinct().orderBy("customer_id").limit(num_examples)
    histories = _histories_of(spark, provenance, changed, later)
    rows = _published(spark, provenance, TRAINING_INPUT, later, "dt", "customer_id")
    rows = rows.select(F.to_date("dt").alias("dt"), "customer_id")
    return ChangedCustomers(
        customers=_count_by_day(changed),
        examples=[row["customer_id"] for row in ids.collect()],
        histories=_count_by_day(histories),
        rows=_count_by_day(rows.join(histories, on=["dt", "customer_id"], how="left_semi")),
    )


def _changed(spark: SparkSession, provenance: Provenance, days: Sequence[date]) -> DataFrame:
    """(dt, customer_id) of each customer whose actions of a day differ."""
    tables = action_sources(provenance.lake)
    raw = [(table, provenance.raw(table, days)) for table in tables]
    sources = [(table, _counted(of.read_valid(spark), of)) for table, of in raw]
    names = UNIFIED_ACTIONS.column_names
    now = unite_actions(sources).select(*names)
    stream = streamed_actions(spark, provenance, days)
    if stream is not None:
        now = now.unionByName(stream)
    now = now.withColumn("side", F.lit(1))
    published = _published(spark, provenance, UNIFIED_ACTIONS, days, *names)
    both = now.unionByName(published.withColumn("side", F.lit(-1)))
    balance = both.groupBy(*names).agg(F.sum("side").alias("balance"))
    return balance.where(F.col("balance") != 0).select("dt", "customer_id").distinct()


def _counted(rows: DataFrame, raw: RawDays) -> DataFrame:
    """Each of equal rows once, where that is declared."""
    return rows.distinct() if raw.equal_rows_once else rows


def _histories_of(
    spark: SparkSession, provenance: Provenance, changed: DataFrame, later: Sequence[date]
) -> DataFrame:
    """(dt, customer_id) of each published history that reads a changed day of its customer."""
    histories = _published(spark, provenance, CUSTOMER_HISTORY, later, "dt", "customer_id")
    actions = changed.select(F.col("dt").alias("action_dt"), "customer_id")
    days_ago = F.datediff("dt", "action_dt")
    is_read = days_ago >= 1
    if provenance.settings.lookback_days is not None:
        is_read = is_read & (days_ago <= provenance.settings.lookback_days)
    both = histories.join(actions, on="customer_id", how="inner").where(is_read)
    return both.select("dt", "customer_id").distinct()


def _published(
    spark: SparkSession, provenance: Provenance, table: Table, days: Sequence[date], *columns: str
) -> DataFrame:
    return read_days(spark, provenance.lake.snapshot(table.name), table, days, columns)


def _count_by_day(frame: DataFrame) -> dict[date, int]:
    counts = frame.groupBy("dt").agg(F.count(F.lit(1)).alias("rows")).collect()
    return {row["dt"]: int(row["rows"]) for row in sorted(counts, key=lambda row: row["dt"])}
