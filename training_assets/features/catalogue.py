"""The catalogue as of each day: of every item its newest snapshot of a day before.

A value that stays the same over many days is kept as one range of dt, since next to nothing of a
catalogue changes from day to day, and whoever joins it has millions of rows.
"""

from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from training_assets.features.calendar import Calendar
from training_assets.features.inputs import (
    as_day,
    as_id,
    as_money,
    column_or_null,
    require_columns,
)
from training_assets.features.neighbours import after, before, is_first

ATTRIBUTES: Final = ("category", "subcategory", "brand", "price_quartile")
CATALOGUE_COLUMNS: Final = (
    "category",
    "subcategory",
    "brand",
    "price",
    "catalog_avg_rating",
    "created_day",
    "is_active",
    "price_percentile",
    "price_quartile",
)
_UNKNOWN: Final = "unknown"


def catalogue_as_of(items: DataFrame, calendar: Calendar, *, where: str) -> DataFrame:
    """One row per (dt, item_id) with a snapshot before dt, and ``CATALOGUE_COLUMNS``.

    The word ``unknown`` is null. price_percentile is percent_rank among the active, priced items
    of the category, price_quartile 0 to 3; both null for all others.

    Raises ``SchemaError`` for a missing column.
    """
    require_columns(items, "items", ("dt", "item_id"), where)
    versions = _newest_versions(items, calendar)
    current = (F.col("dt") >= F.col("since")) & (
        F.col("until").isNull() | (F.col("dt") < F.col("until"))
    )
    as_of = versions.join(F.broadcast(calendar.days(items)), on=current)
    return _with_percentile(as_of).select("dt", "item_id", *CATALOGUE_COLUMNS)


def _newest_versions(items: DataFrame, calendar: Calendar) -> DataFrame:
    """Of each item the newest snapshots, with the dt ``since`` and ``until`` which each is that."""
    snapshots = items.select(
        as_id(items, "item_id").alias("item_id"),
        as_day(items, "dt").alias("day"),
        *(_word(items, name).alias(name) for name in ("category", "subcategory", "brand")),
        as_money(items, "price").alias("price"),
        column_or_null(items, "avg_rating", "double").alias("catalog_avg_rating"),
        _created_day(items).alias("created_day"),
        F.coalesce(column_or_null(items, "is_active", "boolean"), F.lit(True)).alias("is_active"),
    ).where(F.col("item_id").isNotNull() & F.col("day").isNotNull())
    # Two of one item and day are a fault; it must not depend on the order of rows which is taken.
    others = [name for name in snapshots.columns if name not in ("item_id", "day")]
    until = after("since", ["item_id"], ["day", *others])
    return (
        calendar.with_since(snapshots)
        .withColumn("until", until)
        .where(F.col("until").isNull() | (F.col("until") > F.col("since")))
    )


def _with_percentile(as_of: DataFrame) -> DataFrame:
    is_ranked = F.col("is_active") & F.col("price").isNotNull() & F.col("category").isNotNull()
    by_price = Window.partitionBy("dt", "category", "_is_ranked").orderBy("price")
    rank = F.when(F.col("_is_ranked"), F.percent_rank().over(by_price))
    quartile = F.least(F.floor(F.col("price_percentile") * 4), F.lit(3)).cast("int")
    return (
        as_of.withColumn("_is_ranked", is_ranked)
        .withColumn("price_percentile", rank)
        .withColumn("price_quartile", F.when(F.col("_is_ranked"), quartile))
        .drop("_is_ranked")
    )


def attribute_ranges(catalogue: DataFrame, names: Sequence[str], calendar: Calendar) -> DataFrame:
    """(item_id, since, until, names): stretches of dt, ``until`` not included, null for ever.

    They cover all days, for an item has a stretch of nulls before it is known.
    """
    known = catalogue.select("item_id", "dt", F.struct(*names).alias("row"))
    if calendar.has_one_day:
        nothing = F.lit(None).cast("long")
        return known.select("item_id", nothing.alias("since"), nothing.alias("until"), "row.*")
    in_order = ["item_id"], ["dt"]
    changes = (
        known.withColumn("_is_first", is_first(*in_order))
        .withColumn("_before", before("row", *in_order))
        .where(F.col("_is_first") | ~F.col("row").eqNullSafe(F.col("_before")))
        .withColumn("_until", after("dt", *in_order))
    )
    stretch = _stretch(F.col("dt"), F.col("_until"), F.col("row"))
    no_row = F.when(F.lit(False), F.col("row"))
    unknown = _stretch(F.lit(None), F.col("dt"), no_row)
    stretches = F.when(F.col("_is_first"), F.array(unknown, stretch)).otherwise(F.array(stretch))
    return changes.select("item_id", F.explode(stretches).alias("s")).select(
        "item_id", "s.since", "s.until", *(F.col(f"s.row.{name}").alias(name) for name in names)
    )


def with_source_names(catalogue: DataFrame) -> DataFrame:
    """dt, item_id, and the other columns as ``_catalogue_<name>``, as measures ask for them."""
    columns = [F.col(name).alias(f"_catalogue_{name}") for name in CATALOGUE_COLUMNS]
    return catalogue.select("dt", "item_id", *columns)


def is_in_range() -> Column:
    """Whether ``dt`` lies in the row's ``since`` and ``until``; items that are nowhere do."""
    begun = F.col("since").isNull() | (F.col("dt") >= F.col("since"))
    return begun & (F.col("until").isNull() | (F.col("dt") < F.col("until")))


def _stretch(since: Column, until: Column, row: Column) -> Column:
    return F.struct(
        since.cast("long").alias("since"), until.cast("long").alias("until"), row.alias("row")
    )


def _word(items: DataFrame, name: str) -> Column:
    return F.nullif(column_or_null(items, name, "string"), F.lit(_UNKNOWN))


def _created_day(items: DataFrame) -> Column:
    if "created_at" not in items.columns:
        return F.lit(None).cast("int")
    return as_day(items, "created_at")
