"""Which days of input count for which days of features, without looking at each pair of them.

A *segment* is a stretch of days of input that counts for the same days of features in the same
windows. What was collected per segment is added up per day afterwards. 14 days in a row with 365
days of look-back have 27 segments, and nearly all rows are in one of them:

    days of features            11 12          look-back 5
    days of input         6  7 .. 10 11 12 13
    segments             [1][   2  ][3]        6 counts for 11, 7..10 for both, 11 for 12

All days are numbers since 1970-01-01, ``dt`` among them, until the last select.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce
from typing import Final, Protocol

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from training_assets.errors import SettingsError

EPOCH: Final = date(1970, 1, 1)
# Further back than any date goes: a look-back without a limit.
UNLIMITED_DAYS: Final = 10_000_000

_COUNTED: Final = pa.schema(
    [("segment", pa.int64()), ("dt", pa.int64()), ("reach", pa.int64()), ("own", pa.int64())]
)


class Calendar(Protocol):
    """Days of features, and the windows before them."""

    @property
    def has_one_day(self) -> bool:
        """Whether there is but one dt, and this is known."""

    @property
    def has_one_segment(self) -> bool:
        """Whether all days of input that count do so for the same day and windows."""

    def with_segment(self, frame: DataFrame) -> DataFrame:
        """Rows whose ``day`` counts for some dt, with their ``segment``."""

    def with_dt(self, frame: DataFrame) -> DataFrame:
        """A row per dt that its ``segment`` counts for.

        ``reach`` is the smallest window that the segment lies in, ``own`` the segment that dt
        itself begins.
        """

    def with_since(self, frame: DataFrame) -> DataFrame:
        """Rows with ``since``: the first dt after their ``day``; those after all are left out."""

    def days(self, frame: DataFrame) -> DataFrame:
        """All dt, each once, in the session of ``frame``."""


@dataclass(frozen=True)
class KnownDays:
    """Days of features that are known when the plan is made; ``windows`` ascend."""

    numbers: tuple[int, ...]
    windows: tuple[int, ...]

    @property
    def has_one_day(self) -> bool:
        return len(self.numbers) == 1

    @property
    def has_one_segment(self) -> bool:
        return self.has_one_day and len(self.windows) == 1

    @property
    def edges(self) -> list[int]:
        """Where segments begin, and the day after the last, in order."""
        starts = {number - window for number in self.numbers for window in self.windows}
        return sorted(starts | set(self.numbers))

    def with_segment(self, frame: DataFrame) -> DataFrame:
        day, edges = F.col("day"), self.edges or [0]
        counts = day.between(edges[0], edges[-1] - 1)
        return frame.where(counts).withColumn("segment", _num_up_to(day, edges))

    def with_dt(self, frame: DataFrame) -> DataFrame:
        columns = list(zip(*self._counted(), strict=True)) or [(), (), (), ()]
        table = pa.Table.from_arrays([pa.array(c, pa.int64()) for c in columns], schema=_COUNTED)
        return frame.join(F.broadcast(_frame(frame.sparkSession, table)), on="segment")

    def _counted(self) -> Iterator[tuple[int, int, int, int]]:
        edges = self.edges
        for number in self.numbers:
            own = bisect_right(edges, number)
            for segment in range(own - 1, 0, -1):
                reach = next((w for w in self.windows if edges[segment - 1] >= number - w), None)
                if reach is None:
                    break
                yield segment, number, reach, own

    def with_since(self, frame: DataFrame) -> DataFrame:
        day, numbers = F.col("day"), self.numbers or (-UNLIMITED_DAYS,)
        place = F.least(_num_up_to(day, numbers) + F.lit(1), F.lit(len(numbers)).cast("long"))
        since = F.element_at(F.array(*(F.lit(n).cast("long") for n in numbers)), place.cast("int"))
        return frame.where(day < F.lit(numbers[-1])).withColumn("since", since)

    def days(self, frame: DataFrame) -> DataFrame:
        table = pa.table({"dt": pa.array(self.numbers, pa.int64())})
        return _frame(frame.sparkSession, table)


@dataclass(frozen=True)
class DaysOfFrame:
    """Days of features that only a frame knows: each day of input is its own segment."""

    frame: DataFrame
    windows: tuple[int, ...]

    @property
    def has_one_day(self) -> bool:
        return False

    @property
    def has_one_segment(self) -> bool:
        return False

    def with_segment(self, frame: DataFrame) -> DataFrame:
        return frame.withColumn("segment", F.col("day").cast("long"))

    def with_dt(self, frame: DataFrame) -> DataFrame:
        age = F.col("dt") - F.col("segment")
        reach = F.lit(None).cast("long")
        for window in reversed(self.windows):
            reach = F.when(age <= window, F.lit(window).cast("long")).otherwise(reach)
        counts = (F.col("dt") > F.col("segment")) & (age <= self.windows[-1])
        return (
            frame.join(F.broadcast(self.frame), on=counts)
            .withColumn("reach", reach)
            .withColumn("own", F.col("dt"))
        )

    def with_since(self, frame: DataFrame) -> DataFrame:
        days = frame.select("day").distinct()
        since = (
            days.join(F.broadcast(self.frame), on=F.col("dt") > F.col("day"))
            .groupBy("day")
            .agg(F.min("dt").alias("since"))
        )
        return frame.join(F.broadcast(since), on="day")

    def days(self, frame: DataFrame) -> DataFrame:
        return self.frame


def day_number(value: date | str, where: str) -> int:
    """Days since 1970-01-01 of a date or its text; raises ``SettingsError`` for another."""
    if isinstance(value, datetime):
        value = value.date()
    try:
        found = value if isinstance(value, date) else date.fromisoformat(value)
    except (TypeError, ValueError):
        raise SettingsError(
            f"{where}: days holds {value!r}; expected dates or text YYYY-MM-DD. Correct the day."
        ) from None
    return (found - EPOCH).days


def known_days(
    days: Iterable[date | str] | date | str, windows: Iterable[int], where: str
) -> KnownDays:
    """Each of the days once; ``windows`` in days, the longest last."""
    listed = [days] if isinstance(days, date | str) else list(days)
    numbers = sorted({day_number(day, where) for day in listed})
    return KnownDays(tuple(numbers), tuple(sorted(set(windows))))


def date_of(number: Column) -> Column:
    return F.date_from_unix_date(number.cast("int"))


def _num_up_to(day: Column, numbers: Iterable[int]) -> Column:
    """How many of the numbers, which ascend, are at most that of the day."""
    terms = [
        F.greatest(F.least(day - F.lit(begin - 1), F.lit(length)), F.lit(0)).cast("long")
        for begin, length in _runs(numbers)
    ]
    # A chain as deep as there are days would be refused by both engines.
    while len(terms) > 1:
        terms = [reduce(Column.__add__, terms[at : at + 2]) for at in range(0, len(terms), 2)]
    return terms[0]


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Stretches of successive numbers as (first, length)."""
    begin = length = 0
    for number in numbers:
        if length and number == begin + length:
            length += 1
            continue
        if length:
            yield begin, length
        begin, length = number, 1
    if length:
        yield begin, length


def _frame(spark: SparkSession, table: pa.Table) -> DataFrame:
    if not table.num_rows:
        return spark.createDataFrame([], from_arrow_schema(table.schema))
    return spark.createDataFrame(table)
