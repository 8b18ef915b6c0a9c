"""The columns of item_features: items of the catalogue as of dt, or with an action before."""

from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

from training_assets.features.catalogue import CATALOGUE_COLUMNS
from training_assets.features.feature import Feature, FeatureTable, number
from training_assets.features.measures import (
    ACTIONS,
    ENGAGEMENT,
    KIND_WEIGHTS,
    Across,
    Distinct,
    Fold,
    Formula,
    Given,
    Ratio,
    count,
    divide,
    last,
    total,
    zero_if_null,
)
from training_assets.features.vocabulary import (
    COUNTS,
    DT,
    ENGAGEMENTS,
    FIRST_DAY,
    IMPRESSIONS_GIVEN,
    IS_VIEW_ENGAGEMENT,
    LOOKBACK_DAYS,
    PURCHASES,
    RATING,
    SETTINGS,
    SMOOTHED_CONVERSION,
    TOTAL,
    days_since,
)

_RECENT_DAYS: Final = 7
_BASE_DAYS: Final = 28
_RECENT: Final = count(ENGAGEMENT, window=_RECENT_DAYS)
_RECENT_AND_BASE: Final = count(ENGAGEMENT, window=_RECENT_DAYS + _BASE_DAYS)
_SHOWN: Final = total("times", "shown")
_CREATED_DAY: Final = Given("catalogue", "created_day")
_CATEGORY: Final = Given("catalogue", "category")
_BILLION: Final = 1_000_000_000


def _popularity(
    engagements: Column,
    created_day: Column,
    first_day: Column,
    first_of_all: Column,
    dt: Column,
    lookback_days: Column,
) -> Column:
    born = F.coalesce(created_day, first_day)
    begin = F.greatest(born, dt - lookback_days, first_of_all)
    return divide(zero_if_null(engagements), F.greatest(dt - begin, F.lit(1)))


def _base(recent: Column, recent_and_base: Column) -> Column:
    return (zero_if_null(recent_and_base) - zero_if_null(recent)).cast("double")


def _base_days(created_day: Column, first_day: Column, dt: Column) -> Column:
    """Days of the base in which the item was there; null where its age is unknown."""
    age = dt - F.coalesce(created_day, first_day)
    return F.when(age.isNotNull(), F.least(age - _RECENT_DAYS, F.lit(_BASE_DAYS)))


def _trending(
    recent: Column, recent_and_base: Column, created_day: Column, first_day: Column, dt: Column
) -> Column:
    base = _base(recent, recent_and_base)
    length = _base_days(created_day, first_day, dt)
    now = zero_if_null(recent).cast("double") / _RECENT_DAYS
    return F.when((length > 0) & (base > 0), divide(now, divide(base, length)))


def _trending_smoothed(
    recent: Column, recent_and_base: Column, created_day: Column, first_day: Column, dt: Column
) -> Column:
    base = _base(recent, recent_and_base)
    length = F.greatest(_base_days(created_day, first_day, dt), F.lit(1)).cast("double")
    return (zero_if_null(recent) + 1) / (base * _RECENT_DAYS / length + 1)


def _category_share(category: Column, inside: Column, everywhere: Column) -> Column:
    return F.when(category.isNotNull(), divide(zero_if_null(inside), everywhere))


def _weighted(*counts: Column) -> Column:
    """Counts in the order of ``KIND_WEIGHTS``."""
    weighted, actions = F.lit(0), F.lit(0)
    for weight, counted in zip(KIND_WEIGHTS.values(), counts, strict=True):
        weighted = weighted + zero_if_null(counted) * weight
        actions = actions + zero_if_null(counted)
    return divide(weighted, actions * max(KIND_WEIGHTS.values()))


def _deviation(ratings: Column, units: Column, squares: Column) -> Column:
    """Sample deviation from exact integers, so that equal ratings deviate by exactly 0."""
    n = ratings.cast("decimal(18,0)")
    sum_of_units = units.cast("decimal(18,0)")
    spread = (n * squares).cast("decimal(38,0)") - (sum_of_units * sum_of_units)
    pairs = ratings.cast("double") * (ratings - 1).cast("double")
    return F.when(ratings >= 2, F.sqrt(divide(spread, pairs)) / _BILLION)


def _click_through(
    clicks: Column, shown: Column, views: Column, impressions_given: Column, by_views: Column
) -> Column:
    under = F.when(impressions_given, shown).when(by_views, views)
    return divide(zero_if_null(clicks), under)


_TREND_INPUTS: Final = (_RECENT, _RECENT_AND_BASE, _CREATED_DAY, FIRST_DAY, DT)
_RATED: Final = count(where="rating is not null")
_SQUARES: Final = "cast(rating_units as decimal(18,0)) * cast(rating_units as decimal(18,0))"

