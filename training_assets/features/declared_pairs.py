"""The columns of pair_features: one row per pair of a customer and an item that is given."""

from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

from training_assets.features.catalogue import CATALOGUE_COLUMNS
from training_assets.features.declared_users import USER_FEATURES
from training_assets.features.feature import Feature, FeatureTable
from training_assets.features.measures import Formula, Given, count, total
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
CUSTOMER_FEATURES: Final = {feature.name: feature for feature in (*USER_FEATURES, *_PRICE_SUMS)}


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
        *(Given("customer", name) for name in CUSTOMER_FEATURES),
        *(_AFFINITY, _AT_MICROS, _POSITION),
    ),
    leaves=(Given,),
)
