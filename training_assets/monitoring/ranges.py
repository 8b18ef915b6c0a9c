"""Values that cannot be right: what a column declares, and what its name says.

A share is within 0 and 1, a count is not negative, whatever the table.
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final, NamedTuple

from training_assets.checks import CheckOutcome, Metric
from training_assets.monitoring.profile import Profile
from training_assets.schemas import Table

_MAX_SHOWN: Final = 5
# Sums of doubles that should give 1 may miss it by a few of their last digits.
_TOLERANCE: Final = 1e-9
_NUMBERS: Final = ("long", "int", "smallint", "tinyint", "double", "float")


class Range(NamedTuple):
    """Inclusive ends, None where there is none; beyond ``usual`` is a warning."""

    low: float | None
    high: float | None
    usual: float | None = None


_BY_NAME: Final = (
    (re.compile(r"(.*_)?share(_.*)?|(.*_)?percentile|(.*_)?probability|label"), Range(0, 1)),
    (re.compile(r"(.*_)?conversion_(rate|smoothed)"), Range(0, None, usual=1)),
    (
        re.compile(
            r"(count|total|unique|num|days)_.*|.*_(count|days)|sessions|days_active|"
            r"purchases_without_price|frequency_score|recency_score|popularity_score"
        ),
        Range(0, None),
    ),
)


def range_of(table: Table, column: str) -> Range | None:
    """What a column of a table may hold; None where nothing is known."""
    (declared,) = (c for c in table.columns if c.name == column)
    if declared.is_id or not (declared.type in _NUMBERS or declared.type.startswith("decimal")):
        return None
    low = declared.above if declared.minimum is None else declared.minimum
    if low is not None or declared.maximum is not None:
        return Range(low, declared.maximum)
    return next((found for pattern, found in _BY_NAME if pattern.fullmatch(column)), None)


def has_ranges(table: Table) -> bool:
    """Whether anything is known of what a column of the table may hold."""
    return any(range_of(table, column.name) for column in table.stored_columns)


def judge_ranges(table: Table, day: date, profile: Profile) -> CheckOutcome:
    """Columns beyond what they may be; only such that can be too high warn."""
    wrong, odd = [], []
    judged = 0
    for name, low, high, allowed in _limited(table, profile):
        judged += 1
        if allowed.low is not None and low < allowed.low - _TOLERANCE:
            wrong.append(f"{name} is as low as {low:g}; expected at least {allowed.low:g}")
        elif allowed.high is not None and high > allowed.high + _TOLERANCE:
            wrong.append(f"{name} is as high as {high:g}; expected at most {allowed.high:g}")
        elif allowed.usual is not None and high > allowed.usual + _TOLERANCE:
            odd.append(f"{name} is as high as {high:g}; expected about {allowed.usual:g} at most")
    metrics: dict[str, Metric] = {"columns": judged, "wrong": len(wrong), "unusual": len(odd)}
    if not wrong and not odd:
        return CheckOutcome(True, metrics)
    shown = "; ".join([*wrong, *odd][:_MAX_SHOWN])
    text = f"Values of {table.name} on {day} are out of range: {shown}."
    return CheckOutcome(False, metrics, text, "error" if wrong else "warn")


def _limited(table: Table, profile: Profile) -> Iterator[tuple[str, float, float, Range]]:
    for name, column in profile.columns.items():
        allowed = range_of(table, name)
        if allowed and column.low is not None and column.high is not None:
            yield name, column.low, column.high, allowed
