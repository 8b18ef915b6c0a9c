"""Random small shops: the functions give what the brute-force reference gives."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from training_assets.features import (
    build_item_features,
    build_pair_features,
    build_user_features,
)
from training_assets_tests.support import feature_reference as reference
from training_assets_tests.support.feature_frames import (
    DAY,
    Row,
    assert_same,
    before,
    frame,
    rows_of,
)

# Few values each, so that ties, duplicates and edges of windows are common; the edges of windows
# cross a leap day, 2024-02-29 being the day before.
days = st.sampled_from([before(n) for n in (-1, 0, 1, 2, 3, 7, 8, 9, 35, 36, 366)])
ids = st.sampled_from([1, 2, 3])
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


def money(*values: str) -> st.SearchStrategy:
    return st.sampled_from([None, *map(Decimal, values)])


action = st.fixed_dictionaries(
    {
        "dt": days,
        "customer_id": ids,
        "item_id": ids,
        "action_type": st.sampled_from([1, 2, 3, 3, 4, 4, 5, 6]),
        "occurred_at": times,
        "session_id": st.sampled_from([None, None, "s", "t"]),
        "rating": st.sampled_from([None, 1.0, 2.5, 4.3]),
        "price": money("5", "7.3333", "0.0001", "-4"),
        "quantity": st.sampled_from([None, 1, 2, 3, 0, -2]),
        "amount": money("12.5", "0.3333"),
    }
)
snapshot = st.fixed_dictionaries(
    {
        "dt": days,
        "item_id": st.sampled_from([1, 2, 3, 4]),
        "category": words,
        "subcategory": words,
        "brand": words,
        "price": money("0", "5", "9.99", "10.0001", "29.9999"),
        "avg_rating": st.sampled_from([None, 4.5]),
        "created_at": times,
        "is_active": st.sampled_from([None, True, True, False]),
    }
)
pair = st.fixed_dictionaries(
    {
        "dt": st.sampled_from([DAY, before(1), before(7)]),
        "customer_id": st.sampled_from([1, 2, 9]),
        "item_id": st.sampled_from([1, 2, 4, 9]),
        "occurred_at": times,
        "session_id": st.sampled_from([None, None, "s"]),
    }
)
shown = st.one_of(
    st.none(), st.lists(st.fixed_dictionaries({"dt": days, "item_id": ids}), max_size=8)
)
asked = st.sampled_from([[DAY], [DAY, before(1)], [before(7), before(1), before(-1), DAY]])
lookbacks = st.sampled_from([1, 2, 7, 35, 365, None])
engagements = st.sampled_from(["view", "click"])


def actions(engine: str) -> st.SearchStrategy:
    """On Spark, where an example costs seconds, only large shops."""
    return st.lists(action, min_size=40 if engine == "spark" else 0, max_size=60)


def catalogue(engine: str) -> st.SearchStrategy:
    snapshots = st.lists(
        snapshot,
        min_size=8 if engine == "spark" else 0,
        max_size=15,
        unique_by=lambda row: (row["dt"], row["item_id"]),
    )
    return snapshots if engine == "spark" else st.one_of(st.none(), snapshots)


def examples(engine: str) -> Callable:
    return settings(max_examples=2 if engine == "spark" else 8)


def inputs(spark: SparkSession, **rows: list[Row] | None) -> list[DataFrame | None]:
    return [None if given is None else frame(spark, name, given) for name, given in rows.items()]


def assert_rows(result: DataFrame, key: str, expected: list[Row]) -> None:
    found = rows_of(result, key)
    assert set(found) == {(row["dt"], row[key]) for row in expected}
    for row in expected:
        assert list(row) == result.columns
        assert_same(found[row["dt"], row[key]], row, row)


def test_user_features_are_those_of_the_reference(spark: SparkSession, engine: str) -> None:
    @examples(engine)
    @given(actions(engine), catalogue(engine), asked, lookbacks, engagements)
    def holds(acted: list[Row], items: Any, on: Any, lookback: Any, engagement: str) -> None:
        knobs = {"days": on, "lookback_days": lookback, "engagement": engagement}
        result = build_user_features(*inputs(spark, actions=acted, items=items), **knobs)
        assert_rows(result, "customer_id", reference.user_features(acted, items, **knobs))

    holds()


def test_item_features_are_those_of_the_reference(spark: SparkSession, engine: str) -> None:
    @examples(engine)
    @given(actions(engine), catalogue(engine), shown, asked, lookbacks, engagements)
    def holds(
        acted: list[Row], items: Any, seen: Any, on: Any, lookback: Any, engagement: str
    ) -> None:
        knobs = {"days": on, "lookback_days": lookback, "engagement": engagement}
        frames = inputs(spark, actions=acted, items=items, impressions=seen)
        result = build_item_features(*frames, **knobs)
        assert_rows(result, "item_id", reference.item_features(acted, items, seen, **knobs))

    holds()


def test_pair_features_are_those_of_the_reference(spark: SparkSession, engine: str) -> None:
    wanted = st.lists(pair, min_size=1, max_size=12)
    listed = catalogue(engine).map(lambda rows: rows or [])

    @examples(engine)
    @given(wanted, actions(engine), listed, lookbacks, st.booleans())
    def holds(
        asked_for: list[Row], acted: list[Row], items: list[Row], lookback: Any, is_known: bool
    ) -> None:
        pairs = [{**row, "interaction_id": f"{n:02}"} for n, row in enumerate(asked_for)]
        expected = reference.pair_features(pairs, acted, items, lookback_days=lookback)
        on = {"days": {row["dt"] for row in pairs}} if is_known else {}
        frames = inputs(spark, pairs=pairs, actions=acted, items=items)
        found = rows_of(
            build_pair_features(*frames, lookback_days=lookback, **on), "interaction_id"
        )
        assert len(found) == len(pairs)
        for row, of_row in zip(pairs, expected, strict=True):
            assert_same(found[row["dt"], row["interaction_id"]], of_row, of_row)

    holds()
