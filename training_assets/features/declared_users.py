"""The columns of user_features: one row per customer with an action in the window."""

from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

from training_assets.features.feature import Feature, FeatureTable, number
from training_assets.features.measures import (
    ACTIONS,
    PAIR_LEAVES,
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
    number("total_interactions", "Actions of all kinds.", TOTAL),
    number("total_purchases", "Orders; one that is a return is none.", PURCHASES),
    number("unique_items", "Distinct items acted on.", Distinct()),
    number("days_active", "Distinct days with an action.", days()),
    *(number(f"count_{kind}", f"Actions of kind {kind}.", COUNTS[kind]) for kind in ACTIONS),
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
    number(
        "purchases_without_price",
        "Purchases whose worth is unknown.",
        count("order", where="is_purchase and worth is null"),
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
    number("sessions", "Sessions.", _SESSIONS),
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
    leaves=(Fold, Given, *PAIR_LEAVES),
)