ITEM_FEATURES: Final = (
    *(number(f"count_{kind}", f"Actions of kind {kind}.", COUNTS[kind]) for kind in ACTIONS),
    number("unique_users", "Distinct customers who acted on it.", Distinct()),
    Feature("rating_mean", "double", "Mean of its ratings.", RATING, low=1, high=5),
    number("rating_count", "Its ratings.", _RATED),
    Feature(
        "rating_std",
        "double",
        "Sample standard deviation of its ratings. Null below two.",
        Formula(
            "sample deviation of ratings",
            (_RATED, total("rating_units"), total(_SQUARES)),
            _deviation,
        ),
        low=0,
    ),
    Feature(
        "popularity_score",
        "double",
        "Engagements per day since it was created (else first acted on), the window began or the "
        "first action of any item, whichever is latest; at least one day.",
        Formula(
            "engagements / max(1, dt - latest of created or first day, window start, first of all)",
            (
                ENGAGEMENTS,
                _CREATED_DAY,
                FIRST_DAY,
                Across("min", FIRST_DAY),
                DT,
                LOOKBACK_DAYS,
            ),
            _popularity,
        ),
        empty=0,
        low=0,
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
    Feature("avg_rating", "double", "Mean of the ratings given to it.", RATING, low=1, high=5),
    Feature(
        "catalog_avg_rating",
        "double",
        "Mean rating as the catalogue tells it.",
        Given("catalogue", "catalog_avg_rating"),
        low=0,
        high=5,
    ),
    Feature("price", "decimal(18,4)", "Price of the catalogue.", Given("catalogue", "price")),
    Feature(
        "price_percentile",
        "double",
        "percent_rank of the price among active items of the category; ties have the lowest rank, "
        "a single item 0. Null without price or category, or not active.",
        Given("catalogue", "price_percentile"),
        low=0,
        high=1,
    ),
    Feature(
        "recency_score",
        "double",
        "1 / (days since the last purchase + 1); never purchased is 0.",
        Formula(
            "1 / (dt - last day of a purchase + 1)",
            (last("day", "order", where="is_purchase"), DT),
            lambda day, dt: divide(F.lit(1), days_since(day, dt) + 1),
        ),
        empty=0,
        low=0,
        high=1,
    ),
    Feature(
        "category_popularity",
        "double",
        "Engagements of its category / of all items; none, or no category, is 0.",
        Formula(
            "engagements of the category / of all",
            (_CATEGORY, Across("sum", ENGAGEMENTS, by=_CATEGORY), Across("sum", ENGAGEMENTS)),
            _category_share,
        ),
        empty=0,
        low=0,
        high=1,
    ),
    Feature(
        "trending_score",
        "double",
        "Engagements a day of the last 7 days / of the 28 days before, as far as it was there. "
        "Null up to an age of 7 days, or without any before.",
        Formula("(e7 / 7) / (b28 / days of the base)", _TREND_INPUTS, _trending),
        low=0,
    ),
    Feature(
        "trending_smoothed",
        "double",
        "(e7 + 1) / (engagements of 7 days at the rate of the 28 days before + 1); never null.",
        Formula("(e7 + 1) / (7 b28 / days of the base + 1)", _TREND_INPUTS, _trending_smoothed),
        low=0,
    ),
    Feature(
        "engagement_score",
        "double",
        "Mean weight of its actions / 5: view 1, click 2, like 3, add_to_cart 4, order 5.",
        Formula(
            "sum of weight x count / (5 x actions)",
            tuple(COUNTS[kind] for kind in KIND_WEIGHTS),
            _weighted,
        ),
        low=0,
        high=1,
    ),
    Feature(
        "purchase_rate",
        "double",
        "Purchases / actions.",
        Ratio(PURCHASES, TOTAL),
        low=0,
        high=1,
    ),
    Feature(
        "click_through_rate",
        "double",
        "Clicks / times shown where impressions are given; else clicks / views where engagement "
        "is views; else null. Above 1 where clicks come from elsewhere.",
        Formula(
            "clicks / times shown (or views)",
            (COUNTS["click"], _SHOWN, COUNTS["view"], IMPRESSIONS_GIVEN, IS_VIEW_ENGAGEMENT),
            _click_through,
        ),
        low=0,
    ),
)

ITEMS: Final = FeatureTable(
    name="item_features",
    grain="one item of the catalogue as of dt, or with an action in the window",
    key=("item_id",),
    features=ITEM_FEATURES,
    given=(*SETTINGS, *(Given("catalogue", name) for name in CATALOGUE_COLUMNS)),
    leaves=(Fold, Given, Distinct),
)
