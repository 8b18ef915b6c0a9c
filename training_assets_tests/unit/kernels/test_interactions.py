"""Bots by the rule, against a loop over each customer's times; and re-deliveries."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.kernels.interactions import BotLimits, mark_bots, without_re_deliveries

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
LIMITS = BotLimits(per_minute=3, per_half_hour=5, per_day=8, regular=4)


def rows_of(events: list[tuple[int, float, str]]) -> pa.Table:
    return pa.table(
        {
            "customer_id": pa.array([e[0] for e in events], pa.int64()),
            "occurred_at": pa.array(
                [NOON + timedelta(seconds=e[1]) for e in events], pa.timestamp("us", "UTC")
            ),
            "interaction_type": pa.array([e[2] for e in events], pa.string()),
        }
    )


def is_bot(seconds: list[float], limits: BotLimits) -> bool:
    """The rule as it is written."""
    times = sorted(seconds)
    minutes: dict[int, int] = defaultdict(int)
    for at in times:
        minutes[int(at // 60)] += 1
    half_hour = any(
        sum(start <= at < start + 1800 for at in times) > limits.per_half_hour for start in times
    )
    distinct = sorted({round(at * 1000) for at in times})
    gaps = {b - a for a, b in pairwise(distinct)}
    return (
        max(minutes.values(), default=0) > limits.per_minute
        or half_hour
        or len(times) > limits.per_day
        or (len(distinct) >= limits.regular and len(gaps) == 1)
    )


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from([0, 1, 30, 59, 60, 61, 90, 119, 120, 600, 1799, 1800, 1801, 7200]),
            st.sampled_from(["view", "click", "like", "add_to_cart", "purchase"]),
        ),
        max_size=40,
    )
)
def test_bots_are_those_of_a_loop(events: list[tuple[int, float, str]]) -> None:
    found = mark_bots(rows_of(events), LIMITS).tolist()
    by_customer: dict[int, list[float]] = defaultdict(list)
    for customer, at, kind in events:
        if kind != "purchase":
            by_customer[customer].append(at)
    bots = {c for c, seconds in by_customer.items() if is_bot(seconds, LIMITS)}
    assert found == [event[0] in bots for event in events]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0.9 * n + (n == 7) * 0.1 for n in range(60)], False),
        ([0.9 * n + (n == 7) * 0.1 for n in range(61)], True),
        ([7.3 * n + n % 2 for n in range(51)], False),
        ([7.0 * n for n in range(50)], True),
        ([7.0 * n for n in range(49)], False),
    ],
)
def test_limits_of_the_contract(seconds: list[float], expected: bool) -> None:
    rows = rows_of([(1, at, "view") for at in seconds])
    assert mark_bots(rows, BotLimits()).tolist() == [expected] * len(seconds)


def test_orders_never_make_a_bot() -> None:
    rows = rows_of([(1, 0.0, "purchase")] * 5_000)
    assert not mark_bots(rows, BotLimits()).any()


def keyed(*pairs: tuple[int, str | None]) -> pa.Table:
    return pa.table(
        {
            "customer_id": pa.array([p[0] for p in pairs], pa.int64()),
            "interaction_id": pa.array([p[1] for p in pairs], pa.string()),
            "row": np.arange(len(pairs)),
        }
    )


def test_of_each_id_the_first_row_stays_and_rows_without_one_do() -> None:
    rows = keyed((1, "a"), (1, None), (1, "a"), (2, "b"), (1, None), (2, "b"), (2, "a"))
    kept, again = without_re_deliveries(rows)
    assert kept["row"].to_pylist() == [0, 1, 3, 4, 6]
    assert again["row"].to_pylist() == [2, 5]


def test_nothing_is_taken_out_of_what_stands_once() -> None:
    for rows in (keyed((1, None), (1, None)), keyed((1, "a"), (1, "b"))):
        kept, again = without_re_deliveries(rows)
        found: Any = (kept.num_rows, again.num_rows)
        assert found == (2, 0)
