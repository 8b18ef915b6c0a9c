"""Days in words and in ranges."""

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.lake import contiguous, day_range, days_in_words

A, B, C, E, G = (date(2024, 5, n) for n in (1, 2, 3, 5, 7))


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([], ""),
        ([A], "2024-05-01"),
        ([B, A], "2024-05-01..2024-05-02"),
        ([G, A, E, B, C], "2024-05-01..2024-05-03, 2024-05-05, 2024-05-07"),
        ([date(2024, 2, 29), date(2024, 3, 1)], "2024-02-29..2024-03-01"),
    ],
)
def test_days_are_told_in_ranges(days: list[date], words: str) -> None:
    assert days_in_words(days) == words


def test_a_range_holds_both_ends() -> None:
    assert day_range(A, C) == [A, B, C]
    assert day_range(A, A) == [A]
    assert day_range(B, A) == []


@given(days=st.sets(st.dates(date(2024, 1, 1), date(2024, 2, 15))))
def test_groups_of_days_hold_every_day_once_and_are_apart(days: set[date]) -> None:
    groups = contiguous(days)
    assert [day for group in groups for day in group] == sorted(days)
    assert all(group == day_range(group[0], group[-1]) for group in groups)
    gaps = [(group[0] - before[-1]).days for before, group in pairwise(groups)]
    assert all(gap > 1 for gap in gaps)
