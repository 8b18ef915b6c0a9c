"""item_features: what is known of each item in the first second of a day."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import reduce
from itertools import groupby
from typing import Final

from pyspark.sql import DataFrame

from training_assets import checks
from training_assets.features import (
    build_item_features,
    declared_table,
    item_features_from,
    item_folds,
    published_table,
)
from training_assets.lake.frames import read_days
from training_assets.provenance import BuiltFrom, Upstream, window_days
from training_assets.schemas import IMPRESSIONS, ITEMS_SHOWN, UNIFIED_ACTIONS
from training_assets.settings import Settings
from training_assets.tables import items_shown
from training_assets.tables.build import Build, NewFiles
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
from training_assets.tables.pair_days import pairs_of_items
from training_assets.tables.spec import TableSpec
from training_assets.tables.user_features import categories_as_of, look_back_in_words

DECLARED: Final = declared_table("item_features")
ITEM_FEATURES: Final = published_table(DECLARED)


def _build(build: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
    """A row for each item of the catalogue as of a day, or with an action in its look-back."""
    if not is_kept(build, days):
        features = reduce(DataFrame.unionByName, from_actions(build, days))
        return write_features(build, features, ITEM_FEATURES, days)
    written: dict[date, NewFiles] = {}
    for block in days_together(build, days):
        for some in _alike(build, block):
            written |= write_features(build, from_state(build, some), ITEM_FEATURES, some)
    return written


def from_actions(build: Build, days: Sequence[date]) -> list[DataFrame]:
    """All days from one look at all actions."""
    actions = read_actions(build, days)
    catalogue = read_catalogue(build, days, looked_back(build, UNIFIED_ACTIONS, days))

    def features(some: Sequence[date], shown: DataFrame | None) -> DataFrame:
        return build_item_features(
            actions,
            catalogue,
            shown,
            days=some,
            lookback_days=build.settings.lookback_days,
            engagement=engagement_of(build, BUILT_FROM),
            table=DECLARED,
        )

    return [features(some, shown) for some, shown in _by_what_was_shown(build, days)]


def from_state(build: Build, days: Sequence[date]) -> DataFrame:
    """Days with a core in common, from what is kept and the actions of few days.

    What was shown before them is known of all or of none.
    """
    plan = plan_from_settings(build, BUILT_FROM, DECLARED, days)
    is_given = bool(build.provenance.source_days(IMPRESSIONS).days)
    snapshot = build.lake.snapshot(ITEMS_SHOWN.name)
    counted = looked_back(build, ITEMS_SHOWN, days) if is_given else set()
    if is_given and _days_unknown(build, days[0]):
        counted = set()
    shown_contents = {d: build.provenance.content(ITEMS_SHOWN, d) for d in counted}
    window = folded_contents(build, days)
    contents = {
        d: [*window.get(d, ("", "")), shown_contents.get(d, "")] for d in {*window, *counted}
    }

    def fold(some: Sequence[date]) -> DataFrame:
        shown = read_days(build.spark, snapshot, ITEMS_SHOWN, counted & set(some))
        return item_folds(read_folded(build, some), shown if is_given else None, plan)

    folds = folds_of_days(build, plan, contents, fold, num_files(build, days[0]))
    return item_features_from(
        folds,
        pairs_of_items(
            build, days, window_contents(build, days), lambda: categories_as_of(build, days)
        ),
        read_catalogue(build, days),
        plan,
        impressions_given=is_given,
    )


def _alike(build: Build, days: Sequence[date]) -> Iterator[list[date]]:
    """Days that follow each other of which what was shown before is known of all or of none."""
    if not build.provenance.source_days(IMPRESSIONS).days:
        yield list(days)
        return
    for _, found in groupby(days, lambda day: _days_unknown(build, day)):
        yield list(found)


def _by_what_was_shown(
    build: Build, days: Sequence[date]
) -> Iterator[tuple[Sequence[date], DataFrame | None]]:
    """Days, and how often items were shown before them; None where the shop does not say.

    Nothing is known of a day of which not all days before are: clicks would be divided by too few.
    """
    if not build.provenance.source_days(IMPRESSIONS).days:
        yield days, None
        return
    snapshot = build.lake.snapshot(ITEMS_SHOWN.name)
    whole = [day for day in days if not _days_unknown(build, day)]
    window = looked_back(build, ITEMS_SHOWN, whole)
    if whole:
        yield whole, read_days(build.spark, snapshot, ITEMS_SHOWN, window)
    if rest := [day for day in days if day not in whole]:
        yield rest, read_days(build.spark, snapshot, ITEMS_SHOWN, [])


def _days_unknown(build: Build, day: date) -> bool:
    expected = build.provenance.expected_days(items_shown.BUILT_FROM, day)
    needed = window_days(build.settings, expected, day)
    return bool(set(needed) - set(build.lake.days(ITEMS_SHOWN.name)))


def _describe(settings: Settings) -> str:
    return (
        "What is known of each item in the first second of the day: the actions of "
        f"{look_back_in_words(settings)} before it and the catalogue of the days before, nothing "
        "of the day itself. docs/features.md says how each column is computed."
    )


# Optional, so that no other feature waits for it.
_SHOWN: Final = Upstream(items_shown.BUILT_FROM, "look-back", is_optional=True)

BUILT_FROM: Final = BuiltFrom(
    ITEM_FEATURES,
    upstream=(ACTIONS, _SHOWN, *CATALOGUE),
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
        nulls=checks.check_feature_nulls,
        leakage=checks.check_item_leakage,
        conversion=checks.check_conversion,
        up_to_date=checks.up_to_date(BUILT_FROM),
    ),
    metrics=checks.feature_metrics,
    group="features",
)
