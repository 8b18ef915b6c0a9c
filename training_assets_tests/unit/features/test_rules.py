"""What holds for all features: no future, no order of rows, any types of input, lazily."""

import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.errors import SchemaError, SettingsError
from training_assets.features import (
    build_item_features,
    build_pair_features,
    build_user_features,
)
from training_assets_tests.support.feature_cases import (
    CLICK,
    LIKE,
    ORDER,
    VIEW,
    act,
    listed,
    order,
)
from training_assets_tests.support.feature_frames import DAY, Row, at, before, frame, rows_of

COLUMNS = {
    "user": (
        "dt customer_id total_interactions total_purchases unique_items days_active count_click "
        "count_add_to_cart count_order count_view count_like share_click share_add_to_cart "
        "share_order share_view share_like avg_session_duration favorite_category "
        "avg_price_point recency_days last_interaction frequency_score monetary_value "
        "purchases_without_price diversity_score conversion_rate conversion_smoothed avg_rating "
        "recent_items sessions days_since_first favorite_category_share"
    ),
    "item": (
        "dt item_id count_click count_add_to_cart count_order count_view count_like unique_users "
        "rating_mean rating_count rating_std popularity_score conversion_rate "
        "conversion_smoothed avg_rating catalog_avg_rating price price_percentile recency_score "
        "category_popularity trending_score trending_smoothed engagement_score purchase_rate "
        "click_through_rate"
    ),
    "pair": (
        "dt customer_id item_id user_item_affinity category_match price_match price_ratio "
        "time_of_day day_of_week session_position"
    ),
}
NOT_NUMBERS = {
    "dt": "date",
    "favorite_category": "string",
    "last_interaction": "timestamp",
    "recent_items": "array<bigint>",
    "category_match": "boolean",
    "price_match": "boolean",
    "monetary_value": "decimal(18,4)",
    "price": "decimal(18,4)",
}


WINDOW = range(1, 31)
# What does not depend on how an engine computes an expression; that both compute them alike is
# shown by ``test_against_reference.py`` and the literal cases.
pytestmark = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


