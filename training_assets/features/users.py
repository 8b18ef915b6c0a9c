"""user_features: one row per customer with an action in the window."""

from collections.abc import Iterable
from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.features.actions import read_actions, with_sessions
from training_assets.features.calendar import known_days
from training_assets.features.catalogue import attribute_ranges, catalogue_as_of
from training_assets.features.collect import OF_PAIRS, collect_folds, collect_pairs
from training_assets.features.declared import Feature, FeatureTable
from training_assets.features.inputs import is_text_id, require_same_ids
from training_assets.features.measures import (
    ACTIONS,
    Distinct,
    Favorite,
    Fold,
    Formula,
    Given,
    PurchasedCategories,
    Ratio,
    RecentItems,
    count,
    days,
    divide,
    last,
    mean,
    total,
)
from training_assets.features.plan import Plan, make_plan
from training_assets.features.vocabulary import (
    COUNTS,
    DT,
    ENGAGEMENTS,
    FIRST_DAY,
    LAST_DAY,
    PURCHASES,
    RATING,
    SETTINGS,
    SMOOTHED_CONVERSION,
    TOTAL,
    days_since,
)

_SESSIONS: Final = total("is_session_start")


def _frequency(actions: Column, first_day: Column, dt: Column) -> Column:
    weeks = days_since(first_day, dt).cast("double") / 7
    return actions.cast("double") / F.greatest(weeks, F.lit(1.0))


USER_FEATURES: Final = (
    Feature("total_interactions", "long", "Actions of all kinds.", TOTAL, empty=0, low=0),
    Feature(
        "total_purchases",
        "long",
        "Orders; one that is a return is none.",
        PURCHASES,
        empty=0,
        low=0,
    ),
    Feature("unique_items", "long", "Distinct items acted on.", Distinct(), empty=0, low=0),
    Feature("days_active", "long", "Distinct days with an action.", days(), empty=0, low=0),
    *(
        Feature(f"count_{kind}", "long", f"Actions of kind {kind}.", COUNTS[kind], empty=0, low=0)
        for kind in ACTIONS
    ),
    *(
        Feature(
            f"share_{kind}",
            "double",
            f"Actions of kind {kind} / all actions.",
            Ratio(COUNTS[kind], TOTAL),
            low=0,
            high=1,
        )
        for kind in ACTIONS
    ),
    Feature(
        "avg_session_duration",
        "double",
        "Mean seconds from first to last action of a session; one action is 0. Null without any.",
        Formula(
            "sum of seconds within sessions / sessions",
            (total("session_micros"), _SESSIONS),
            lambda micros, sessions: divide(micros, sessions) / 1e6,
        ),
        low=0,
        high=86_400,
    ),
    Feature(
        "favorite_category",
        "string",
        "Category as of dt with most actions; tie: newest last action, then name. Null where no "
        "category is known.",
        Favorite("name"),
    ),
    Feature(
        "avg_price_point",
        "double",
        "Mean unit price of the purchases whose price is known, each purchase once.",
        mean("unit_price", "order", where="is_purchase"),
        low=0,
    ),
    Feature(
        "recency_days",
        "long",
        "Whole days from the last action's day to dt.",
        Formula("dt - last day", (LAST_DAY, DT), days_since),
        low=1,
    ),
    Feature(
        "last_interaction",
        "timestamp",
        "Time of the newest action with a time of its own.",
        Formula("newest time", (last("at_micros"),), F.timestamp_micros),
    ),
    Feature(
        "frequency_score",
        "double",
        "Actions per week since the first one, at least one week.",
        Formula("actions / max(1, (dt - first day) / 7)", (TOTAL, FIRST_DAY, DT), _frequency),
        low=0,
    ),
    Feature(
        "monetary_value",
        "decimal(18,4)",
        "Sum of what purchases are worth, less what was returned.",
        total("worth", "order"),
        empty=0,
    ),
    Feature(
        "purchases_without_price",
        "long",
        "Purchases whose worth is unknown.",
        count("order", where="is_purchase and worth is null"),
        empty=0,
        low=0,
    ),
    Feature(
        "diversity_score",
        "double",
        "Distinct categories purchased / purchases.",
        Ratio(PurchasedCategories(), PURCHASES),
        low=0,
        high=1,
    ),
    Feature(
        "conversion_rate",
        "double",
        "Purchases / engagements; above 1 where purchases need no engagement.",
        Ratio(PURCHASES, ENGAGEMENTS),
        low=0,
    ),
    Feature(
        "conversion_smoothed",
        "double",
        "(Purchases + 1) / (engagements + 20).",
        SMOOTHED_CONVERSION,
        low=0,
    ),
    Feature("avg_rating", "double", "Mean of the ratings given.", RATING, low=1, high=5),
    Feature(
        "recent_items",
        "array<long>",
        "Last 10 distinct items, newest first; ties by item id.",
        RecentItems(10),
    ),
    Feature("sessions", "long", "Sessions.", _SESSIONS, empty=0, low=0),
    Feature(
        "days_since_first",
        "long",
        "Whole days from the first action's day to dt.",
        Formula("dt - first day", (FIRST_DAY, DT), days_since),
        low=1,
    ),
    Feature(
        "favorite_category_share",
        "double",
        "Actions in the favourite category / all actions. Null without a favourite.",
        Formula(
            "actions in the favourite category / actions", (Favorite("actions"), TOTAL), divide
        ),
        low=0,
        high=1,
    ),
)

USERS: Final = FeatureTable(
    name="user_features",
    grain="one customer with an action in the window",
    key=("customer_id",),
    features=USER_FEATURES,
    given=SETTINGS,
    leaves=(Fold, Given, *OF_PAIRS),
)


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
    """One row per day of ``days`` and customer with an action in ``dt - lookback_days <= day < dt``.

    ``actions``: dt, customer_id, item_id, action_type, occurred_at; optionally session_id, rating,
    price, quantity, amount. ``items``: dt, item_id; optionally category, price. ``windows`` in days
    adds columns for shorter windows, as ``total_purchases_30d``. ``table`` is what is built: by
    default all declared features, a shop's own among them.

    Raises ``SchemaError`` for missing columns, ``SettingsError`` for arguments that cannot work.
    """
    where = "build_user_features"
    plan = make_plan(
        table or USERS,
        lambda lengths: known_days(days, lengths, where),
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
    collected = collect_folds(
        with_sessions(rows), key, plan.calendar, plan.names, engagement=plan.engagement
    )
    if not plan.collects(OF_PAIRS):
        return collected
    categories = None
    if items is not None and plan.collects((Favorite, PurchasedCategories)):
        require_same_ids(rows, items, "item_id", where)
        catalogue = catalogue_as_of(items, plan.calendar, where=where)
        categories = attribute_ranges(catalogue, ["category"])
    pairs = collect_pairs(rows, key, plan.calendar, plan.names, categories)
    return collected.join(pairs, on=["dt", key], how="left")
