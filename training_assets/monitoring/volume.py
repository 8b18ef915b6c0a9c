"""Whether a source has as many rows as is usual for it, on such a day of the week."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

WEEKS: Final = 4
MIN_WEEKS: Final = 3
PLAIN_DAYS: Final = 7
LONG_DAYS: Final = 28
_MIN_DAYS: Final = 3
_MAX_DROP: Final = 0.2
_MAX_DEVIATIONS: Final = 3
# Of a normal distribution, one standard deviation is so many median deviations.
_PER_MEDIAN_DEVIATION: Final = 1.4826


@dataclass(frozen=True)
class Volume:
    """Rows of a day, what was expected, and below which number both rules call it too few.

    ``expected`` is None where too few days are known. ``plain_median`` is that of the 7 days
    before, and ``is_low_plain`` what the plain rule of 80 % of it would say.
    """

    rows: int
    expected: float | None
    limit: float | None
    plain_median: float | None
    is_low: bool
    is_low_plain: bool


def judge_volume(day: date, rows: int, before: Mapping[date, int]) -> Volume:
    """Against the same weekday of the last 4 weeks; where fewer than 3 are known, the last 7 days.

    Low is what is more than 20 % below their median, and more than 3 robust deviations below the
    median of the last 28 days; or nothing, where each of those days had something. Days that are
    not known are not in ``before``.
    """
    weekdays = _known(before, (day - timedelta(weeks=n) for n in range(1, WEEKS + 1)))
    last_week = _known(before, (day - timedelta(days=n) for n in range(1, PLAIN_DAYS + 1)))
    plain = statistics.median(last_week) if len(last_week) >= _MIN_DAYS else None
    expected = statistics.median(weekdays) if len(weekdays) >= MIN_WEEKS else plain
    share = 1 - _MAX_DROP
    is_low_plain = plain is not None and rows < share * plain
    if expected is None:
        return Volume(rows, None, None, plain, False, is_low_plain)
    month = _known(before, (day - timedelta(days=n) for n in range(1, LONG_DAYS + 1)))
    middle = statistics.median(month)
    deviation = _PER_MEDIAN_DEVIATION * statistics.median(abs(n - middle) for n in month)
    limit = min(share * expected, middle - _MAX_DEVIATIONS * deviation)
    is_gone = not rows and min(weekdays if len(weekdays) >= MIN_WEEKS else last_week) > 0
    return Volume(rows, expected, limit, plain, rows < limit or is_gone, is_low_plain)


def _known(before: Mapping[date, int], days: Iterable[date]) -> list[int]:
    return [before[day] for day in days if day in before]
