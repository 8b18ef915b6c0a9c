"""pair_features: one row per pair of a customer and an item that is given, with its day."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from training_assets.features.actions import read_actions, with_sessions
from training_assets.features.affinity import with_affinity
from training_assets.features.calendar import Calendar, DaysOfFrame, KnownDays, known_days
from training_assets.features.catalogue import (
    CATALOGUE_COLUMNS,
    catalogue_as_of,
    with_source_names,
)
from training_assets.features.declared import Feature, FeatureTable
from training_assets.features.inputs import (
    as_day,
    as_id,
    as_micros,
    column_or_null,
    is_text_id,
    require_columns,
    require_same_ids,
)
from training_assets.features.measures import Formula, Given, count, total
from training_assets.features.plan import Plan, make_plan
from training_assets.features.users import USER_FEATURES, USERS, collect_users
from training_assets.features.vocabulary import SETTINGS

PRICE_MATCH_THRESHOLD: Final = 20
_MICROS_PER_HOUR: Final = 3_600_000_000
_MONDAY_OFFSET: Final = 3

_PRICE: Final = Given("catalogue", "price")
_CATEGORY: Final = Given("catalogue", "category")
_FAVORITE: Final = Given("customer", "favorite_category")
_PRICE_TOTAL: Final = Given("customer", "unit_price_total")
_PRICED: Final = Given("customer", "priced_purchases")
_AFFINITY: Final = Given("pair", "affinity")
_AT_MICROS: Final = Given("pair", "at_micros")
_POSITION: Final = Given("pair", "position")

# What a pair needs of its customer beside the columns of user_features, for exact comparisons.
_PRICE_SUMS: Final = (
    Feature(
        "unit_price_total",
        "decimal(38,4)",
        "Sum of the unit prices of purchases whose price is known.",
        total("unit_price", "order", where="is_purchase"),
    ),
    Feature(
        "priced_purchases",
        "long",
        "Purchases whose price is known.",
        count("order", where="unit_price is not null and is_purchase"),
    ),
)
_CUSTOMER_FEATURES: Final = {feature.name: feature for feature in (*USER_FEATURES, *_PRICE_SUMS)}


def _is_match(favorite: Column, category: Column) -> Column:
    return F.coalesce(favorite == category, F.lit(False))


def _known(price: Column, paid: Column, value: Column) -> Column:
    """``value`` where both prices are known and above 0, else null."""
    return F.when((price > 0) & (paid > 0), value)


def _price_match(price: Column, paid: Column, purchases: Column) -> Column:
    # |paid / n - price| < 20 without the division, so that 20.00 is never 19.99999.
    n = purchases.cast("decimal(10,0)")
    distance = F.abs(paid.cast("decimal(24,4)") - price * n)
    return _known(price, paid, distance < n * F.lit(PRICE_MATCH_THRESHOLD))


def _price_ratio(price: Column, paid: Column, purchases: Column) -> Column:
    usual = paid.cast("double") / purchases
    return F.ln(_known(price, paid, price.cast("double") / usual))


def _hour(at_micros: Column) -> Column:
    return F.pmod(F.floor(at_micros / F.lit(_MICROS_PER_HOUR)), F.lit(24))


def _weekday(at_micros: Column) -> Column:
    day = F.floor(at_micros / F.lit(24 * _MICROS_PER_HOUR))
    return F.pmod(day + _MONDAY_OFFSET, F.lit(7)) + 1


PAIR_FEATURES: Final = (
    Feature(
        "user_item_affinity",
        "double",
        "Cosine of the customer's vector (items acted on, by weight of the kind) and the item's "
        "(category, subcategory, brand, price quartile); a zero vector gives 0.",
        _AFFINITY,
        empty=0,
        low=0,
        high=1,
    ),
    Feature(
        "category_match",
        "boolean",
        "Whether the item is of the customer's favourite category; without one it is not.",
        Formula("favorite_category = category", (_FAVORITE, _CATEGORY), _is_match),
    ),
    Feature(
        "price_match",
        "boolean",
        f"Whether avg_price_point and the price as of dt are less than {PRICE_MATCH_THRESHOLD} "
        "apart. Null where one is unknown or 0.",
        Formula(
            f"abs(avg_price_point - price) < {PRICE_MATCH_THRESHOLD}",
            (_PRICE, _PRICE_TOTAL, _PRICED),
            _price_match,
        ),
    ),
    Feature(
        "price_ratio",
        "double",
        "ln(price as of dt / avg_price_point). Null where one is unknown or 0.",
        Formula("ln(price / avg_price_point)", (_PRICE, _PRICE_TOTAL, _PRICED), _price_ratio),
    ),
    Feature(
        "time_of_day",
        "long",
        "Hour of the pair's time, UTC.",
        Formula("hour of the time", (_AT_MICROS,), _hour),
        low=0,
        high=23,
    ),
    Feature(
        "day_of_week",
        "long",
        "Weekday of the pair's time, UTC: 1 is Monday, 7 Sunday.",
        Formula("weekday of the time", (_AT_MICROS,), _weekday),
        low=1,
        high=7,
    ),
    Feature(
        "session_position",
        "long",
        "Place in the customer's session of the day by (time, id), from 1. Null without a time.",
        _POSITION,
        low=1,
    ),
)

PAIRS: Final = FeatureTable(
    name="pair_features",
    grain="one given pair of customer and item",
    key=("customer_id", "item_id"),
    features=PAIR_FEATURES,
    given=(
        *SETTINGS,
        *(Given("catalogue", name) for name in CATALOGUE_COLUMNS),
        *(Given("customer", name) for name in _CUSTOMER_FEATURES),
        *(_AFFINITY, _AT_MICROS, _POSITION),
    ),
    leaves=(Given,),
)


def build_pair_features(
    pairs: DataFrame,
    actions: DataFrame,
    items: DataFrame,
    *,
    lookback_days: int | None = 365,
    days: Iterable[date | str] | None = None,
    table: FeatureTable | None = None,
) -> DataFrame:
    """One row per row of ``pairs``, with their other columns behind the key.

    ``pairs``: dt, customer_id, item_id; optionally occurred_at, session_id, interaction_id, from
    which come hour, weekday and place in the session; any others pass through. ``actions`` and
    ``items`` as for the other tables. Where the days of ``pairs`` are known, ``days`` spares
    looking at each of them apart; pairs of other days are then left out.

    Raises ``SchemaError`` for missing columns, ``SettingsError`` for arguments that cannot work.
    """
    where = "build_pair_features"
    table = table or PAIRS
    require_columns(pairs, "pairs", ("dt", "customer_id", "item_id"), where)
    rows = read_actions(actions, items, where=where)
    for column in ("customer_id", "item_id"):
        require_same_ids(pairs, rows, column, where)
    given = _read_pairs(pairs, table)

    def calendar(lengths: Iterable[int]) -> Calendar:
        if days is not None:
            return known_days(days, lengths, where)
        days_of_pairs = given.select("dt").where(F.col("dt").isNotNull()).distinct()
        return DaysOfFrame(days_of_pairs, tuple(sorted(lengths)))

    plan = make_plan(table, calendar, lookback_days=lookback_days, where=where)
    if isinstance(plan.calendar, KnownDays):
        given = given.where(F.col("dt").isin(list(plan.calendar.numbers)))
    customers = given.select("customer_id").distinct()
    rows = rows.join(customers, on="customer_id", how="left_semi")
    catalogue = catalogue_as_of(items, plan.calendar, where=where)
    frame = with_affinity(_with_position(given), rows, catalogue, plan.calendar)
    frame = frame.join(with_source_names(catalogue), on=["dt", "item_id"], how="left")
    frame = _with_customers(frame, rows, items, plan, where)
    keep = _passed_through(pairs, table)
    return plan.select(frame, is_text_id=is_text_id(pairs, "item_id"), keep=keep)


def _read_pairs(pairs: DataFrame, table: FeatureTable) -> DataFrame:
    at = as_micros(pairs, "occurred_at") if "occurred_at" in pairs.columns else F.lit(None)
    return pairs.select(
        as_day(pairs, "dt").cast("long").alias("dt"),
        as_id(pairs, "customer_id").alias("customer_id"),
        as_id(pairs, "item_id").alias("item_id"),
        *_passed_through(pairs, table),
        at.cast("long").alias("_pair_at_micros"),
        column_or_null(pairs, "session_id", "string").alias("_pair_session_id"),
        column_or_null(pairs, "interaction_id", "string").alias("_pair_id"),
    )


def _passed_through(pairs: DataFrame, table: FeatureTable) -> tuple[str, ...]:
    """Columns of ``pairs`` that are neither key nor feature."""
    taken = {"dt", *table.key, *(feature.name for feature in table.features)}
    return tuple(name for name in pairs.columns if name not in taken)


def _with_position(pairs: DataFrame) -> DataFrame:
    """Adds ``_pair_position``: the place in the customer's session of the day, from 1."""
    order = ("_pair_at_micros", "_pair_id", "item_id")
    owner = ("customer_id", "dt", "_pair_session_id")
    started = with_sessions(pairs, owner=owner, order=order)
    so_far = Window.partitionBy(*owner).orderBy(*order).rowsBetween(Window.unboundedPreceding, 0)
    number = F.sum("is_session_start").over(so_far)
    in_session = Window.partitionBy(*owner, "_pair_session").orderBy(*order)
    place = F.row_number().over(in_session)
    return (
        started.withColumn("_pair_session", number)
        .withColumn("_pair_position", F.when(F.col("_pair_at_micros").isNotNull(), place))
        .drop("is_session_start", "session_micros", "_pair_session", "_pair_session_id", "_pair_id")
    )


def _with_customers(
    frame: DataFrame, rows: DataFrame, items: DataFrame, plan: Plan, where: str
) -> DataFrame:
    """Adds the columns of customers that the table's formulas name, as ``_customer_<name>``."""
    wanted = [leaf for leaf in plan.table.leaves_wanted() if isinstance(leaf, Given)]
    names = [leaf.name for leaf in wanted if leaf.source == "customer"]
    if not names:
        return frame
    table = replace(USERS, features=tuple(_CUSTOMER_FEATURES[name] for name in names))
    lookback_days = plan.windows[0]
    customers = make_plan(table, lambda _: plan.calendar, lookback_days=lookback_days, where=where)
    collected = collect_users(rows, items, customers, where)
    columns = customers.select(collected, is_text_id=is_text_id(rows, "item_id")).select(
        F.unix_date("dt").cast("long").alias("dt"),
        "customer_id",
        *(F.col(name).alias(f"_customer_{name}") for name in names),
    )
    return frame.join(columns, on=["dt", "customer_id"], how="left")
