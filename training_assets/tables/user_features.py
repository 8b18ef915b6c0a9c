"""user_features: what is known of each customer in the first second of a day."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from training_assets import checks
from training_assets.features import build_user_features, declared_table, published_table
from training_assets.provenance import BuiltFrom
from training_assets.settings import Settings
from training_assets.tables.build import Build, NewFiles
from training_assets.tables.feature_inputs import (
    ACTIONS,
    CATALOGUE,
    declared_constants,
    engagement_of,
    read_actions,
    read_catalogue,
    write_features,
)
from training_assets.tables.spec import TableSpec

DECLARED: Final = declared_table("user_features")
USER_FEATURES: Final = published_table(DECLARED)


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """A row for each customer with an action in the look-back of a day."""
    actions = read_actions(build, days)
    features = build_user_features(
        actions,
        read_catalogue(build, days, actions),
        days=days,
        lookback_days=build.settings.lookback_days,
        engagement=engagement_of(build, BUILT_FROM),
        table=DECLARED,
    )
    return write_features(build, features, USER_FEATURES, days)


def _describe(settings: Settings) -> str:
    return (
        "What is known of each customer in the first second of the day: the actions of "
        f"{look_back_in_words(settings)} before it and the catalogue of the days before, nothing "
        "of the day itself. docs/features.md says how each column is computed."
    )


def look_back_in_words(settings: Settings) -> str:
    return "all days" if settings.lookback_days is None else f"the {settings.lookback_days} days"


BUILT_FROM: Final = BuiltFrom(
    USER_FEATURES,
    upstream=(ACTIONS, *CATALOGUE),
    settings=("lookback_days", "engagement"),
    constants=declared_constants(DECLARED),
)

SPEC: Final = TableSpec(
    built_from=BUILT_FROM,
    describe=_describe,
    build=_build,
    checks=checks.for_table(
        USER_FEATURES,
        schema=checks.check_schema,
        nulls=checks.check_feature_nulls,
        leakage=checks.check_user_leakage,
        conversion=checks.check_conversion,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.feature_metrics,
    group="features",
)
