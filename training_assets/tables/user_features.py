"""user_features: what is known of each customer in the first second of a day."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import pyarrow.compute as pc
from pyspark.sql import DataFrame

from training_assets import checks
from training_assets.features import (
    Plan,
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
from training_assets.tables.build import Build, NewFiles, number_of
from training_assets.tables.feature_folds import folds_of_days
from training_assets.tables.feature_inputs import (
    ACTIONS,
    CATALOGUE,
    declared_constants,
    engagement_of,
    folded_contents,
    looked_back,
    num_files,
    plan_from_settings,
    read_actions,
    read_catalogue,
    read_folded,
    write_features,
)
from training_assets.tables.feature_pairs import days_together
from training_assets.tables.feature_state import is_kept, window_contents
from training_assets.tables.pair_days import AsOf, pairs_of_customers
from training_assets.tables.spec import TableSpec

DECLARED: Final = declared_table("user_features")
USER_FEATURES: Final = published_table(DECLARED)


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """A row for each customer with an action in the look-back of a day."""
    if not is_kept(build, days):
        return write_features(build, from_actions(build, days), USER_FEATURES, days)
    # One block after the other: each needs as much memory as there is for one.
    written: dict[date, NewFiles] = {}
    for some in days_together(build, days):
        written |= write_features(build, from_state(build, some), USER_FEATURES, some)
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


def from_state(build: Build, days: Sequence[date]) -> DataFrame:
    """Days with a core in common, from what is kept and the actions of few days."""
    plan = plan_from_settings(build, BUILT_FROM, DECLARED, days)
    folds = folds_of_days(
        build,
        plan,
        folded_contents(build, days),
        lambda some: user_folds(read_folded(build, some), plan),
        num_files(build, days[0]),
    )
    window = window_contents(build, days)
    pairs = pairs_of_customers(build, days, window, categories_as_of(build, days))
    return user_features_from(folds, pairs, plan)


def categories_as_of(build: Build, days: Sequence[date]) -> AsOf:
    """What the pairs of customers are counted by."""
    plan = plan_from_settings(build, BUILT_FROM, DECLARED, days)
    return _categories(build, plan, days), longest_list(plan.names)


def _categories(build: Build, plan: Plan, days: Sequence[date]) -> dict[int, Categories]:
    """The categories of items as of each day; the same object as on the day before if they are."""
    found = dict.fromkeys(map(number_of, days), NO_CATEGORIES)
    catalogue = read_catalogue(build, days)
    if catalogue is None:
        return found
    as_of = catalogue_as_of(catalogue, plan.calendar, where=DECLARED.name)
    rows, before = as_of.select("dt", "item_id", "category").toArrow(), NO_CATEGORIES
    for number in found:
        here = Categories.of(rows.filter(pc.equal(rows["dt"], number)))
        found[number] = before = before if here.is_same(before) else here
    return found


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
