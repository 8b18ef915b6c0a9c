"""Splits by time against a sort in memory; ties, gaps, exact rows; what cannot be split."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.errors import SchemaError, SettingsError
from training_assets.splits import exact_ratios, temporal_split

START = datetime(2024, 3, 1, tzinfo=UTC)
PARTS = ("train", "validation", "test")


# What the random inputs below are drawn from too, on both engines.
on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)


def events(spark: SparkSession, micros: list[int], keys: list[Any] | None = None) -> DataFrame:
    """One row per number of microseconds after START; keys 0, 1, 2, ..."""
    rows = list(zip(keys or range(len(micros)), micros, strict=True))
    kind = "string" if keys and isinstance(keys[0], str) else "long"
    start = int(START.timestamp()) * 1_000_000
    frame = spark.createDataFrame(rows, f"interaction_id {kind}, micros long")
    return frame.withColumn("occurred_at", F.timestamp_micros(F.col("micros") + F.lit(start)))


def parts_of(frame: DataFrame) -> dict[str, list[Any]]:
    """Keys of each part, ascending."""
    found: dict[str, list[Any]] = {}
    for row in frame.select("interaction_id", "split").collect():
        found.setdefault(row["split"], []).append(row["interaction_id"])
    return {part: sorted(keys) for part, keys in found.items()}


def sorted_split(
    micros: list[int],
    keys: list[Any],
    ratios: list[Fraction],
    *,
    exact_rows: bool,
    gap_days: int = 0,
) -> dict[str, list[Any]]:
    """The same by a sort; parts that are empty are missing."""
    order = sorted(zip(micros, keys, strict=True))
    ranks = [int(len(order) * ratios[0]), int(len(order) * (ratios[0] + ratios[1]))]
    cuts = [order[rank] for rank in ranks]
    found: dict[str, list[Any]] = {}
    for at, key in order:
        past = [((at, key) >= cut) if exact_rows else (at >= cut[0]) for cut in cuts]
        gap = gap_days * 86_400_000_000
        if any(not p and gap and at >= cut[0] - gap for p, cut in zip(past, cuts, strict=True)):
            continue
        found.setdefault(PARTS[sum(past)], []).append(key)
    return {part: sorted(keys) for part, keys in found.items()}


# ------------------------------------------------------------------------------------- literal


@on_sail_only
def test_ten_rows_are_cut_at_seven_and_eight(spark: SparkSession) -> None:
    found = parts_of(temporal_split(events(spark, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0])))
    assert found == {"train": [3, 4, 5, 6, 7, 8, 9], "validation": [2], "test": [0, 1]}


@on_sail_only
def test_ninety_rows_are_cut_in_integers(spark: SparkSession) -> None:
    assert int(90 * 0.7) == 62
    found = parts_of(temporal_split(events(spark, list(range(90)))))
    assert [len(found[part]) for part in PARTS] == [63, 9, 18]


@on_sail_only
def test_rows_with_the_time_of_a_cut_go_to_the_later_part(spark: SparkSession) -> None:
    times = [0, 1, 2, 3, 4, 5, 5, 5, 6, 6]
    found = parts_of(temporal_split(events(spark, times)))
    assert found == {"train": [0, 1, 2, 3, 4], "validation": [5, 6, 7], "test": [8, 9]}


@on_sail_only
def test_exact_rows_cuts_a_time_by_key(spark: SparkSession) -> None:
    times = [0, 1, 2, 3, 4, 5, 5, 5, 6, 6]
    keys = ["a", "b", "c", "d", "e", "z", "x", "y", "g", "h"]
    found = parts_of(temporal_split(events(spark, times, keys), exact_rows=True))
    assert found == {
        "train": ["a", "b", "c", "d", "e", "x", "y"],
        "validation": ["z"],
        "test": ["g", "h"],
    }


@on_sail_only
def test_all_rows_of_one_time_can_be_cut_by_key_only(spark: SparkSession) -> None:
    frame = events(spark, [7] * 10)
    with pytest.raises(SettingsError, match="train and validation would be empty: 10 rows"):
        temporal_split(frame)
    found = parts_of(temporal_split(frame, exact_rows=True))
    assert found == {"train": list(range(7)), "validation": [7], "test": [8, 9]}


@on_sail_only
def test_gap_days_leave_out_rows_before_a_cut(spark: SparkSession) -> None:
    day = 86_400_000_000
    times = [n * day for n in range(20)]
    found = parts_of(temporal_split(events(spark, times), ratios=(0.5, 0.25, 0.25), gap_days=2))
    assert found == {
        "train": list(range(8)),
        "validation": list(range(10, 13)),
        "test": list(range(15, 20)),
    }


def test_names_with_dots_and_numbers_of_numpy_are_taken(spark: SparkSession) -> None:
    frame = events(spark, list(range(10)))
    renamed = frame.select(
        F.col("interaction_id"),
        F.col("interaction_id").alias("event.id"),
        F.col("occurred_at").alias("event.`time`"),
    )
    ratios = [np.float32(0.5), np.float64(0.25), Fraction(1, 4)]
    for exact_rows in (False, True):
        found = temporal_split(
            renamed,
            time="event.`time`",
            key="event.id",
            ratios=ratios,
            gap_days=np.int64(0),  # type: ignore[arg-type]
            exact_rows=exact_rows,
        )
        assert parts_of(found) == {"train": [*range(5)], "validation": [5, 6], "test": [7, 8, 9]}


def test_times_before_1970_and_microseconds_apart(spark: SparkSession) -> None:
    start = -int(START.timestamp()) * 1_000_000
    times = [start - 5, start - 4, start - 3, start - 2, start - 1, start, start + 1]
    found = parts_of(temporal_split(events(spark, times), ratios=(0.4, 0.3, 0.3)))
    assert found == {"train": [0, 1], "validation": [2, 3], "test": [4, 5, 6]}


@pytest.mark.parametrize("kind", ["date", "timestamp_ntz"])
def test_days_and_times_without_a_zone_are_times_too(spark: SparkSession, kind: str) -> None:
    rows = [(n, date(2024, 3, 1) + timedelta(n)) for n in range(10)]
    frame = spark.createDataFrame(rows, "interaction_id long, dt date")
    frame = frame.withColumn("dt", F.col("dt").cast(kind))
    found = parts_of(temporal_split(frame, time="dt"))
    assert found == {"train": list(range(7)), "validation": [7], "test": [8, 9]}


def test_other_columns_and_types_stay(spark: SparkSession) -> None:
    frame = events(spark, list(range(10)))
    assert temporal_split(frame).dtypes == [*frame.dtypes, ("split", "string")]


# ------------------------------------------------------------------------- against a plain sort

SPREAD = [1, 1_000_000, 3_600_000_000, 86_400_000_000]


@given(data=st.data())
def test_split_is_that_of_a_sort(spark: SparkSession, data: st.DataObject) -> None:
    spread = data.draw(st.sampled_from(SPREAD))
    steps = st.integers(-6, 6)
    micros = [n * spread for n in data.draw(st.lists(steps, min_size=1, max_size=40))]
    parts = data.draw(st.tuples(*[st.integers(1, 12)] * 3))
    ratios = [Fraction(n, sum(parts)) for n in parts]
    exact_rows = data.draw(st.booleans())
    gap_days = data.draw(st.sampled_from([0, 0, 1, 3]))
    expected = sorted_split(
        micros, list(range(len(micros))), ratios, exact_rows=exact_rows, gap_days=gap_days
    )
    options: Any = {"ratios": ratios, "exact_rows": exact_rows, "gap_days": gap_days}
    frame = events(spark, micros).repartition(3)
    empty = [part for part in PARTS if part not in expected]
    if empty:
        with pytest.raises(SettingsError, match=f"{' and '.join(empty)} would be empty"):
            temporal_split(frame, **options)
        return
    found = temporal_split(frame, **options)
    assert parts_of(found) == expected
    if not exact_rows:
        parts_by_time = found.groupBy("occurred_at").agg(F.count_distinct("split").alias("n"))
        assert {row["n"] for row in parts_by_time.collect()} == {1}


@given(ratios=st.tuples(st.integers(1, 998), st.integers(1, 998)))
def test_floats_in_thousandths_are_thousandths(ratios: tuple[int, int]) -> None:
    first, second = ratios
    third = 1000 - first - second
    if third < 1:
        return
    assert exact_ratios((first / 1000, second / 1000, third / 1000)) == (
        Fraction(first, 1000),
        Fraction(second, 1000),
        Fraction(third, 1000),
    )


def test_thirds_and_decimals_are_exact() -> None:
    third = Fraction(1, 3)
    assert exact_ratios((1 / 3, 1 / 3, 1 / 3)) == (third, third, third)
    assert exact_ratios((Decimal("0.9995"), Decimal("0.0003"), Decimal("0.0002")))
    assert exact_ratios((0.99995, 0.00003, 0.00002))[2] == Fraction(2, 100_000)


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ((0.7, 0.1, 0.1), r"ratios \(0.7, 0.1, 0.1\) add up to 0.9; expected 1"),
        ((0.7, 0.3), "ratios has 2 values; expected three"),
        ((0.7, 0.0, 0.3), "the ratio of validation is 0.0, so it would be empty"),
        ((0.7, 0.4, -0.1), "the ratio of test is -0.1"),
        ((0.7, 0.3, float("nan")), "a ratio is nan; expected a number"),
        ((0.7, 0.3, "0"), "a ratio is '0'; expected a number"),
    ],
)
def test_ratios_that_cannot_work_are_named(ratios: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        exact_ratios(ratios)


@on_sail_only
def test_parts_that_would_be_empty_are_named(spark: SparkSession) -> None:
    with pytest.raises(SettingsError, match="train, validation and test would be empty"):
        temporal_split(events(spark, []))
    with pytest.raises(SettingsError, match="train and validation would be empty: 1 rows are cut"):
        temporal_split(events(spark, [5]))
    with pytest.raises(SettingsError, match=r": validation would be empty.* and gap_days 1"):
        temporal_split(events(spark, [n * 43_200_000_000 for n in range(10)]), gap_days=1)
    for gap_days in (-1, 1.5, True, "1", 10**9):
        with pytest.raises(SettingsError, match=r"gap_days is .*; expected a whole number of days"):
            temporal_split(events(spark, [5]), gap_days=gap_days)  # type: ignore[arg-type]


def test_a_missing_time_is_named(spark: SparkSession) -> None:
    frame = events(spark, [1, 2, 3])
    holes = frame.withColumn("occurred_at", F.expr("nullif(occurred_at, occurred_at)"))
    with pytest.raises(SchemaError, match="3 rows have no occurred_at; expected a time"):
        temporal_split(holes)
    with pytest.raises(SchemaError, match="no column at; found interaction_id, micros"):
        temporal_split(frame, time="at")
    with pytest.raises(SchemaError, match="micros is bigint; expected a timestamp or a date"):
        temporal_split(frame, time="micros")


@on_sail_only
def test_exact_rows_need_a_unique_key_where_a_cut_falls(spark: SparkSession) -> None:
    times = [0, 1, 2, 3, 4, 5, 5, 5, 6, 6]
    twice = events(spark, times, [0, 1, 2, 3, 4, 5, 6, 6, 8, 9])
    with pytest.raises(
        SchemaError, match=r"interaction_id holds 6 more than once .*T00:00:00.000005"
    ):
        temporal_split(twice, exact_rows=True)
    null = twice.withColumn("interaction_id", F.expr("nullif(interaction_id, 6)"))
    with pytest.raises(SchemaError, match="interaction_id holds 2 nulls among the rows of 2024"):
        temporal_split(null, exact_rows=True)
    with pytest.raises(SchemaError, match="no column id; found"):
        temporal_split(twice, key="id", exact_rows=True)
