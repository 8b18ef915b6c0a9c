"""Each item feature by a literal case; what is expected is worked out beside it."""

import math
from decimal import Decimal

import pytest
from pyspark.sql import SparkSession

from training_assets.features import build_item_features
from training_assets.features.declared_items import ITEM_FEATURES
from training_assets_tests.support.feature_cases import (
    CART,
    CLICK,
    LIKE,
    ORDER,
    VIEW,
    Case,
    Shop,
    act,
    listed,
    order,
)
from training_assets_tests.support.feature_frames import Row, at, before, frame, is_same, rows_of

# That both engines compute the same is shown by ``test_against_reference.py``.
ONLY_SAIL = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")

MIX = [
    act(CLICK, 1),
    act(CLICK, 2, customer=2),
    act(CART, 2),
    act(ORDER, 3),
    act(VIEW, 3),
    act(VIEW, 3, item=2),
    act(LIKE, 9),
]
# 3 engagements in the last 7 days, 8 in the 28 days before them, one before that.
TREND = [
    *(act(VIEW, days) for days in (1, 1, 7)),
    *(act(VIEW, days) for days in (8, 8, 8, 8, 9, 10, 35, 35)),
    act(VIEW, 36),
]


def shoes(item: int, price: str | None, **more: object) -> Row:
    return listed(9, item=item, category="shoes", **({"price": price} if price else {}), **more)


CASES = (
    Case("clicks are counted, of all customers", "count_click", 2, MIX),
    Case("carts are counted", "count_add_to_cart", 1, MIX),
    Case("orders are counted, returns too", "count_order", 2, [order(1), order(1, quantity=-1)]),
    Case("views are counted, of this item only", "count_view", 1, MIX),
    Case("likes are counted", "count_like", 1, MIX),
    Case("an item of the catalogue without actions has 0", "count_view", 0, [], [listed(9)]),
    Case("a customer who acted twice is one", "unique_users", 2, MIX),
    Case(
        "the mean rating is that of its ratings",
        "rating_mean",
        3.75,
        [act(ORDER, 1, rating=5.0), act(VIEW, 1, rating=2.5), act(VIEW, 1)],
    ),
    Case(
        "ratings are counted",
        "rating_count",
        2,
        [act(ORDER, 1, rating=5.0), act(VIEW, 1, rating=2.5), act(VIEW, 1)],
    ),
    # 1, 2, 4: mean 7/3, squares 16/9 + 1/9 + 25/9 = 14/3, over n - 1 = 2.
    Case(
        "the deviation is that of a sample",
        "rating_std",
        math.sqrt(7 / 3),
        [act(VIEW, 1, rating=float(rating)) for rating in (1, 2, 4)],
    ),
    Case("one rating does not deviate", "rating_std", None, [act(VIEW, 1, rating=4.0)]),
    Case(
        "equal ratings deviate by exactly 0",
        "rating_std",
        0.0,
        [act(VIEW, days, rating=4.3) for days in (1, 2, 30)],
    ),
    Case(
        "popularity is per day since the item was created",
        "popularity_score",
        3 / 20,
        [act(VIEW, 1), act(VIEW, 2), act(VIEW, 30), act(CLICK, 1)],
        [listed(9, created_at=at(before(20), "18:00"))],
    ),
    Case(
        "without a day of creation the first action counts",
        "popularity_score",
        2 / 30,
        [act(VIEW, 1), act(VIEW, 30), act(VIEW, 90, item=2)],
    ),
    Case(
        "an old item is popular per day of the window",
        "popularity_score",
        2 / 365,
        [act(VIEW, 1), act(VIEW, 2), act(VIEW, 365, item=2)],
        [listed(9, created_at=at(before(900)))],
    ),
    Case(
        "days before the first action of the shop do not count",
        "popularity_score",
        2 / 10,
        [act(VIEW, 1), act(VIEW, 2), act(CLICK, 10, item=2)],
        [listed(9, created_at=at(before(100)))],
        is_apart=True,
    ),
    Case(
        "one day is the least",
        "popularity_score",
        1.0,
        [act(VIEW, 1)],
        [listed(9, created_at=at(before(-1)))],
    ),
    Case(
        "conversion is purchases per view",
        "conversion_rate",
        3 / 2,
        [order(1), order(2), order(3), act(VIEW, 1), act(VIEW, 2), act(CLICK, 2)],
    ),
    Case("without views there is no conversion", "conversion_rate", None, [order(1)]),
    Case(
        "smoothed conversion adds 1 and 20",
        "conversion_smoothed",
        (1 + 1) / (2 + 20),
        [order(1), act(VIEW, 1), act(VIEW, 2)],
    ),
    Case("without ratings there is no mean", "avg_rating", None, [act(VIEW, 1)]),
    Case("the mean of ratings from actions", "avg_rating", 4.0, [act(VIEW, 1, rating=4.0)]),
    Case(
        "the rating of the catalogue is that before the day",
        "catalog_avg_rating",
        4.5,
        [],
        [listed(9, avg_rating=3.5), listed(1, avg_rating=4.5), listed(0, avg_rating=1.0)],
    ),
    Case(
        "the price is that of the newest snapshot before the day",
        "price",
        Decimal("11.0000"),
        [act(VIEW, 1)],
        [listed(9, price="10"), listed(1, price="11"), listed(0, price="12")],
    ),
    # 5, 7, 7, 9: one of three others is lower. The inactive and the priceless do not count.
    Case(
        "equal prices have the lowest rank",
        "price_percentile",
        1 / 3,
        [],
        [
            shoes(1, "7"),
            shoes(2, "7"),
            shoes(3, "5"),
            shoes(4, "9"),
            shoes(5, "1", is_active=False),
            shoes(6, None),
            listed(9, item=7, category="hats", price="1"),
        ],
    ),
    Case("a single item has percentile 0", "price_percentile", 0.0, [], [shoes(1, "7")]),
    Case(
        "an inactive item has no percentile",
        "price_percentile",
        None,
        [],
        [shoes(1, "7", is_active=False), shoes(2, "7")],
    ),
    Case(
        "an item of an unknown category has no percentile",
        "price_percentile",
        None,
        [],
        [listed(9, category="unknown", price="7")],
    ),
    Case(
        "recency counts from the last purchase, a return is none",
        "recency_score",
        1 / (3 + 1),
        [order(3), order(8), order(1, quantity=-1), act(VIEW, 1)],
    ),
    Case("never purchased is 0", "recency_score", 0.0, [act(VIEW, 1)]),
    # Shoes have 2 of 4 views; the item without a snapshot counts in all.
    Case(
        "the popularity of a category is its part of all engagements",
        "category_popularity",
        2 / 4,
        [
            act(VIEW, 1),
            act(VIEW, 1, item=2),
            act(VIEW, 1, item=3),
            act(VIEW, 1, item=4),
            act(CLICK, 1),
        ],
        [shoes(1, "7"), shoes(2, "7"), listed(9, item=3, category="hats")],
        is_apart=True,
    ),
    Case("without a category it is 0", "category_popularity", 0.0, [act(VIEW, 1)]),
    Case(
        "without any engagement it is 0",
        "category_popularity",
        0.0,
        [act(CLICK, 1)],
        [shoes(1, "7")],
        is_apart=True,
    ),
    Case(
        "trending compares the last 7 days with the 28 before, per day",
        "trending_score",
        (3 / 7) / (8 / 28),
        TREND,
    ),
    # 17 days old: the base has 10 days.
    Case(
        "the base of a young item is as long as it was there",
        "trending_score",
        (1 / 7) / (2 / 10),
        [act(VIEW, 1), act(VIEW, 8), act(VIEW, 17)],
    ),
    Case(
        "an item of 7 days has no trend",
        "trending_score",
        None,
        [act(VIEW, 1), act(VIEW, 9)],
        [listed(7, created_at=at(before(7)))],
    ),
    Case(
        "without a base there is no trend", "trending_score", None, [act(VIEW, 1), act(CLICK, 60)]
    ),
    Case(
        "the smoothed trend adds 1 to both",
        "trending_smoothed",
        (3 + 1) / (7 * 8 / 28 + 1),
        TREND,
    ),
    Case("the smoothed trend of nothing is 1", "trending_smoothed", 1.0, [], [listed(9)]),
    # view 1 + 2 clicks 4 + like 3 + cart 4 + order 5 = 17, of 5 x 6.
    Case("engagement weighs the kinds", "engagement_score", 17 / 30, MIX),
    Case("without actions there is no engagement", "engagement_score", None, [], [listed(9)]),
    Case("the purchase rate is of all actions", "purchase_rate", 1 / 6, MIX),
    # Shown three times in the window, see the fixture: for every item of the cases.
    Case(
        "clicks per time shown",
        "click_through_rate",
        2 / 3,
        [act(CLICK, 1), act(CLICK, 2), act(VIEW, 1)],
    ),
    Case("shown and never clicked is 0", "click_through_rate", 0.0, [], [listed(9)]),
)
SHOP = Shop(CASES)


