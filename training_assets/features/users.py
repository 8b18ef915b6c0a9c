"""Builds user_features."""

from collections.abc import Iterable
from datetime import date

from pyspark.sql import DataFrame

from training_assets.features.actions import read_actions, with_sessions
from training_assets.features.catalogue import attribute_ranges, catalogue_as_of
from training_assets.features.collect import (
    collect_folds,
    collect_pairs,
    counted_pairs,
    folds_by_day,
)
from training_assets.features.feature import FeatureTable
from training_assets.features.inputs import is_text_id, require_same_ids
from training_assets.features.measures import PAIR_LEAVES, Favorite, PurchasedCategories
from training_assets.features.plan import Plan, plan_of_days
from training_assets.features.registry import declared_table


def build_user_features(
    actions: DataFrame,
    items: DataFrame | None = None,
    *,
    days: Iterable[date | str],
    lookback_days: int | None = 365,
    engagement: str = "view",
    windows: Iterable[int] = (),
    table: FeatureTable | None = None,
) -> DataFrame:
    """One row per ``dt`` of ``days`` and customer with an action in the days before it.

    Actions of ``dt - lookback_days <= day < dt`` count; None is unlimited.

    ``actions``: dt, customer_id, item_id, action_type, occurred_at; optionally session_id, rating,
    price, quantity, amount. ``items``: dt, item_id; optionally category, price. ``windows`` in days
    adds columns for shorter windows, as ``total_purchases_30d``. ``table`` is what is built: by
    default all declared features, a shop's own among them.

    Raises ``SchemaError`` for missing columns, ``SettingsError`` for arguments that cannot work.
    """
    where = "build_user_features"
    plan = plan_of_days(
        table or declared_table("user_features"),
        days,
        lookback_days=lookback_days,
        windows=windows,
        engagement=engagement,
        where=where,
    )
    rows = read_actions(actions, items, where=where)
    return plan.select(
        collect_users(rows, items, plan, where), is_text_id=is_text_id(rows, "item_id")
    )


def collect_users(rows: DataFrame, items: DataFrame | None, plan: Plan, where: str) -> DataFrame:
    """(dt, customer_id) and a column per leaf; ``rows`` as ``read_actions`` makes them."""
    key = "customer_id"
    collected = collect_folds(user_folds(rows, plan), key, plan.calendar, plan.names)
    if not plan.collects(PAIR_LEAVES):
        return collected
    categories = None
    if items is not None and plan.collects((Favorite, PurchasedCategories)):
        require_same_ids(rows, items, "item_id", where)
        catalogue = catalogue_as_of(items, plan.calendar, where=where)
        categories = attribute_ranges(catalogue, ["category"], plan.calendar)
    pairs = collect_pairs(rows, key, plan.calendar, plan.names, categories)
    return collected.join(pairs, on=["dt", key], how="left")


def user_folds(rows: DataFrame, plan: Plan) -> DataFrame:
    """(customer_id, day) and a column per fold; ``rows`` as ``read_actions`` makes them."""
    return folds_by_day(with_sessions(rows), "customer_id", plan.names, engagement=plan.engagement)


def user_features_from(folds: DataFrame, counted: DataFrame, plan: Plan) -> DataFrame:
    """The rows of ``build_user_features`` for the days of the plan, from what was kept.

    ``folds`` as ``user_folds``, of any stretches of days that count as one; ``counted`` as
    ``counted_pairs`` takes them. Ids are integers.
    """
    key = "customer_id"
    collected = collect_folds(folds, key, plan.calendar, plan.names)
    if plan.collects(PAIR_LEAVES):
        pairs = counted_pairs(counted, key, plan.names)
        collected = collected.join(pairs, on=["dt", key], how="left")
    return plan.select(collected, is_text_id=False)
