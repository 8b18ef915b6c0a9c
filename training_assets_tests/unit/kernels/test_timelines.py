"""Histories out of columns: every kernel gives what plain loops give."""

from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from training_assets.kernels import timelines
from training_assets.kernels.timelines import (
    Actions,
    Histories,
    Timelines,
    in_order,
    newest_per_group,
    order_of,
)

MANY = settings(max_examples=60)
_DTYPES = (np.int64, np.int32, np.int8, np.int64, np.int32)


class Row(NamedTuple):
    customer: int
    item: int
    kind: int
    micros: int
    day: int


class Request(NamedTuple):
    customer: int
    day: int


def columns(rows: list[Row]) -> Actions:
    values = zip(*rows, strict=True) if rows else ((),) * 5
    return Actions(*(np.array(v, dtype) for v, dtype in zip(values, _DTYPES, strict=True)))


def rows_of(actions: Actions) -> list[Row]:
    return [Row(*row) for row in zip(*(c.tolist() for c in actions.columns()), strict=True)]


def newest_first(row: Row) -> tuple[int, ...]:
    return (row.customer, -row.micros, row.item, row.kind, -row.day)


def cut(rows: list[Row], limit: int, *, by_day: bool) -> list[Row]:
    """The newest ``limit`` of each customer, or of each customer's day, in order."""
    taken: dict[tuple[int, int], int] = {}
    kept = []
    for row in sorted(rows, key=newest_first):
        group = (row.customer, row.day if by_day else 0)
        taken[group] = taken.get(group, 0) + 1
        if taken[group] <= limit:
            kept.append(row)
    return kept


def histories(
    rows: list[Row], requests: list[Request], length: int, lookback: int | None
) -> list[list[tuple[int, int, int]]]:
    """(item, kind, days ago) of each request, newest first."""
    found = []
    for customer, day in requests:
        counting = [
            row
            for row in sorted(rows, key=newest_first)
            if row.customer == customer
            and row.day < day
            and (lookback is None or row.day >= day - lookback)
        ]
        found.append([(r.item, r.kind, min(day - r.day, 32767)) for r in counting[:length]])
    return found


def sliced(
    actions: Actions, requests: list[Request], length: int, lookback: int | None
) -> list[list[tuple[int, int, int]]]:
    found = Timelines.of(actions).histories(
        np.array([request.customer for request in requests], np.int64),
        np.array([request.day for request in requests], np.int32),
        history_length=length,
        lookback_days=lookback,
    )
    require_dtypes(found)
    assert len(found.offsets) == len(requests) + 1
    assert found.offsets[-1] == len(found.items) == len(found.kinds) == len(found.days_ago)
    values = list(
        zip(found.items.tolist(), found.kinds.tolist(), found.days_ago.tolist(), strict=True)
    )
    return [
        values[low:high]
        for low, high in zip(found.offsets[:-1].tolist(), found.offsets[1:].tolist(), strict=True)
    ]


def require_dtypes(found: Histories) -> None:
    dtypes = [found.items.dtype, found.kinds.dtype, found.days_ago.dtype]
    assert dtypes == [np.int32, np.int8, np.int16]


# Few values each, so that ties, duplicates and edges of the look-back are common.
customers = st.sampled_from([-(2**63), -7, 0, 1, 2, 3, 2**40, 2**63 - 1])
days = st.sampled_from([-719162, -1, 0, 1, 2, 3, 6, 7, 8, 30, 40_000, 2932896])
near_days = st.integers(100, 110)
near_times = st.integers(0, 6)
far_times = st.sampled_from([-(2**63), -(2**62), -1, 0, 1, 2, 2**60, 2**62, 2**63 - 1])
kinds = st.integers(1, 3)
items = st.sampled_from([1, 2, 3, 2**31 - 1])


