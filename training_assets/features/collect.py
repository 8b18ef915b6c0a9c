"""Collects what measures need: one pass over the actions, and one over (customer, item) pairs.

    actions ──> one row per (key, day) ──> per (key, segment) ──> per (key, dt), a column per window
    actions ──> one row per (customer, item, segment), with the category ──> per (customer, dt)

Counts and sums stay integers and decimals until the last division, so that both ways of adding
them up, and both engines, give the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.features.calendar import Calendar
from training_assets.features.catalogue import is_in_range
from training_assets.features.measures import (
    PAIR_LEAVES,
    Distinct,
    Favorite,
    Fold,
    Leaf,
    PurchasedCategories,
    RecentItems,
)
from training_assets.features.neighbours import after

# Column names by leaf and window.
Names = Mapping[tuple[Leaf, int], str]


def name_leaves(leaves: Iterable[Leaf], windows: Iterable[int]) -> dict[tuple[Leaf, int], str]:
    """A column for each leaf that is collected, in each of its windows.

    A fold with a window of its own has only that, cut to the longest of ``windows``.
    """
    longest = max(windows)
    names: dict[tuple[Leaf, int], str] = {}
    for leaf in leaves:
        own = leaf.window if isinstance(leaf, Fold) else None
        for window in windows if own is None else [min(own, longest)]:
            if isinstance(leaf, (Fold, *PAIR_LEAVES)):
                names.setdefault((leaf, window), f"_m{len(names)}_{window}")
    return names


def fold_names(names: Names) -> dict[Fold, str]:
    """A column for each fold as it is kept by day, whatever the windows it is merged over."""
    folds = (replace(leaf, window=None) for leaf, _ in names if isinstance(leaf, Fold))
    return {fold: f"_f{n}" for n, fold in enumerate(dict.fromkeys(folds))}


def folds_by_day(rows: DataFrame, key: str, names: Names, *, engagement: str) -> DataFrame:
    """(key, day) and a column per fold: of each day alone."""
    folds = fold_names(names)
    return rows.groupBy(key, "day").agg(
        *(fold.of_day(engagement).alias(name) for fold, name in folds.items())
    )


def merge_folds(by_day: DataFrame, names: Names, *by: str) -> DataFrame:
    """``by`` and a column per fold, of whatever stretches of days the rows are of."""
    return by_day.groupBy(*by).agg(
        *(fold.of_days(F.col(name)).alias(name) for fold, name in fold_names(names).items())
    )


def collect_folds(by_day: DataFrame, key: str, calendar: Calendar, names: Names) -> DataFrame:
    """(dt, key) and the columns of all folds; a row where anything counts in the look-back.

    ``by_day`` as ``folds_by_day`` makes it; a row may be of several days that count as one.
    """
    folds = fold_names(names)
    by_segment = merge_folds(calendar.with_segment(by_day), names, key, "segment")
    columns = [
        leaf.of_days(
            F.when(F.col("reach") <= window, F.col(folds[replace(leaf, window=None)]))
        ).alias(name)
        for (leaf, window), name in names.items()
        if isinstance(leaf, Fold)
    ]
    return calendar.with_dt(by_segment).groupBy("dt", key).agg(*columns)


def count_pairs(rows: DataFrame, *by: str) -> DataFrame:
    """(customer_id, item_id, by), how often they met, when last, and how often it was bought."""
    return rows.groupBy("customer_id", "item_id", *by).agg(
        F.count(F.lit(1)).alias("_actions"),
        F.max("sort_micros").alias("_newest"),
        F.sum(F.col("is_purchase").cast("long")).alias("_purchases"),
    )


def collect_pairs(
    actions: DataFrame,
    key: str,
    calendar: Calendar,
    names: Names,
    categories: DataFrame | None,
) -> DataFrame:
    """(dt, key) and the columns of all measures of pairs.

    ``categories`` (item_id, since, until, category): ranges of dt; None where nothing asks for
    them, or nothing is known.
    """
    other = "item_id" if key == "customer_id" else "customer_id"
    pairs = count_pairs(calendar.with_segment(actions), "segment")
    pairs = _with_next(pairs, key, other, calendar)
    if categories is None:
        nothing = F.lit(None).cast("long")
        pairs = pairs.withColumns({"since": nothing, "until": nothing})
        pairs = pairs.withColumn("category", F.lit(None).cast("string"))
    else:
        pairs = pairs.join(categories, on="item_id", how="left")
    groups = _group_pairs(pairs, key, longest_list=longest_list(names))
    windows = sorted({window for leaf, window in names if isinstance(leaf, PAIR_LEAVES)})
    per_category = _per_category(calendar.with_dt(groups).where(is_in_range()), key, windows)
    return _per_key(per_category, key, names)


def counted_pairs(counted: DataFrame, key: str, names: Names) -> DataFrame:
    """As ``collect_pairs``, of pairs that have been counted.

    ``counted``: dt, key, _pairs, which is added up, and for customers _purchased, _favorite,
    _favorite_actions and _recent, one row each.
    """
    if key == "item_id":
        counted = counted.groupBy("dt", key).agg(F.sum("_pairs").alias("_pairs"))
    columns = [
        _counted(leaf).alias(name)
        for (leaf, _), name in names.items()
        if isinstance(leaf, PAIR_LEAVES)
    ]
    return counted.select("dt", key, *columns)


def _counted(leaf: Leaf) -> Column:
    if isinstance(leaf, RecentItems):
        return F.slice("_recent", 1, leaf.length)
    if isinstance(leaf, Favorite):
        return F.col("_favorite" if leaf.part == "name" else "_favorite_actions")
    return F.col("_pairs" if isinstance(leaf, Distinct) else "_purchased")


def longest_list(names: Names) -> int:
    """How many of the newest items have to be kept of each customer."""
    return max((leaf.length for leaf, _ in names if isinstance(leaf, RecentItems)), default=0)


def _with_next(pairs: DataFrame, key: str, other: str, calendar: Calendar) -> DataFrame:
    """Adds ``_next``: the segment in which the pair meets again, null if it never does.

    A pair is counted for dt by its last segment before dt, so once.
    """
    if calendar.has_one_segment:
        return pairs.withColumn("_next", F.lit(None).cast("long"))
    return pairs.withColumn("_next", after("segment", [key, other], ["segment"]))


def _group_pairs(pairs: DataFrame, key: str, *, longest_list: int) -> DataFrame:
    """Pairs that count for the same dt and have the same category, as one row."""
    columns = [
        F.sum("_actions").alias("_actions"),
        F.max("_newest").alias("_newest"),
        F.sum("_purchases").alias("_purchases"),
        F.count(F.lit(1)).alias("_pairs"),
    ]
    if longest_list:
        newest_first = F.struct((-F.col("_newest")).alias("age"), F.col("item_id").alias("item"))
        listed = F.slice(F.sort_array(F.collect_list(newest_first)), 1, longest_list)
        columns.append(listed.alias("_recent"))
    return pairs.groupBy(key, "segment", "_next", "since", "until", "category").agg(*columns)


def _per_category(groups: DataFrame, key: str, windows: list[int]) -> DataFrame:
    is_last = F.col("_next").isNull() | (F.col("_next") >= F.col("own"))
    columns = []
    for window in windows:
        is_inside = F.col("reach") <= window

        def inside(name: str, is_inside: Column = is_inside) -> Column:
            return F.when(is_inside, F.col(name))

        columns += [
            F.sum(inside("_actions")).alias(f"_actions_{window}"),
            F.max(inside("_newest")).alias(f"_newest_{window}"),
            F.sum(inside("_purchases")).alias(f"_purchases_{window}"),
            F.sum(F.when(is_inside & is_last, F.col("_pairs"))).alias(f"_pairs_{window}"),
        ]
        if "_recent" in groups.columns:
            lists = F.flatten(F.collect_list(inside("_recent")))
            columns.append(lists.alias(f"_recent_{window}"))
    return groups.groupBy("dt", key, "category").agg(*columns)


def _per_key(per_category: DataFrame, key: str, names: Names) -> DataFrame:
    columns = [
        _of_categories(leaf, window).alias(name)
        for (leaf, window), name in names.items()
        if isinstance(leaf, PAIR_LEAVES)
    ]
    return per_category.groupBy("dt", key).agg(*columns)


def _of_categories(leaf: Leaf, window: int) -> Column:
    """The value of one measure from a key's rows per category."""
    if isinstance(leaf, Distinct):
        return F.sum(f"_pairs_{window}")
    if isinstance(leaf, PurchasedCategories):
        is_one = F.col("category").isNotNull() & (F.col(f"_purchases_{window}") > 0)
        return F.sum(F.when(is_one, 1).otherwise(0))
    if isinstance(leaf, RecentItems):
        merged = F.sort_array(F.flatten(F.collect_list(f"_recent_{window}")))
        items = F.array_distinct(F.transform(merged, lambda entry: entry["item"]))
        return F.slice(items, 1, leaf.length)
    assert isinstance(leaf, Favorite)
    actions = F.col(f"_actions_{window}")
    order = F.struct(
        (-actions).alias("actions"),
        (-F.col(f"_newest_{window}")).alias("newest"),
        F.col("category").alias("name"),
    )
    known = F.when(F.col("category").isNotNull() & actions.isNotNull(), order)
    best = F.get(F.sort_array(F.collect_list(known)), 0)
    return best["name"] if leaf.part == "name" else -best["actions"]
