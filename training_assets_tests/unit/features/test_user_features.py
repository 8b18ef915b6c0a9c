"""Each user feature by a literal case; what is expected is worked out beside it."""

from decimal import Decimal

import pytest
from pyspark.sql import SparkSession

from training_assets.features import build_user_features
from training_assets.features.declared_users import USER_FEATURES
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
from training_assets_tests.support.feature_frames import (
    Row,
    at,
    before,
    frame,
    is_same,
    rows_of,
)

MIX = [act(CLICK, 1), act(CLICK, 2), act(CART, 2), act(ORDER, 3), act(VIEW, 3), act(LIKE, 9)]

CASES = (
    Case("all kinds of actions are counted", "total_interactions", 6, MIX),
    Case(
        "an action of the day itself or of a later one is not counted",
        "total_interactions",
        1,
        [act(VIEW, 1), act(VIEW, 0), act(VIEW, -1)],
    ),
    Case(
        "the window begins lookback_days before the day, that day included",
        "total_interactions",
        1,
        [act(VIEW, 365), act(VIEW, 366)],
    ),
    Case(
        "actions of bots are left out",
        "total_interactions",
        1,
        [act(VIEW, 1), act(VIEW, 1, is_bot=True)],
    ),
    Case("orders are purchases", "total_purchases", 1, MIX),
    # Taken back: quantity -1, quantity 0, price -3. One remains.
    Case(
        "an order that is a return is no purchase",
        "total_purchases",
        1,
        [order(1), order(1, quantity=-1), order(2, quantity=0), order(2, price="-3")],
    ),
    Case(
        "an item acted on twice is one",
        "unique_items",
        2,
        [act(VIEW, 1), act(CLICK, 40), act(VIEW, 3, item=2)],
    ),
    Case("days are counted, not actions", "days_active", 4, MIX),
    Case("clicks are counted", "count_click", 2, MIX),
    Case("carts are counted", "count_add_to_cart", 1, MIX),
    Case(
        "a return is still an action of kind order",
        "count_order",
        2,
        [order(1), order(1, quantity=-1)],
    ),
    Case("views are counted", "count_view", 1, MIX),
    Case("likes are counted", "count_like", 1, MIX),
    Case("a kind without actions is 0", "count_like", 0, [act(VIEW, 1)]),
    Case("2 of 6 actions are clicks", "share_click", 2 / 6, MIX),
    Case("1 of 6 actions is a cart", "share_add_to_cart", 1 / 6, MIX),
    Case("1 of 6 actions is an order", "share_order", 1 / 6, MIX),
    Case("1 of 6 actions is a view", "share_view", 1 / 6, MIX),
    Case("no action is a like", "share_like", 0.0, [act(VIEW, 1)]),
    # 10:00 to 10:40 is 2400 s, 12:00 alone is 0 s, of another day 5 s: 2405 / 3.
    Case(
        "the length of a session is last minus first, of one action 0",
        "avg_session_duration",
        2405 / 3,
        [
            act(VIEW, 1, "10:00", session_id="a"),
            act(VIEW, 1, "10:40", session_id="a"),
            act(VIEW, 1, "12:00", session_id="b"),
            act(VIEW, 2, "10:00:00", session_id="a"),
            act(VIEW, 2, "10:00:05", session_id="a"),
        ],
    ),
    # 10:00 to 10:30 (30 minutes go on) is 1800 s; 11:00:00.000001 begins anew: 1800 / 2.
    Case(
        "without an id a pause of more than 30 minutes begins a session, one of 30 does not",
        "avg_session_duration",
        900.0,
        [act(VIEW, 1, "10:00"), act(VIEW, 1, "10:30"), act(VIEW, 1, "11:00:00.000001")],
    ),
    Case("without any time there is no session", "avg_session_duration", None, [act(VIEW, 1)]),
    # Shoes 2, hats 1; the cap has no category, the third shoe is of the day itself.
    Case(
        "the favourite has most actions",
        "favorite_category",
        "shoes",
        [act(VIEW, 1), act(VIEW, 9), act(VIEW, 1, item=2), act(VIEW, 1, item=3)],
        [listed(9, category="shoes"), listed(9, item=2, category="hats"), listed(9, item=3)],
    ),
    Case(
        "of two favourites that with the newest action",
        "favorite_category",
        "hats",
        [act(VIEW, 1, "10:00"), act(VIEW, 1, "10:01", item=2)],
        [listed(9, category="shoes"), listed(9, item=2, category="hats")],
    ),
    Case(
        "of two favourites with equal times the first by name",
        "favorite_category",
        "hats",
        [act(VIEW, 1), act(VIEW, 1, item=2)],
        [listed(9, category="shoes"), listed(9, item=2, category="hats")],
    ),
    Case(
        "the word unknown is no category",
        "favorite_category",
        None,
        [act(VIEW, 1)],
        [listed(9, category="unknown")],
    ),
    Case(
        "a renamed category is that of the newest snapshot before the day",
        "favorite_category",
        "boots",
        [act(VIEW, 8)],
        [listed(9, category="shoes"), listed(1, category="boots"), listed(0, category="x")],
    ),
    # Own price 10, the catalogue's on the day of the action 20 (21 from the day after): 30 / 2.
    # A purchase of three counts once; one without any price not at all.
    Case(
        "the price point is the mean of unit prices, the catalogue's where there is no own",
        "avg_price_point",
        15.0,
        [order(2, price="10", quantity=3), order(5), order(5, item=2)],
        [listed(9, price="19"), listed(5, price="20"), listed(4, price="21")],
    ),
    Case("without a known price there is no price point", "avg_price_point", None, [order(1)]),
    Case("recency counts whole days", "recency_days", 2, [act(VIEW, 2, "23:59"), act(VIEW, 9)]),
    Case(
        "the last interaction is the newest time, whatever the day it is filed under",
        "last_interaction",
        at(before(2), "23:00"),
        [
            {**act(VIEW, 1), "occurred_at": at(before(2), "23:00")},
            act(VIEW, 2, "10:00"),
            act(VIEW, 1),
        ],
    ),
    Case(
        "a time that is not its own is no last interaction",
        "last_interaction",
        None,
        [act(VIEW, 1, "00:00", has_time=False)],
    ),
    # 4 actions since 14 days: 4 / 2 weeks.
    Case(
        "frequency is actions per week",
        "frequency_score",
        2.0,
        [act(VIEW, 1), act(VIEW, 1), act(VIEW, 3), act(VIEW, 14)],
    ),
    Case("a week is the least", "frequency_score", 2.0, [act(VIEW, 1), act(VIEW, 2)]),
    # 25.50 as delivered + 2 x 10.25 + 1 x 4 of the catalogue - 2 x 3 returned = 44.
    Case(
        "the line total wins over price times quantity, and a return is taken off",
        "monetary_value",
        Decimal("44.0000"),
        [
            order(1, amount="25.50", price="99", quantity=9),
            order(1, price="10.25", quantity=2),
            order(1),
            order(1, price="3", quantity=-2),
            order(1, item=2),
        ],
        [listed(9, price="4")],
    ),
    Case("without purchases the value is 0", "monetary_value", Decimal("0.0000"), [act(VIEW, 1)]),
    Case(
        "a purchase whose worth is unknown is told",
        "purchases_without_price",
        1,
        [order(1), order(1, amount="3"), order(1, price="0"), order(1, quantity=-1)],
    ),
    # Shoes and hats in 4 purchases; the view of a bag is none, a cap has no category.
    Case(
        "diversity is categories per purchase",
        "diversity_score",
        2 / 4,
        [order(1), order(2), order(3, item=2), order(3, item=4), act(VIEW, 1, item=3)],
        [
            listed(9, category="shoes"),
            listed(9, item=2, category="hats"),
            listed(9, item=3, category="bags"),
        ],
    ),
    Case("without purchases there is no diversity", "diversity_score", None, [act(VIEW, 1)]),
    Case(
        "conversion is purchases per view, and may exceed 1",
        "conversion_rate",
        3 / 2,
        [order(1), order(2), order(3), act(VIEW, 1), act(VIEW, 2), act(CLICK, 2)],
    ),
    Case(
        "without views there is no conversion", "conversion_rate", None, [order(1), act(CLICK, 1)]
    ),
    Case(
        "smoothed conversion adds 1 and 20",
        "conversion_smoothed",
        (1 + 1) / (2 + 20),
        [order(1), act(VIEW, 1), act(VIEW, 2)],
    ),
    Case(
        "ratings of any kind of action count",
        "avg_rating",
        3.75,
        [act(ORDER, 1, rating=5.0), act(VIEW, 1, rating=2.5), act(VIEW, 1)],
    ),
    # Item 3 at 11:00, 1 and 2 at 10:00 (by id), 1 again at 09:00, 4 without time: midnight.
    Case(
        "recent items are distinct, newest first, ties by id",
        "recent_items",
        [3, 1, 2, 4],
        [
            act(VIEW, 1, "10:00", item=2),
            act(VIEW, 1, "10:00"),
            act(VIEW, 1, "09:00"),
            act(VIEW, 1, "11:00", item=3),
            act(VIEW, 1, item=4),
        ],
    ),
    Case(
        "recent items end at ten",
        "recent_items",
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        [act(VIEW, number, "10:00", item=number) for number in range(1, 13)],
    ),
    Case(
        "a session ends at midnight",
        "sessions",
        2,
        [
            act(VIEW, 2, "23:59", session_id="a"),
            act(VIEW, 1, "00:01", session_id="a"),
            act(VIEW, 1),
        ],
    ),
    Case("days since the first action", "days_since_first", 9, MIX),
    # Two of three actions are on shoes.
    Case(
        "the share of the favourite is of all actions",
        "favorite_category_share",
        2 / 3,
        [act(VIEW, 1), act(VIEW, 9), act(VIEW, 1, item=2)],
        [listed(9, category="shoes")],
    ),
    Case("without a favourite there is no share", "favorite_category_share", None, [act(VIEW, 1)]),
)
SHOP = Shop(CASES)


@pytest.fixture(scope="module")
def users(spark: SparkSession) -> dict[tuple, Row]:
    actions, items = frame(spark, "actions", SHOP.actions), frame(spark, "items", SHOP.items)
    return rows_of(build_user_features(actions, items, days=SHOP.days), "customer_id")


@pytest.mark.parametrize("name", SHOP.cases)
def test_user_feature(users: dict[tuple, Row], name: str) -> None:
    case = SHOP.cases[name]
    found = users[SHOP.key(name, "customer_id")][case.feature]
    assert is_same(SHOP.value(name, found), case.expected), (found, case.expected)


def test_every_user_feature_has_a_case() -> None:
    assert {case.feature for case in CASES} == {feature.name for feature in USER_FEATURES}
