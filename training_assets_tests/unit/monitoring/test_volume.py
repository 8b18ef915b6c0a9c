"""When a day has too few rows: literal weeks, with and without a rhythm."""

from datetime import date, timedelta

import pytest

from training_assets.monitoring.volume import judge_volume

MONDAY = date(2026, 3, 30)


def before(*counts: int) -> dict[date, int]:
    """Rows of the days before, the last one yesterday."""
    return {MONDAY - timedelta(days=len(counts) - n): count for n, count in enumerate(counts)}


# Monday to Sunday, four times; the weekend has half.
WEEKS = before(*[1000, 1010, 990, 1005, 995, 500, 490] * 4)


def test_a_weekday_is_compared_with_such_weekdays() -> None:
    assert judge_volume(MONDAY, 1000, WEEKS).expected == 1000
    saturday = MONDAY + timedelta(days=5)
    days = WEEKS | {MONDAY + timedelta(days=n): 1000 for n in range(5)}
    found = judge_volume(saturday, 480, days)
    assert (found.expected, found.is_low) == (500, False)
    # The plain rule compares it with the working days before, and cries wolf.
    assert (found.plain_median, found.is_low_plain) == (1000, True)


def test_low_is_a_fifth_less_and_three_deviations_below() -> None:
    # Median of 28 days 995, median deviation 10; 995 - 3 * 1.4826 * 10 = 950.522. A fifth is 800.
    found = judge_volume(MONDAY, 800, WEEKS)
    assert (found.limit, found.is_low) == (800, False)
    assert judge_volume(MONDAY, 799, WEEKS).is_low


def test_a_source_that_swings_needs_more_than_a_fifth() -> None:
    # Median 1000, deviations 0 or 300 in equal parts: 1.4826 * 300 * 3 = 1334 below.
    swinging = before(*[700, 1300] * 14)
    assert not judge_volume(MONDAY, 200, swinging).is_low


def test_nothing_at_all_is_low_where_each_such_day_had_some() -> None:
    swinging = before(*[700, 1300] * 14)
    assert judge_volume(MONDAY, 0, swinging).is_low
    assert not judge_volume(MONDAY, 0, before(*[0, 1300] * 14)).is_low


@pytest.mark.parametrize(("known", "expected"), [(7, 20), (21, 10)])
def test_before_three_such_weekdays_are_known_the_last_week_counts(
    known: int, expected: int
) -> None:
    counts = [10, 20, 20, 20, 20, 20, 20] * 3
    assert judge_volume(MONDAY, 20, before(*counts[:known])).expected == expected


@pytest.mark.parametrize("known", [0, 1, 2])
def test_with_fewer_than_three_days_nothing_is_expected(known: int) -> None:
    found = judge_volume(MONDAY, 0, before(*[100] * known))
    assert (found.expected, found.is_low) == (None, False)
