"""What the feature tables read: actions and the catalogue, as far as days of features need them."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.features import (
    FEATURES_VERSION,
    FeatureTable,
    Plan,
    declared_hash,
    plan_of_days,
)
from training_assets.features import read_actions as priced_actions
from training_assets.kernels import write_rows
from training_assets.lake.frames import read_days
from training_assets.provenance import BuiltFrom, Upstream, window_days
from training_assets.schemas import ORDER, RETURN, UNIFIED_ACTIONS, Table
from training_assets.tables import items, unified_actions
from training_assets.tables.build import Batches, Build, NewFiles, by_day, write_days
from training_assets.tables.feature_state import window_contents

ACTIONS: Final = Upstream(unified_actions.BUILT_FROM, "look-back")
ACTIONS_TO_DAY: Final = Upstream(unified_actions.BUILT_FROM, "look-back and day")
# Of a shop that delivers none there are no days, and none are missing.
CATALOGUE: Final[tuple[Upstream, ...]] = (Upstream(items.BUILT_FROM, "look-back"),)

_ACTIONS_PER_FILE: Final = 20_000_000
_PRICE: Final = ("dt", "item_id", "price")
_IS_PRICED: Final = ("dt", "action_type", "price")


def declared_constants(declared: FeatureTable) -> tuple[tuple[str, str | int], ...]:
    """What makes days out of date when features are declared otherwise."""
    return (("features_version", FEATURES_VERSION), ("features", declared_hash(declared)))


def read_actions(
    build: Build,
    days: Sequence[date],
    customers: pa.Array | None = None,
    columns: Sequence[str] | None = None,
) -> DataFrame:
    """Published actions that count for any of the days; with ``customers``, only of these."""
    snapshot = build.lake.snapshot(UNIFIED_ACTIONS.name)
    wanted = sorted(looked_back(build, UNIFIED_ACTIONS, days))
    return read_days(build.spark, snapshot, UNIFIED_ACTIONS, wanted, columns, customers)


def looked_back(build: Build, table: Table, days: Iterable[date]) -> set[date]:
    """Published days of a table that lie in the look-back of any of the days."""
    published = build.lake.days(table.name)
    return {d for day in days for d in window_days(build.settings, published, day)}


def read_catalogue(
    build: Build, days: Sequence[date], priced: Iterable[date] = ()
) -> DataFrame | None:
    """Snapshots of which one is the catalogue as of a day, or prices a purchase; None without any.

    ``priced`` are days of actions whose purchases may lack a price. Each snapshot has all items, so
    of those that only price purchases no more is read than that.
    """
    if not CATALOGUE:
        return None
    table = CATALOGUE[0].of.table
    snapshot = build.lake.snapshot(table.name)
    newest = {before[-1] for day in days if (before := [d for d in snapshot.days if d < day])}
    if not newest:
        return None
    catalogue = read_days(build.spark, snapshot, table, newest)
    further = _days_that_price(build, snapshot.days, priced) - newest
    if not further:
        return catalogue
    prices = read_days(build.spark, snapshot, table, further, _PRICE)
    return catalogue.unionByName(prices, allowMissingColumns=True)


def read_folded(build: Build, days: Sequence[date]) -> DataFrame:
    """Actions of days as features see them, with the prices of the catalogue as of each."""
    snapshot = build.lake.snapshot(UNIFIED_ACTIONS.name)
    actions = read_days(build.spark, snapshot, UNIFIED_ACTIONS, days)
    table = CATALOGUE[0].of.table
    catalogue = build.lake.snapshot(table.name)
    prices = None
    if priced := _days_that_price(build, catalogue.days, days):
        prices = read_days(build.spark, catalogue, table, priced, _PRICE)
    return priced_actions(actions, prices, where="features")


def folded_contents(build: Build, days: Sequence[date]) -> dict[date, list[str]]:
    """What the actions of each day of the look-backs, and their prices, are made from."""
    table = CATALOGUE[0].of.table
    catalogue, contents = build.lake.days(table.name), build.provenance.content
    found = {}
    for of, content in window_contents(build, days).items():
        place = bisect_right(catalogue, of)
        prices = contents(table, catalogue[place - 1]) if place else ""
        found[of] = [content, prices]
    return found


def _days_that_price(build: Build, published: Sequence[date], days: Iterable[date]) -> set[date]:
    """Days of the catalogue that are the newest one of a day with purchases without a price."""
    snapshot, wanted = build.lake.snapshot(UNIFIED_ACTIONS.name), list(days)
    if not published or not wanted:
        return set()
    actions = read_days(build.spark, snapshot, UNIFIED_ACTIONS, wanted, _IS_PRICED)
    is_unpriced = F.col("action_type").isin(ORDER, RETURN) & F.col("price").isNull()
    found = actions.where(is_unpriced).select("dt").distinct().collect()
    until = ([d for d in published if d <= row["dt"]] for row in found)
    return {days[-1] for days in until if days}


def write_features(
    build: Build, features: DataFrame, table: Table, days: Sequence[date], num_parts: int = 1
) -> Mapping[date, NewFiles]:
    """Write all days; the more actions count for a day, the more files it has.

    ``features`` are one of ``num_parts``, which together have the files of a day.
    """
    files = {day: math.ceil(num_files(build, day) / num_parts) for day in days}
    root, run = build.root(table.name), build.run

    def write(batches: Batches) -> Batches:
        return write_rows(batches, table, root, run)

    part = F.pmod(F.xxhash64(table.key[0]), by_day(files)).cast("int")
    named = features.select(*table.column_names).withColumn("part", part)
    return write_days(build, named, table, days, max(files.values()), write)


def num_files(build: Build, day: date) -> int:
    """How many files a day has: the more, the more actions count for it."""
    files = build.lake.snapshot(UNIFIED_ACTIONS.name).files
    counted = looked_back(build, UNIFIED_ACTIONS, [day])
    return max(1, round(sum(f.rows for d in counted for f in files[d]) / _ACTIONS_PER_FILE))


def plan_from_settings(
    build: Build, built: BuiltFrom, declared: FeatureTable, days: Sequence[date]
) -> Plan:
    """How days are put together, by the settings of the lake."""
    return plan_of_days(
        declared,
        days,
        lookback_days=build.settings.lookback_days,
        engagement=engagement_of(build, built),
        where=declared.name,
    )


def engagement_of(build: Build, built: BuiltFrom) -> str:
    """view or click, as it is recorded with the days."""
    return str(build.provenance.recorded(built)["engagement"])
