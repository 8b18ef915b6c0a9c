"""user_features: what is known of each customer in the first second of a day."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from pyspark.sql import DataFrame

from training_assets import checks
from training_assets.features import (
    build_user_features,
    catalogue_as_of,
    declared_table,
    longest_list,
    published_table,
    user_features_from,
    user_folds,
)
from training_assets.kernels import NO_CATEGORIES, Categories
from training_assets.provenance import BuiltFrom
from training_assets.schemas import UNIFIED_ACTIONS
from training_assets.settings import Settings
from training_assets.tables.build import Build, NewFiles
from training_assets.tables.feature_folds import folds_of_day
from training_assets.tables.feature_inputs import (
    ACTIONS,
    CATALOGUE,
    declared_constants,
    engagement_of,
    folded_contents,
    looked_back,
    num_files,
    plan_of_day,
    read_actions,
    read_catalogue,
    read_folded,
    write_features,
)
from training_assets.tables.feature_pairs import pairs_of_customers
from training_assets.tables.feature_state import is_kept, window_contents
from training_assets.tables.spec import TableSpec

DECLARED: Final = declared_table("user_features")
USER_FEATURES: Final = published_table(DECLARED)


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """A row for each customer with an action in the look-back of a day."""
    if not is_kept(build, days):
        return write_features(build, from_actions(build, days), USER_FEATURES, days)
    # One after the other: each needs as much memory as there is for one.
    written: dict[date, NewFiles] = {}
    for day in days:
        written |= write_features(build, from_state(build, day), USER_FEATURES, [day])
    return written


def from_actions(build: Build, days: Sequence[date]) -> DataFrame:
    """All days from one look at all actions."""
    actions = read_actions(build, days)
    return build_user_features(
        actions,
        read_catalogue(build, days, looked_back(build, UNIFIED_ACTIONS, days)),
        days=days,
        lookback_days=build.settings.lookback_days,
        engagement=engagement_of(build, BUILT_FROM),
        table=DECLARED,
    )


def from_state(build: Build, day: date) -> DataFrame:
    """One day from what is kept, and the actions of few days."""
    plan = plan_of_day(build, BUILT_FROM, DECLARED, day)
    folds = folds_of_day(
        build,
        plan,
        folded_contents(build, day),
        lambda some: user_folds(read_folded(build, some), plan),
        num_files(build, day),
    )
    categories, catalogue = NO_CATEGORIES, read_catalogue(build, [day])
    if catalogue is not None:
        as_of = catalogue_as_of(catalogue, plan.calendar, where=DECLARED.name)
        categories = Categories.of(as_of.select("item_id", "category").toArrow())
    pairs = pairs_of_customers(
        build, day, window_contents(build, day), categories, longest_list(plan.names)
    )
    return user_features_from(folds, pairs, plan)


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