def impressions() -> list[Row]:
    """Item 1 of each case is shown on each day around the window of 365 days."""
    shown = []
    for name in SHOP.cases:
        day, item = SHOP.key(name, "item_id")
        away = day - before(0)
        shown += [{"dt": before(days) + away, "item_id": item} for days in (-1, 0, 1, 1, 365, 366)]
    return shown


@pytest.fixture(scope="module")
def items(spark: SparkSession) -> dict[tuple, Row]:
    actions, snapshots = frame(spark, "actions", SHOP.actions), frame(spark, "items", SHOP.items)
    shown = frame(spark, "impressions", impressions())
    return rows_of(build_item_features(actions, snapshots, shown, days=SHOP.days), "item_id")


@pytest.mark.parametrize("name", SHOP.cases)
def test_item_feature(items: dict[tuple, Row], name: str) -> None:
    case = SHOP.cases[name]
    found = items[SHOP.key(name, "item_id")][case.feature]
    assert is_same(SHOP.value(name, found), case.expected), (found, case.expected)


def test_every_item_feature_has_a_case() -> None:
    assert {case.feature for case in CASES} == {feature.name for feature in ITEM_FEATURES}


@ONLY_SAIL
@pytest.mark.parametrize(("engagement", "expected"), [("view", 2.0), ("click", None)])
def test_without_impressions_clicks_are_put_over_views_where_those_are_recorded(
    spark: SparkSession, engagement: str, expected: float | None
) -> None:
    actions = frame(spark, "actions", [act(CLICK, 1), act(CLICK, 2), act(VIEW, 1)])
    result = build_item_features(actions, days=[before(0)], engagement=engagement)
    (row,) = rows_of(result, "item_id").values()
    assert row["click_through_rate"] == expected
