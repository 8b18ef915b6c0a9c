"""item_features: what is known of each item in the first second of a day."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from training_assets import checks
from training_assets.features import build_item_features, declared_table, published_table
from training_assets.lake.frames import read_days
from training_assets.provenance import BuiltFrom, Upstream
from training_assets.schemas import IMPRESSIONS, ITEMS_SHOWN
from training_assets.settings import Settings
from training_assets.tables import items_shown
from training_assets.tables.build import Build, NewFiles
from training_assets.tables.feature_inputs import (
    ACTIONS,
    CATALOGUE,
    declared_constants,
    engagement_of,
    looked_back,
    read_actions,
    read_catalogue,
    write_features,
)
from training_assets.tables.spec import TableSpec
from training_assets.tables.user_features import look_back_in_words

DECLARED: Final = declared_table("item_features")
ITEM_FEATURES: Final = published_table(DECLARED)


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """A row for each item of the catalogue as of a day, or with an action in its look-back."""
    actions = read_actions(build, days)
    shown, table = None, ITEMS_SHOWN
    if build.provenance.source_days(IMPRESSIONS).days:
        snapshot = build.lake.snapshot(table.name)
        shown = read_days(build.spark, snapshot, table, looked_back(build, table, days))
    features = build_item_features(
        actions,
        read_catalogue(build, days, actions),
        shown,
        days=days,
        lookback_days=build.settings.lookback_days,
        engagement=engagement_of(build, BUILT_FROM),
        table=DECLARED,
    )
    return write_features(build, features, ITEM_FEATURES, days)


def _describe(settings: Settings) -> str:
    return (
        "What is known of each item in the first second of the day: the actions of "
        f"{look_back_in_words(settings)} before it and the catalogue of the days before, nothing "
        "of the day itself. docs/features.md says how each column is computed."
    )


BUILT_FROM: Final = BuiltFrom(
    ITEM_FEATURES,
    upstream=(ACTIONS, Upstream(items_shown.BUILT_FROM, "look-back"), *CATALOGUE),
    settings=("lookback_days", "engagement"),
    constants=declared_constants(DECLARED),
    optional=(IMPRESSIONS,),
)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        ITEM_FEATURES,
        schema=checks.check_schema,
        ranges=checks.check_feature_ranges,
        nulls=checks.check_feature_nulls,
        leakage=checks.check_item_leakage,
        conversion=checks.check_conversion,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.feature_metrics,
    group="features",
)