def shop(seed: int, days: range, rows: int = 40) -> tuple[list[Row], list[Row]]:
    """Random actions and snapshots of so many days before DAY."""
    drawn = random.Random(seed)
    actions = [
        act(
            drawn.randint(1, 5),
            drawn.choice(days),
            drawn.choice([None, "10:00", "10:20", "23:59"]),
            customer=drawn.randint(1, 3),
            item=drawn.randint(1, 4),
            price=drawn.choice([None, Decimal("3.5")]),
            rating=drawn.choice([None, 4.0]),
        )
        for _ in range(rows)
    ]
    items = {
        (day, item): listed(
            day, item, category=drawn.choice("ab"), price=str(drawn.randint(1, 9)), brand="c"
        )
        for day, item in {(drawn.choice(days), drawn.randint(1, 4)) for _ in range(rows // 4)}
    }
    return actions, list(items.values())


def build(
    spark: SparkSession, actions: list[Row], items: list[Row], **knobs: Any
) -> dict[str, dict[tuple, Row]]:
    """All three tables of DAY, the pairs of customers and items 1 to 3."""
    acted, listed_items = frame(spark, "actions", actions), frame(spark, "items", items)
    pairs = [
        {"dt": DAY, "customer_id": customer, "item_id": item}
        for customer in (1, 2, 3)
        for item in (1, 2, 3)
    ]
    users = build_user_features(acted, listed_items, days=[DAY], **knobs)
    of_items = build_item_features(acted, listed_items, days=[DAY], **knobs)
    of_pairs = build_pair_features(frame(spark, "pairs", pairs), acted, listed_items, **knobs)
    return {
        "user": rows_of(users, "customer_id"),
        "item": rows_of(of_items, "item_id"),
        "pair": rows_of(of_pairs, "customer_id", "item_id"),
    }


@pytest.fixture(scope="module")
def plain(spark: SparkSession) -> dict[str, dict[tuple, Row]]:
    """The features of DAY from what lies in its window, and nothing else."""
    return build(spark, *shop(1, WINDOW), lookback_days=len(WINDOW))


def test_nothing_on_or_after_the_day_changes_a_feature_of_it(
    spark: SparkSession, plain: dict
) -> None:
    (actions, items), future = shop(1, WINDOW), shop(2, range(-5, 1))
    both = actions + future[0], items + future[1]
    assert build(spark, *both, lookback_days=len(WINDOW)) == plain


def test_no_action_before_the_window_changes_a_feature_of_the_day(
    spark: SparkSession, plain: dict
) -> None:
    (actions, items), (older, _) = shop(1, WINDOW), shop(3, range(31, 60))
    assert build(spark, older + actions, items, lookback_days=len(WINDOW)) == plain


def test_rows_may_come_in_any_order(spark: SparkSession, plain: dict) -> None:
    actions, items = shop(1, WINDOW)
    assert build(spark, actions[::-1], items[::-1], lookback_days=len(WINDOW)) == plain


def test_columns_stand_as_in_the_contract_and_have_its_types(spark: SparkSession) -> None:
    acted, items = frame(spark, "actions", []), frame(spark, "items", [])
    results = {
        "user": build_user_features(acted, items, days=[DAY]),
        "item": build_item_features(acted, items, days=[DAY]),
        "pair": build_pair_features(frame(spark, "pairs", []), acted, items),
    }
    for name, result in results.items():
        assert " ".join(result.columns) == COLUMNS[name]
        for column, kind in result.dtypes:
            assert kind in (NOT_NUMBERS.get(column, "bigint"), NOT_NUMBERS.get(column, "double"))
        assert result.collect() == []


def test_only_the_required_columns_are_needed(spark: SparkSession) -> None:
    keys = [{"dt": before(1), "customer_id": 1, "item_id": 1, "action_type": ORDER}]
    acted = spark.createDataFrame(pa.Table.from_pylist(keys))
    items = spark.createDataFrame(pa.Table.from_pylist([{"dt": before(1), "item_id": 1}]))
    (user,) = build_user_features(acted, days=[DAY]).collect()
    assert (user.total_purchases, user.purchases_without_price, user.sessions) == (1, 1, 0)
    (item,) = build_item_features(acted, items, days=[DAY]).collect()
    assert (item.count_order, item.price) == (1, None)
    pairs = spark.createDataFrame(
        pa.Table.from_pylist([{"dt": DAY, "customer_id": 1, "item_id": 1}])
    )
    (pair,) = build_pair_features(pairs, acted, items).collect()
    assert (pair.user_item_affinity, pair.time_of_day) == (0.0, None)


def test_days_may_be_text_and_ids_too_and_money_a_double(spark: SparkSession) -> None:
    rows = [
        {**order(1), "dt": "2024-02-29", "customer_id": "c", "item_id": "i", "price": 2.675},
        {**act(VIEW, 1), "dt": "2024-03-01", "customer_id": "c", "item_id": "i", "price": None},
        {**act(VIEW, 1), "dt": "2023-02-29", "customer_id": "c", "item_id": "i", "price": None},
    ]
    text = {name: pa.string() for name in ("dt", "customer_id", "item_id")}
    acted = frame(spark, "actions", rows, **text, price=pa.float64())
    (user,) = build_user_features(acted, days="2024-03-01").collect()
    assert (user.dt, user.customer_id, user.recent_items) == (DAY, "c", ["i"])
    assert (user.monetary_value, user.total_interactions) == (Decimal("2.6750"), 1)


def test_invalid_actions_are_left_out(spark: SparkSession) -> None:
    faults: list[Row] = [
        {**act(VIEW, 1), name: value}
        for name, value in [
            ("dt", None),
            ("customer_id", None),
            ("item_id", None),
            ("item_id", 0),
            ("action_type", None),
            ("action_type", 0),
            ("action_type", 7),
        ]
    ]
    acted = frame(spark, "actions", [*faults, act(VIEW, 1)])
    (user,) = build_user_features(acted, days=[DAY]).collect()
    assert (user.customer_id, user.total_interactions) == (1, 1)


def test_shorter_windows_are_what_a_shorter_lookback_gives(spark: SparkSession) -> None:
    actions, items = shop(5, range(1, 40))
    acted, listed_items = frame(spark, "actions", actions), frame(spark, "items", items)
    builds = [(build_user_features, "customer_id"), (build_item_features, "item_id")]
    for make, key in builds:
        wide = make(acted, listed_items, days=[DAY, before(3)], windows=(7, 30, 365))
        found = rows_of(wide, key)
        for window in (7, 30):
            short = make(acted, listed_items, days=[DAY, before(3)], lookback_days=window)
            names = {name: f"{name}_{window}d" for name in short.columns}
            kept = [name for name, wide_name in names.items() if wide_name in wide.columns]
            assert {"count_view", "conversion_rate"} <= set(kept)
            assert not {"price", "trending_score"} & set(kept)
            for place, row in rows_of(short, key).items():
                assert {n: found[place][names[n]] for n in kept} == {n: row[n] for n in kept}


def test_a_window_in_which_a_customer_did_nothing_has_zeros_and_nulls(spark: SparkSession) -> None:
    acted = frame(spark, "actions", [act(VIEW, 20), order(20, price="3")])
    (user,) = build_user_features(acted, days=[DAY], windows=[7]).collect()
    assert (user.total_interactions_7d, user.monetary_value_7d) == (0, Decimal("0.0000"))
    assert (user.share_view_7d, user.recency_days_7d, user.recent_items_7d) == (None, None, [])


def test_other_columns_of_pairs_pass_through_and_each_row_stays_a_row(spark: SparkSession) -> None:
    pair = {"dt": DAY, "customer_id": 1, "item_id": 1, "price": Decimal("7"), "is_bot": None}
    result = build_pair_features(
        frame(spark, "pairs", [pair, pair]),
        frame(spark, "actions", [order(1, price="10")]),
        frame(spark, "items", [listed(1, price="10")]),
    )
    assert result.columns[:5] == ["dt", "customer_id", "item_id", "price", "is_bot"]
    rows = result.collect()
    assert [(row.price, row.price_ratio) for row in rows] == [(Decimal("7.0000"), 0.0)] * 2


def test_nothing_is_computed_before_rows_are_asked_for(spark: SparkSession) -> None:
    def broken(name: str, row: Row) -> DataFrame:
        given = frame(spark, name, [row])
        return given.withColumn("item_id", F.raise_error(F.lit("computed")).cast("int"))

    acted, items = broken("actions", act(VIEW, 1)), broken("items", listed(1))
    pairs = broken("pairs", {"dt": DAY, "customer_id": 1, "item_id": 1})
    results = [
        build_user_features(acted, items, days=[DAY]),
        build_item_features(acted, items, days=[DAY]),
        build_pair_features(pairs, acted, items),
    ]
    for result in results:
        with pytest.raises(Exception, match="computed"):
            result.collect()


def test_arguments_that_cannot_work_are_named(spark: SparkSession) -> None:
    acted = frame(spark, "actions", [act(CLICK, 1), act(LIKE, 1, "10:00")])
    cases: list[tuple[dict[str, Any], str]] = [
        ({"days": [DAY], "lookback_days": 0}, "build_user_features: lookback_days is 0"),
        ({"days": [DAY], "engagement": "cart"}, "engagement is 'cart'; expected 'view' or 'click'"),
        ({"days": ["1 March"]}, "days holds '1 March'; expected dates"),
        ({"days": [DAY], "windows": [400]}, r"windows holds 400; expected 1 to lookback_days"),
        ({"days": [DAY], "windows": [0]}, "windows holds 0"),
    ]
    for knobs, message in cases:
        with pytest.raises(SettingsError, match=message):
            build_user_features(acted, **knobs)
    with pytest.raises(SchemaError, match=r"build_user_features: actions.item_id is missing"):
        build_user_features(acted.drop("item_id"), days=[DAY])
    items = frame(spark, "items", [{**listed(1), "item_id": "x"}], item_id=pa.string())
    with pytest.raises(SchemaError, match=r"item_id is bigint in one input and string in another"):
        build_item_features(acted, items, days=[DAY])


def test_no_day_gives_no_row(spark: SparkSession) -> None:
    acted = frame(spark, "actions", [act(VIEW, 1)])
    assert build_user_features(acted, days=[]).collect() == []
    assert build_item_features(acted, frame(spark, "items", [listed(1)]), days=[]).collect() == []


def test_times_are_read_in_utc(spark: SparkSession) -> None:
    acted = frame(spark, "actions", [act(VIEW, 1, "23:30")])
    (row,) = build_user_features(acted, days=[DAY]).toArrow().to_pylist()
    assert row["last_interaction"] == at(before(1), "23:30")
