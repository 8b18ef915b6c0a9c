"""Random small worlds: the transforms give what the brute-force reference gives."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from training_assets_tests.support import reference
from training_assets_tests.support.frames import DAY, before, training_rows

# Few values each, so that ties, duplicates and edges of the look-back are common.
days = st.sampled_from([before(n) for n in (-2, -1, 0, 1, 2, 3, 6, 7, 8, 30)])
customers = st.sampled_from([1, 2, 3])
items = st.sampled_from([1, 2, 3, 2**31 - 1])
faulty_items = st.sampled_from([None, 0, -1, 2**31, 2**40])
times = st.one_of(
    st.none(),
    st.builds(
        lambda hours, micros: (
            datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
            - timedelta(hours=hours, microseconds=micros)
        ),
        st.sampled_from([-30, 0, 1, 24, 25, 48, 200]),
        st.sampled_from([0, 1]),
    ),
)


def rarely(common: st.SearchStrategy, rare: st.SearchStrategy) -> st.SearchStrategy:
    return st.integers(0, 9).flatmap(lambda n: rare if n == 0 else common)


def actions(day: str, item: str, at: str, **extra: Any) -> st.SearchStrategy:
    row = {
        day: rarely(days, st.none()),
        "customer_id": rarely(customers, st.none()),
        item: rarely(items, faulty_items),
        at: times,
    }
    row |= {name: st.just(value) for name, value in extra.items()}
    return st.lists(st.fixed_dictionaries(row), max_size=25)


shown = st.fixed_dictionaries(
    {
        "item_id": rarely(items, faulty_items),
        "is_order": rarely(st.booleans(), st.none()),
    }
)
rankings = st.lists(
    st.fixed_dictionaries(
        {
            "dt": rarely(st.sampled_from([DAY, before(1), before(2)]), st.none()),
            "ranking_id": st.sampled_from(["a", "b"]),
            "customer_id": rarely(st.sampled_from([1, 2, 3, 4]), st.none()),
            "impressions": rarely(st.lists(rarely(shown, st.none()), max_size=4), st.none()),
        }
    ),
    max_size=8,
)
worlds = st.tuples(
    rankings,
    actions("dt", "item_id", "click_time"),
    actions("dt", "config_id", "occurred_at", simple_id=1),
    actions("order_date", "config_id", "occurred_at", simple_id=1),
    st.sampled_from([1, 2, 5, 50]),
    st.sampled_from([1, 2, 7, 365, None]),
)


@given(world=worlds)
def test_training_input_is_that_of_the_reference(spark: SparkSession, world: tuple) -> None:
    shown_rankings, clicks, carts, orders, length, lookback = world
    knobs = {"history_length": length, "lookback_days": lookback}
    expected = reference.training_input(shown_rankings, clicks, carts, orders, **knobs)
    assert training_rows(spark, shown_rankings, *clicks, *carts, *orders, **knobs) == expected