def some_rows(of_day: st.SearchStrategy, of_time: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(st.builds(Row, customers, items, kinds, of_time, of_day), max_size=40)


# Times that follow the days, as they do where little is filed late.
punctual = st.lists(
    st.builds(
        lambda customer, item, kind, day, hour, late: Row(
            customer, item, kind, (day - late) * 24 + hour, day
        ),
        st.sampled_from([1, 2, 3]),
        items,
        kinds,
        near_days,
        st.integers(0, 23),
        st.sampled_from([0, 0, 0, 0, 1, 5]),
    ),
    max_size=60,
)
some_actions = st.one_of(
    punctual,
    some_rows(near_days, near_times),
    some_rows(days, far_times),
    some_rows(near_days, far_times),
)
some_requests = st.lists(
    st.builds(
        Request,
        st.one_of(customers, st.integers(-2, 5)),
        st.one_of(st.integers(98, 113), days),
    ),
    max_size=12,
)
lengths = st.sampled_from([1, 2, 3, 10, 1000])
lookbacks = st.sampled_from([None, 1, 2, 3, 7, 365, 10**7])


@MANY
@given(rows=some_actions)
def test_order_is_by_customer_then_newest_item_type_and_newest_day(rows: list[Row]) -> None:
    assert rows_of(in_order(columns(rows))) == sorted(rows, key=newest_first)
    # Equal rows stay in their order.
    places = sorted(range(len(rows)), key=lambda place: newest_first(rows[place]))
    assert order_of(columns(rows)).tolist() == places


@pytest.mark.parametrize(
    "micros", [[-(2**63), 2**63 - 1], [0, 2**63 - 1], [-(2**62), 2**62], [0, 2**62], [5, 5]]
)
def test_event_times_however_far_apart_are_in_order(micros: list[int]) -> None:
    rows = [Row(c, 4, 1, at, 1) for at in micros for c in (3, -(2**63), 2**63 - 1, 0)]
    assert rows_of(in_order(columns(rows))) == sorted(rows, key=newest_first)


def test_customers_at_both_ends_of_their_numbers_are_in_order() -> None:
    # Only the last one has rows that share a time.
    rows = [Row(0, 1, 1, 0, 1), *(Row(2**63 - 1, item, 1, 0, 1) for item in (9, 4))]
    assert rows_of(in_order(columns(rows))) == sorted(rows, key=newest_first)


def test_equal_time_item_and_type_put_the_newest_day_first() -> None:
    rows = [Row(1, 5, 2, 99, day) for day in (3, 9, 6, 9)]
    assert [row.day for row in rows_of(in_order(columns(rows)))] == [9, 9, 6, 3]


@MANY
@given(rows=some_actions, limit=lengths, by_day=st.booleans(), ordered=st.booleans())
def test_newest_of_each_group_are_kept(
    rows: list[Row], limit: int, by_day: bool, ordered: bool
) -> None:
    # Groups stand together; within them any order will do.
    grouped = sorted(
        rows, key=lambda row: (row.customer, row.day if by_day else 0, ordered and -row.micros)
    )
    kept = rows_of(newest_per_group(columns(grouped), limit, by_day=by_day))
    assert sorted(kept, key=newest_first) == cut(rows, limit, by_day=by_day)
    if len(kept) == len(rows):
        assert kept == grouped


@MANY
@given(rows=some_actions, limit=lengths)
def test_where_days_of_a_customer_interleave_no_needed_action_is_cut(
    rows: list[Row], limit: int
) -> None:
    # As in a compacted file: by event time, so that late days stand between others.
    actions = in_order(columns(rows))
    kept = rows_of(newest_per_group(actions, limit, by_day=True))
    assert cut(kept, limit, by_day=True) == cut(rows, limit, by_day=True)
    assert len(kept) <= len(rows)


@settings(max_examples=150)
@given(rows=some_actions, requests=some_requests, length=lengths, lookback=lookbacks)
@example(rows=[], requests=[], length=1, lookback=None)
@example(rows=[], requests=[Request(1, 5)], length=1, lookback=1)
@example(rows=[Row(1, 1, 1, 0, 5)], requests=[], length=1, lookback=1)
@example(rows=[Row(1, 1, 1, 0, 5)], requests=[Request(1, 5), Request(1, 6)], length=1, lookback=1)
def test_history_is_that_of_plain_loops(
    rows: list[Row], requests: list[Request], length: int, lookback: int | None
) -> None:
    expected = histories(rows, requests, length, lookback)
    for long in (0, 64):
        with mock.patch.object(timelines, "_LONG", long):
            assert sliced(columns(rows), requests, length, lookback) == expected


@given(rows=punctual, length=lengths, lookback=lookbacks)
def test_every_customer_on_every_day_has_the_history_of_plain_loops(
    rows: list[Row], length: int, lookback: int | None
) -> None:
    requests = [Request(customer, day) for customer in range(5) for day in range(99, 113)]
    expected = histories(rows, requests, length, lookback)
    assert sliced(columns(rows), requests, length, lookback) == expected


@MANY
@given(rows=some_actions, requests=some_requests, length=lengths, lookback=lookbacks)
def test_cutting_each_day_of_a_customer_first_changes_nothing(
    rows: list[Row], requests: list[Request], length: int, lookback: int | None
) -> None:
    grouped = columns(sorted(rows, key=lambda row: (row.customer, row.day)))
    tiles = newest_per_group(grouped, length, by_day=True)
    expected = histories(rows, requests, length, lookback)
    assert sliced(tiles, requests, length, lookback) == expected


@MANY
@given(
    rows=st.one_of(punctual, some_rows(near_days, near_times)),
    asked=st.lists(st.integers(-2, 5), max_size=8),
    length=lengths,
    lookback=st.sampled_from([None, 8, 10, 365]),
    start=st.integers(100, 110),
    size=st.integers(1, 4),
)
def test_cutting_a_block_that_counts_as_a_whole_changes_nothing(
    rows: list[Row], asked: list[int], length: int, lookback: int | None, start: int, size: int
) -> None:
    end = start + size
    # The block ends before the first request and begins after the start of every look-back.
    last = end + 3 if lookback is None else start + lookback
    requests = [Request(customer, day) for customer in asked for day in range(end, last + 1)]
    block = [row for row in rows if start <= row.day < end]
    others = [row for row in rows if not start <= row.day < end]
    compacted = newest_per_group(in_order(columns(block)), length, by_day=False)
    together = Actions.concat([compacted, columns(others)])
    expected = histories(rows, requests, length, lookback)
    assert sliced(together, requests, length, lookback) == expected


@pytest.mark.parametrize("lookback", [2**31 - 1, 2**31, 10**18])
def test_lookback_longer_than_the_calendar_is_unlimited(lookback: int) -> None:
    rows = [Row(1, 7, 1, 0, -719162), Row(1, 8, 1, 1, 0)]
    requests = [Request(1, -719161), Request(1, 2932896)]
    expected = histories(rows, requests, 5, None)
    assert sliced(columns(rows), requests, 5, lookback) == expected


def test_days_ago_stops_at_the_largest_smallint() -> None:
    rows = [Row(1, 7, 1, 2, 3), Row(1, 8, 1, 1, 2)]
    found = sliced(columns(rows), [Request(1, 2 + 32767), Request(1, 3 + 32768)], 5, None)
    assert found == [[(7, 1, 32766), (8, 1, 32767)], [(7, 1, 32767), (8, 1, 32767)]]


def test_history_of_a_busy_customer_between_idle_ones() -> None:
    rows = [Row(5, 1 + n % 9, 1 + n % 3, n // 3, 100 + n // 400) for n in range(2000)]
    requests = [Request(c, day) for c in (4, 5, 6) for day in (99, 100, 101, 103, 105, 200)]
    for length, lookback in ((1, None), (7, 1), (399, 2), (400, 2), (401, 2), (5000, 3)):
        expected = histories(rows, requests, length, lookback)
        assert sliced(columns(rows), requests, length, lookback) == expected
