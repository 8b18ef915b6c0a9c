"""Builds item_features."""

from collections.abc import Iterable
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets.features.actions import read_actions
from training_assets.features.catalogue import (
    CATALOGUE_COLUMNS,
    catalogue_as_of,
    with_source_names,
)
from training_assets.features.collect import (
    collect_folds,
    collect_pairs,
    counted_pairs,
    folds_by_day,
)
from training_assets.features.feature import FeatureTable
from training_assets.features.inputs import (
    as_day,
    as_id,
    is_text_id,
    require_columns,
    require_same_ids,
)
from training_assets.features.measures import KIND_CODES, Distinct
from training_assets.features.plan import Plan, plan_of_days
from training_assets.features.registry import declared_table


def build_item_features(
    actions: DataFrame,
    items: DataFrame | None = None,
    impressions: DataFrame | None = None,
    *,
    days: Iterable[date | str],
    lookback_days: int | None = 365,
    engagement: str = "view",
    windows: Iterable[int] = (),
    table: FeatureTable | None = None,
) -> DataFrame:
    """One row per ``dt`` of ``days`` and item of the catalogue as of it, or with an action before.

    ``actions`` and ``windows`` as for ``build_user_features``. ``items``: dt, item_id; optionally
    category, price, avg_rating, created_at, is_active. ``impressions``: dt, item_id, one row per
    item shown, or per item and day with how many ``times`` it was. ``table`` is what is built: by
    default all declared features.

    Raises ``SchemaError`` for missing columns, ``SettingsError`` for arguments that cannot work.
    """
    where = "build_item_features"
    plan = plan_of_days(
        table or declared_table("item_features"),
        days,
        lookback_days=lookback_days,
        windows=windows,
        engagement=engagement,
        where=where,
    )
    rows = read_actions(actions, items, where=where)
    for other in (items, impressions):
        if other is not None:
            require_columns(other, "items", ("dt", "item_id"), where)
            require_same_ids(rows, other, "item_id", where)
    frame = collect_items(rows, items, impressions, plan, where)
    return plan.select(
        frame,
        is_text_id=is_text_id(rows, "item_id"),
        impressions_given=impressions is not None,
    )


def collect_items(
    rows: DataFrame,
    items: DataFrame | None,
    impressions: DataFrame | None,
    plan: Plan,
    where: str,
) -> DataFrame:
    """(dt, item_id), a column per leaf, and the catalogue as of dt as ``_catalogue_<name>``."""
    key = "item_id"
    folds = item_folds(rows, impressions, plan)
    collected = collect_folds(folds, key, plan.calendar, plan.names)
    if plan.collects((Distinct,)):
        pairs = collect_pairs(rows, key, plan.calendar, plan.names, categories=None)
        collected = collected.join(pairs, on=["dt", key], how="left")
    return _with_catalogue(collected, items, plan, where)


def item_folds(rows: DataFrame, impressions: DataFrame | None, plan: Plan) -> DataFrame:
    """(item_id, day) and a column per fold; ``rows`` as ``read_actions`` makes them."""
    seen = rows if impressions is None else rows.unionByName(_shown(impressions, rows))
    return folds_by_day(seen, "item_id", plan.names, engagement=plan.engagement)


def item_features_from(
    folds: DataFrame,
    counted: DataFrame,
    items: DataFrame | None,
    plan: Plan,
    *,
    impressions_given: bool,
) -> DataFrame:
    """The rows of ``build_item_features`` for the days of the plan, from what was kept.

    ``folds`` as ``item_folds``, of any stretches of days that count as one; ``counted`` as
    ``counted_pairs`` takes them. Ids are integers.
    """
    key = "item_id"
    collected = collect_folds(folds, key, plan.calendar, plan.names)
    if plan.collects((Distinct,)):
        pairs = counted_pairs(counted, key, plan.names)
        collected = collected.join(pairs, on=["dt", key], how="left")
    frame = _with_catalogue(collected, items, plan, "item_features")
    return plan.select(frame, is_text_id=False, impressions_given=impressions_given)


def _with_catalogue(
    collected: DataFrame, items: DataFrame | None, plan: Plan, where: str
) -> DataFrame:
    # Being shown alone gives an item no row.
    has_row = F.coalesce(plan.total > 0, F.lit(False))
    if items is None:
        nothing = {f"_catalogue_{name}": F.lit(None) for name in CATALOGUE_COLUMNS}
        return collected.withColumns(nothing).where(has_row)
    catalogue = with_source_names(catalogue_as_of(items, plan.calendar, where=where))
    is_listed = F.col("_catalogue_is_active").isNotNull()
    joined = collected.join(catalogue, on=["dt", "item_id"], how="full")
    return joined.where(has_row | is_listed)


def _shown(impressions: DataFrame, rows: DataFrame) -> DataFrame:
    """Impressions as rows of a kind that is no action, in the columns of ``rows``."""
    known = {
        "day": as_day(impressions, "dt"),
        "item_id": as_id(impressions, "item_id"),
        "kind": F.lit(KIND_CODES["shown"]),
        "times": F.col("times") if "times" in impressions.columns else F.lit(1),
    }
    columns = [
        known.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name)
        for field in rows.schema.fields
    ]
    return impressions.select(*columns).where(F.col("day").isNotNull())
