"""Training, validation and test rows, cut by time so that no model sees what came later.

    n rows in order of time      0 ........ n*700//1000 ... n*800//1000 ... n-1
    ratios (0.7, 0.1, 0.2)       train      validation      test

The cuts are the times at those ranks. They are found by counting: rows per day, then per second of
the days that hold a cut, then per microsecond of those seconds. Nothing is sorted, and at most a
million counts come back, however many rows there are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from numbers import Integral, Rational, Real
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training_assets.errors import SchemaError, SettingsError, ValidationError

PARTS: Final = ("train", "validation", "test")
Ratio = float | Fraction | Decimal
_DAY: Final = 86_400_000_000
# Microseconds that are counted together, coarse to fine.
_STEPS: Final = (_DAY, 1_000_000, 1)
_LARGEST_DENOMINATOR: Final = 1000
# A century: what is more does not mean days, and would not fit.
_MAX_GAP_DAYS: Final = 36_525
_ROUNDING: Final = Fraction(1, 10**9)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT: Final = "_at"


def temporal_split(
    frame: DataFrame,
    *,
    time: str = "occurred_at",
    key: str = "interaction_id",
    ratios: Sequence[Ratio] = (0.7, 0.1, 0.2),
    gap_days: int = 0,
    exact_rows: bool = False,
) -> DataFrame:
    """``frame`` with ``split``: train, validation or test, in order of ``time``.

    time        a timestamp or date; no nulls
    ratios      of train, validation and test; they add up to 1. A float is the fraction with a
                denominator up to 1000 that it stands for (0.7 is 700 of 1000, 1/3 a third), else
                what it prints as. Ranks are computed in integers: n * 700 // 1000.
    gap_days    leaves out the last so many times 24 hours before a cut, for labels that take so
                long to become known
    exact_rows  cut by rank of (time, key) alone: each part has its exact number of rows, and rows
                of one time may be on both sides. Else those of a cut's time go to the later part,
                and ``key`` is not needed.

    The frame is read up to four times; with ``exact_rows`` rows that share a cut's time are
    sorted by key. A negative that carries the time of its positive is in the same part.

    Raises SettingsError where ratios do not add up to 1 or a part would be empty, SchemaError where
    a column is missing, no time, or null, and where ``exact_rows`` needs a key that is unique.
    """
    shares = exact_ratios(ratios)
    _check(frame, time, key if exact_rows else None, gap_days)
    at = F.unix_micros(_column(time).cast("timestamp"))
    num_rows, cuts = _find_cuts(frame.select(at.alias(_AT)), time, shares)
    if exact_rows:
        cuts = [_with_key(frame, at, cut, key) for cut in cuts]
    parts = _Parts(at, _column(key) if exact_rows else None, cuts, int(gap_days))
    _refuse_empty(_sizes(frame, parts, num_rows), parts, num_rows, time)
    return frame.where(parts.is_kept()).withColumn("split", parts.name())


def exact_ratios(ratios: Sequence[Ratio]) -> tuple[Fraction, Fraction, Fraction]:
    """The three ratios as fractions that add up to 1.

    Raises SettingsError: not three, one not above 0, or another sum.
    """
    shares = [_exact(ratio) for ratio in ratios]
    if len(shares) != len(PARTS):
        raise SettingsError(
            f"temporal_split: ratios has {len(shares)} values; expected three, of "
            f"{', '.join(PARTS)}. Correct ratios."
        )
    for part, share, ratio in zip(PARTS, shares, ratios, strict=True):
        if share <= 0:
            raise SettingsError(
                f"temporal_split: the ratio of {part} is {ratio}, so it would be empty; expected "
                "more than 0. Raise it."
            )
    if sum(shares) != 1:
        raise SettingsError(
            f"temporal_split: ratios {tuple(ratios)} add up to {float(sum(shares)):.10g}; "
            "expected 1. Correct them."
        )
    return shares[0], shares[1], shares[2]


def _exact(ratio: Ratio) -> Fraction:
    if isinstance(ratio, Rational | Decimal) and ratio == ratio:
        return Fraction(ratio)
    if not isinstance(ratio, Real) or not math.isfinite(ratio):
        raise SettingsError(
            f"temporal_split: a ratio is {ratio!r}; expected a number between 0 and 1. Correct it."
        )
    ratio = float(ratio)
    near = Fraction(ratio).limit_denominator(_LARGEST_DENOMINATOR)
    return near if abs(near - Fraction(ratio)) < _ROUNDING else Fraction(repr(ratio))


@dataclass(frozen=True)
class _Cut:
    """Rows of ``at`` (microseconds since 1970) and later go to the later part.

    earlier: rows of an earlier time. rank: rows that the earlier part should have. key: with
    ``exact_rows``, rows of ``at`` itself go to the later part from this key on.
    """

    at: int
    earlier: int
    rank: int
    key: Any = None

    def is_before(self, at: Column, key: Column | None) -> Column:
        before = at < F.lit(self.at)
        if key is None:
            return before
        return before | ((at == F.lit(self.at)) & (key < F.lit(self.key)))

    @property
    def text(self) -> str:
        return (_EPOCH + timedelta(microseconds=self.at)).isoformat()


@dataclass(frozen=True)
class _Parts:
    """Which part a row is in, as columns."""

    at: Column
    key: Column | None
    cuts: list[_Cut]
    gap_days: int

    def name(self) -> Column:
        first, second = (cut.is_before(self.at, self.key) for cut in self.cuts)
        train, validation, test = PARTS
        return F.when(first, train).when(second, validation).otherwise(test)

    def is_kept(self) -> Column:
        """Not within ``gap_days`` before a cut."""
        kept = F.lit(True)
        for cut in self.cuts if self.gap_days else ():
            is_near = self.at >= F.lit(cut.at - self.gap_days * _DAY)
            kept = kept & ~(is_near & cut.is_before(self.at, self.key))
        return kept


def _find_cuts(times: DataFrame, time: str, shares: Sequence[Fraction]) -> tuple[int, list[_Cut]]:
    """How many rows there are, and the time at the rank of each cut."""
    counts = _counted(times, _STEPS[0])
    if None in counts:
        raise SchemaError(
            f"temporal_split: {counts[None]} rows have no {time}; expected a time in every row. "
            "Leave them out, or fill them in."
        )
    num_rows = sum(counts.values())
    if not num_rows:
        raise SettingsError(
            "temporal_split: the frame has no rows, so train, validation and test would be empty; "
            "expected at least three. Give it rows."
        )
    ranks = [int(num_rows * sum(shares[: n + 1])) for n in range(2)]
    cuts = [_narrowed(_Cut(0, 0, rank), counts) for rank in ranks]
    for coarse, fine in pairwise(_STEPS):
        first, second = (F.col(_AT).between(cut.at, cut.at + coarse - 1) for cut in cuts)
        counts = _counted(times.where(first | second), fine)
        cuts = [
            _narrowed(cut, {at: n for at, n in counts.items() if 0 <= at - cut.at < coarse})
            for cut in cuts
        ]
    return num_rows, cuts


def _counted(times: DataFrame, step: int) -> dict[Any, int]:
    """Rows by the ``step`` microseconds that they lie in, named by its start."""
    start = F.col(_AT) - F.pmod(F.col(_AT), F.lit(step))
    return {row[0]: row[1] for row in times.groupBy(start.alias("start")).count().collect()}


def _narrowed(cut: _Cut, counts: Mapping[int, int]) -> _Cut:
    """The same rank, in that one of the ``counts`` that holds it."""
    earlier = cut.earlier
    for at in sorted(counts):
        if earlier + counts[at] > cut.rank:
            return replace(cut, at=at, earlier=earlier)
        earlier += counts[at]
    raise ValidationError(
        f"temporal_split: of the rows from {cut.text} on fewer were read the second time than the "
        "first; expected the same rows each time. Publish or cache the frame first."
    )


def _with_key(frame: DataFrame, at: Column, cut: _Cut, key: str) -> _Cut:
    """The cut with the key that parts the rows of its time."""
    tied = frame.where(at == F.lit(cut.at)).select(_column(key).alias("key"))
    place = cut.rank - cut.earlier
    parting = tied.orderBy("key").offset(place).limit(1).collect()[0]["key"]
    below = tied.agg(
        F.count_if(F.col("key").isNull()).alias("nulls"),
        F.count_if(F.col("key") < F.lit(parting)).alias("below"),
    ).collect()[0]
    if below["nulls"] or below["below"] != place:
        wrong = f"{below['nulls']} nulls" if below["nulls"] else f"{parting!r} more than once"
        raise SchemaError(
            f"temporal_split: {key} holds {wrong} among the rows of {cut.text}, where a cut falls; "
            "expected unique keys. Name a key that is unique, or leave exact_rows out."
        )
    return replace(cut, key=parting)


def _sizes(frame: DataFrame, parts: _Parts, num_rows: int) -> list[int]:
    """Rows of each part; the frame is read only where rows are left out."""
    if parts.gap_days:
        kept = frame.where(parts.is_kept()).select(parts.name().alias("split"))
        found = {row[0]: row[1] for row in kept.groupBy("split").count().collect()}
        return [found.get(part, 0) for part in PARTS]
    first, second = (cut.earlier if parts.key is None else cut.rank for cut in parts.cuts)
    return [first, second - first, num_rows - second]


def _refuse_empty(sizes: Sequence[int], parts: _Parts, num_rows: int, time: str) -> None:
    empty = [part for part, size in zip(PARTS, sizes, strict=True) if not size]
    if empty:
        cuts = " and ".join(cut.text for cut in parts.cuts)
        gap = f" and gap_days {parts.gap_days}" if parts.gap_days else ""
        raise SettingsError(
            f"temporal_split: {' and '.join(empty)} would be empty: {num_rows} rows are cut at "
            f"{time} {cuts}{gap}; expected a row in each part. Give more rows or other ratios."
        )


def _column(name: str) -> Column:
    """The column of that name, dots and all; no field of another column."""
    return F.col("`" + name.replace("`", "``") + "`")


def _check(frame: DataFrame, time: str, key: str | None, gap_days: object) -> None:
    if (
        not isinstance(gap_days, Integral)
        or isinstance(gap_days, bool)
        or not 0 <= int(gap_days) <= _MAX_GAP_DAYS
    ):
        raise SettingsError(
            f"temporal_split: gap_days is {gap_days!r}; expected a whole number of days from 0 to "
            f"{_MAX_GAP_DAYS}. Correct gap_days."
        )
    found = {field.name: field.dataType for field in frame.schema.fields}
    for name in (time, *([key] if key else [])):
        if name not in found:
            raise SchemaError(
                f"temporal_split: the frame has no column {name}; found {', '.join(found)}. "
                "Name the column that holds it."
            )
    if not isinstance(found[time], T.TimestampType | T.TimestampNTZType | T.DateType):
        raise SchemaError(
            f"temporal_split: {time} is {found[time].simpleString()}; expected a timestamp or a "
            "date. Cast the column."
        )
