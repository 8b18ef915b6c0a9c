"""pair_features: how the customer and the item of each interaction, or impression, of a day fit."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets import checks
from training_assets.features import build_pair_features, declared_table, published_table
from training_assets.lake.frames import read_days
from training_assets.provenance import BuiltFrom
from training_assets.schemas import IMPRESSIONS, RETURN, UNIFIED_ACTIONS, Column
from training_assets.settings import Settings
from training_assets.tables.build import Build, NewFiles
from training_assets.tables.feature_inputs import (
    ACTIONS_TO_DAY,
    CATALOGUE,
    declared_constants,
    looked_back,
    read_actions,
    read_catalogue,
    write_features,
)
from training_assets.tables.feature_state import actions_at_once, num_actions
from training_assets.tables.spec import TableSpec
from training_assets.tables.user_features import look_back_in_words

DECLARED: Final = declared_table("pair_features")
# What customers acted on has several attributes each, so that an action takes as much as two.
_SHARE: Final = 2
_GIVEN: Final = (
    Column("action_type", "tinyint", "1 to 5: an action of the day; 0: the item was shown."),
    Column("occurred_at", "timestamp", "Time of the action, if it has its own.", is_optional=True),
)
PAIR_FEATURES: Final = published_table(
    DECLARED, _GIVEN, ("customer_id", "item_id", "action_type", "occurred_at")
)


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """A row for each action of the days, and for each pair that was shown."""
    pairs = _pairs(build, days)
    # Only what they did is read: of all customers, few are there on a day.
    customers = pairs.select("customer_id").distinct().toArrow()["customer_id"].combine_chunks()
    catalogue = read_catalogue(build, days, looked_back(build, UNIFIED_ACTIONS, days))
    num_parts = _num_parts(build, days, customers)
    written = []
    for part in range(num_parts):
        # One after the other: each holds in memory what its customers did.
        here = np.mod(customers.to_numpy(), num_parts) == part
        features = build_pair_features(
            pairs.where(F.pmod("customer_id", F.lit(num_parts)) == part),
            read_actions(build, days, customers.filter(pa.array(here))),
            catalogue,
            lookback_days=build.settings.lookback_days,
            days=days,
            table=DECLARED,
        )
        written.append(write_features(build, features, PAIR_FEATURES, days, num_parts))
    return {day: NewFiles.together([new[day] for new in written]) for day in days}


def _num_parts(build: Build, days: Sequence[date], customers: pa.Array) -> int:
    """In how many parts the customers are looked at, by how much they did in the look-backs."""
    most = actions_at_once(build) // _SHARE
    if num_actions(build, looked_back(build, UNIFIED_ACTIONS, days)) <= most:
        return 1
    found = read_actions(build, days, customers, ("customer_id",)).count()
    return max(1, -(-found // most))


def _pairs(build: Build, days: Sequence[date]) -> DataFrame:
    snapshot = build.lake.snapshot(UNIFIED_ACTIONS.name)
    actions = read_days(build.spark, snapshot, UNIFIED_ACTIONS, days)
    acted = actions.where(~F.col("is_bot") & (F.col("action_type") != RETURN)).select(
        "dt",
        "customer_id",
        "item_id",
        "action_type",
        F.when(F.col("has_time"), F.col("occurred_at")).alias("occurred_at"),
        "session_id",
    )
    shown = (
        build.raw(IMPRESSIONS, days)
        .read_valid(build.spark)
        .select("dt", "customer_id", F.explode("impressions").alias("shown"))
        .select(
            "dt",
            "customer_id",
            F.col("shown.item_id").alias("item_id"),
            F.lit(0).cast("tinyint").alias("action_type"),
            F.lit(None).cast("timestamp").alias("occurred_at"),
            F.lit(None).cast("string").alias("session_id"),
        )
        .distinct()
    )
    return acted.unionByName(shown)


def _describe(settings: Settings) -> str:
    return (
        "How customer and item fit, for each action of the day and each pair that was shown: from "
        f"the customer's actions of {look_back_in_words(settings)} before the day and the "
        "catalogue of the days before. Bots are left out. docs/features.md says how each column "
        "is computed."
    )


BUILT_FROM: Final = BuiltFrom(
    PAIR_FEATURES,
    (IMPRESSIONS,),
    upstream=(ACTIONS_TO_DAY, *CATALOGUE),
    settings=("lookback_days",),
    constants=declared_constants(DECLARED),
)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        PAIR_FEATURES,
        schema=checks.check_schema,
        row_counts=checks.check_pair_counts,
        nulls=checks.check_feature_nulls,
        leakage=checks.check_pair_leakage,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.feature_metrics,
    group="features",
)
