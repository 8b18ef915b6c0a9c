"""Each pair feature by a literal case; what is expected is worked out beside it."""

import math

import pytest
from pyspark.sql import SparkSession

from training_assets.features import build_pair_features
from training_assets.features.declared_pairs import PAIR_FEATURES
from training_assets_tests.support.feature_cases import (
    CLICK,
    ORDER,
    VIEW,
    Case,
    Shop,
    act,
    listed,
    order,
)
from training_assets_tests.support.feature_frames import (
    DAY,
    Row,
    at,
    before,
    frame,
    is_same,
    rows_of,
)

# That both engines compute the same is shown by ``test_against_reference.py``.
ONLY_SAIL = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")

SHOES = listed(9, category="shoes", subcategory="boots", brand="acme", price="30")

CASES = (
    # One view (weight 1) of item 1 and one order (5) of item 2; that of the day does not count.
    # u = category shoes 1 + 5, subcategory boots 1, slippers 5, brand acme 1 + 5, quartile 0: 1,
    # quartile 3: 5. v = shoes, boots, acme, quartile 0. dot = 6 + 1 + 6 + 1 = 14.
    # |u| = sqrt(36 + 1 + 25 + 36 + 1 + 25) = sqrt(124), |v| = sqrt(4).
    Case(
        "affinity is the cosine of weighted attributes",
        "user_item_affinity",
        14 / (math.sqrt(124) * 2),
        [act(VIEW, 1), act(ORDER, 1, item=2), act(ORDER, 0, item=2)],
        [
            listed(9, category="shoes", subcategory="boots", brand="acme", price="30"),
            listed(9, item=2, category="shoes", subcategory="slippers", brand="acme", price="40"),
        ],
    ),
    # u = shoes 2 (the price gives quartile 0: 2). v the same: 8 / 8.
    Case(
        "the same vector has affinity 1",
        "user_item_affinity",
        1.0,
        [act(CLICK, 1)],
        [listed(9, category="shoes", price="30")],
    ),
    Case("a customer without actions has affinity 0", "user_item_affinity", 0.0, [], [SHOES]),
    Case(
        "an item that the catalogue does not know has affinity 0",
        "user_item_affinity",
        0.0,
        [act(VIEW, 1)],
    ),
    Case(
        "the word unknown is no attribute",
        "user_item_affinity",
        0.0,
        [act(VIEW, 1)],
        [listed(9, category="unknown", brand="unknown")],
    ),
    Case("the favourite category matches", "category_match", True, [act(VIEW, 1)], [SHOES]),
    Case(
        "another category does not",
        "category_match",
        False,
        [act(VIEW, 1, item=2)],
        [SHOES, listed(9, item=2, category="hats")],
    ),
    Case("without a favourite nothing matches", "category_match", False, [], [SHOES]),
    # |10.0001 - 30| < 20
    Case("19.9999 is a match", "price_match", True, [order(1, price="10.0001")], [SHOES]),
    Case("20 is none", "price_match", False, [order(1, price="10")], [SHOES]),
    Case("an unknown price is unknown", "price_match", None, [order(1, price="10")]),
    Case("a price point of 0 is unknown", "price_match", None, [order(1, price="0")], [SHOES]),
    # The mean of 10 and 20; the price of the catalogue before the day, not of the day.
    Case(
        "the ratio is that of the price before the day to the price point",
        "price_ratio",
        math.log(30 / 15),
        [order(1, price="10"), order(2, price="20", quantity=5)],
        [SHOES, listed(0, price="90")],
    ),
    Case("without purchases there is no ratio", "price_ratio", None, [act(VIEW, 1)], [SHOES]),
    Case(
        "a price of 0 has no ratio",
        "price_ratio",
        None,
        [order(1, price="1")],
        [listed(9, price="0")],
    ),
    Case("the hour is that of the time", "time_of_day", 23, pair={"occurred_at": at(DAY, "23:59")}),
    Case("without a time there is no hour", "time_of_day", None),
    # 2024-03-01 was a Friday.
    Case("weekdays begin with Monday", "day_of_week", 5, pair={"occurred_at": at(DAY, "00:00")}),
    Case(
        "Sunday is 7, by the time and not by dt",
        "day_of_week",
        7,
        pair={"occurred_at": at(before(5), "12:00")},
    ),
    Case(
        "the first of a session has place 1",
        "session_position",
        1,
        pair={"occurred_at": at(DAY, "10:00"), "session_id": "s"},
    ),
    Case("without a time there is no place", "session_position", None, pair={"session_id": "s"}),
)
SHOP = Shop(CASES)


@pytest.fixture(scope="module")
def pairs(spark: SparkSession) -> dict[tuple, Row]:
    result = build_pair_features(
        frame(spark, "pairs", SHOP.pairs),
        frame(spark, "actions", SHOP.actions),
        frame(spark, "items", SHOP.items),
    )
    return rows_of(result, "customer_id", "item_id")


@pytest.mark.parametrize("name", SHOP.cases)
def test_pair_feature(pairs: dict[tuple, Row], name: str) -> None:
    case = SHOP.cases[name]
    found = pairs[SHOP.key(name, "customer_id", "item_id")][case.feature]
    assert is_same(SHOP.value(name, found), case.expected), (found, case.expected)


def test_every_pair_feature_has_a_case() -> None:
    assert {case.feature for case in CASES} == {feature.name for feature in PAIR_FEATURES}


@ONLY_SAIL
def test_places_in_a_session_go_by_time_and_id(spark: SparkSession) -> None:
    def pair(name: str, clock: str, session: str | None, **more: object) -> Row:
        keys = {"dt": DAY, "customer_id": 1, "item_id": 1, "interaction_id": name}
        return {**keys, "occurred_at": at(DAY, clock), "session_id": session, **more}

    given = [
        pair("a2", "10:00", "a"),
        pair("a1", "10:00", "a"),
        pair("a3", "23:00", "a"),
        pair("b1", "10:30", "b"),
        pair("n1", "09:00", None),
        pair("n2", "09:30", None),
        pair("n3", "10:01", None),
        pair("c2", "10:30", "a", customer_id=2),
    ]
    shop = frame(spark, "actions", []), frame(spark, "items", [])
    found = rows_of(build_pair_features(frame(spark, "pairs", given), *shop), "interaction_id")
    places = {name: row["session_position"] for (_, name), row in found.items()}
    assert places == {"a1": 1, "a2": 2, "a3": 3, "b1": 1, "n1": 1, "n2": 2, "n3": 1, "c2": 1}
