"""Random small shops: the functions give what the brute-force reference gives."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from training_assets.features import (
    build_item_features,
    build_pair_features,
    build_user_features,
)
from training_assets_tests.support import feature_reference as reference
from training_assets_tests.support.feature_frames import DAY, assert_same, before, frame, rows_of

# Few values each, so that ties, duplicates and edges of windows are common.
days = st.sampled_from([before(n) for n in (-1, 0, 1, 2, 3, 7, 8, 9, 35, 36, 366)])
ids = st.sampled_from([1, 2, 3])
money = st.sampled_from(
    [None, Decimal("0"), Decimal("5"), Decimal("9.99"), Decimal("10.0001"), Decimal("29.9999")]
)
words = st.sampled_from([None, "a", "b", "unknown"])
times = st.one_of(
    st.none(),
    st.builds(
        lambda hours, minutes, micros: (
            datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
            - timedelta(hours=hours, minutes=minutes, microseconds=micros)
        ),
        st.sampled_from([-5, 0, 1, 24, 48]),
        st.sampled_from([0, 20, 30, 50]),
        st.sampled_from([0, 1]),
    ),
)
actions = st.lists(
    st.fixed_dictionaries(
        {
            "dt": days,
            "customer_id": ids,
            "item_id": ids,
            "action_type": st.sampled_from([1, 2, 3, 3, 4, 4, 5]),
            "occurred_at": times,
            "session_id": st.sampled_from([None, None, "s", "t"]),
            "rating": st.sampled_from([None, 1.0, 2.5, 4.3]),
            "price": st.sampled_from([None, None, Decimal("5"), Decimal("7.3333"), Decimal("-4")]),
            "quantity": st.sampled_from([None, 1, 2, 3, 0, -2]),
            "amount": st.sampled_from([None, None, Decimal("12.5"), Decimal("0.3333")]),
        }
    ),
    max_size=25,
)
items = st.one_of(
    st.none(),
    st.lists(
        st.fixed_dictionaries(
            {
                "dt": days,
                "item_id": st.sampled_from([1, 2, 3, 4]),
                "category": words,
                "subcategory": words,
                "brand": words,
                "price": money,
                "avg_rating": st.sampled_from([None, 4.5]),
                "created_at": times,
                "is_active": st.sampled_from([None, True, True, False]),
            }
        ),
        max_size=12,
        unique_by=lambda row: (row["dt"], row["item_id"]),
    ),
)
shown = st.lists(st.fixed_dictionaries({"dt": days, "item_id": ids}), max_size=8)
asked = st.sampled_from([[DAY], [DAY, before(1)], [before(7), before(1), before(-1), DAY]])
lookbacks = st.sampled_from([1, 2, 7, 35, 365, None])
engagements = st.sampled_from(["view", "click"])


@given(actions, items, asked, lookbacks, engagements)
def test_user_features_are_those_of_the_reference(
    spark: SparkSession, acted, catalogue, on_days, lookback, engagement
) -> None:
    knobs = {"days": on_days, "lookback_days": lookback, "engagement": engagement}
    expected = reference.user_features(acted, catalogue, **knobs)
    snapshots = None if catalogue is None else frame(spark, "items", catalogue)
    result = build_user_features(frame(spark, "actions", acted), snapshots, **knobs)
    found = rows_of(result, "customer_id")
    assert set(found) == {(row["dt"], row["customer_id"]) for row in expected}
    for row in expected:
        assert list(row) == result.columns
        assert_same(found[row["dt"], row["customer_id"]], row, row)


@given(actions, items, st.one_of(st.none(), shown), asked, lookbacks, engagements)
def test_item_features_are_those_of_the_reference(
    spark: SparkSession, acted, catalogue, seen, on_days, lookback, engagement
) -> None:
    knobs = {"days": on_days, "lookback_days": lookback, "engagement": engagement}
    expected = reference.item_features(acted, catalogue, seen, **knobs)
    snapshots = None if catalogue is None else frame(spark, "items", catalogue)
    impressions = None if seen is None else frame(spark, "impressions", seen)
    result = build_item_features(frame(spark, "actions", acted), snapshots, impressions, **knobs)
    found = rows_of(result, "item_id")
    assert set(found) == {(row["dt"], row["item_id"]) for row in expected}
    for row in expected:
        assert list(row) == result.columns
        assert_same(found[row["dt"], row["item_id"]], row, row)


pairs = st.lists(
    st.fixed_dictionaries(
        {
            "dt": st.sampled_from([DAY, before(1), before(7)]),
            "customer_id": st.sampled_from([1, 2, 9]),
            "item_id": st.sampled_from([1, 2, 4, 9]),
            "occurred_at": times,
            "session_id": st.sampled_from([None, None, "s"]),
        }
    ),
    min_size=1,
    max_size=8,
)


@given(pairs, actions, items.filter(lambda rows: rows is not None), lookbacks, st.booleans())
def test_pair_features_are_those_of_the_reference(
    spark: SparkSession, wanted, acted, catalogue, lookback, are_days_known
) -> None:
    numbered = [{**pair, "interaction_id": f"{n:02}"} for n, pair in enumerate(wanted)]
    expected = reference.pair_features(numbered, acted, catalogue, lookback_days=lookback)
    on_days = {"days": {pair["dt"] for pair in numbered}} if are_days_known else {}
    result = build_pair_features(
        frame(spark, "pairs", numbered),
        frame(spark, "actions", acted),
        frame(spark, "items", catalogue),
        lookback_days=lookback,
        **on_days,
    )
    found = rows_of(result, "interaction_id")
    assert len(found) == len(numbered)
    for pair, row in zip(numbered, expected, strict=True):
        assert_same(found[pair["dt"], pair["interaction_id"]], row, row)
