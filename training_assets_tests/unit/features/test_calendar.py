"""Days of input are given to days of features, however many there are."""

from bisect import bisect_right
from itertools import accumulate

import pytest
from pyspark.sql import SparkSession

from training_assets.features.calendar import KnownDays


@pytest.mark.parametrize(
    "numbers",
    [(100,), tuple(range(100, 300)), tuple(accumulate([2, 3] * 80, initial=100))],
    ids=["one", "in a row", "apart"],
)
def test_days_know_their_segment_and_the_first_day_after_them(
    spark: SparkSession, numbers: tuple[int, ...]
) -> None:
    calendar = KnownDays(numbers, (7, 90))
    days = range(0, 600)
    given = spark.createDataFrame([(day,) for day in days], "day int")
    segments = {r.day: r.segment for r in calendar.with_segment(given).collect()}
    edges = calendar.edges
    assert segments == {
        day: bisect_right(edges, day) for day in days if edges[0] <= day < edges[-1]
    }
    since = {r.day: r.since for r in calendar.with_since(given).collect()}
    after = {day: [n for n in numbers if n > day] for day in days}
    assert since == {day: found[0] for day, found in after.items() if found}
