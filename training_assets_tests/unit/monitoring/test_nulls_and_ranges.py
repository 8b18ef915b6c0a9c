"""Columns that became emptier, joins that fail, and values that cannot be."""

from datetime import date

import pytest

from training_assets.monitoring.completeness import Base, judge_nulls
from training_assets.monitoring.profile import Column as Counted
from training_assets.monitoring.profile import Profile
from training_assets.monitoring.ranges import Range, judge_ranges, range_of
from training_assets.provenance import BuiltFrom, Upstream
from training_assets.schemas import Column, Table

DAY = date(2026, 3, 30)
FEATURES = Table(
    name="user_features",
    grain="one customer",
    key=("customer_id",),
    columns=(
        Column("dt", "date", "Day."),
        Column("customer_id", "long", "Who."),
        Column("share_click", "double", "A share."),
        Column("count_click", "long", "A count."),
        Column("conversion_rate", "double", "A rate."),
        Column("price_percentile", "double", "A rank."),
        Column("stars", "double", "Declared.", minimum=1, maximum=5),
        Column("trend", "double", "Anything."),
    ),
)
SAMPLES = Table(
    name="training_samples",
    grain="one pair",
    columns=(
        Column("dt", "date", "Day."),
        Column("customer_id", "long", "Who."),
        Column("user_share_click", "double", "Taken over."),
        Column("user_trend", "double", "Taken over."),
    ),
)
PLAIN = BuiltFrom(FEATURES)
JOINED = BuiltFrom(SAMPLES, upstream=(Upstream(PLAIN, "same day"),))


def nulls(rows: int, **columns: int) -> Profile:
    return Profile(rows, {name: Counted(count) for name, count in columns.items()})


def judge(now: Profile, *before: Profile, built: BuiltFrom = PLAIN):
    return judge_nulls(built, DAY, now, Base.of(before))


@pytest.mark.parametrize(("now", "passed"), [(150, True), (151, False)])
def test_more_than_five_points_warn(now: int, passed: bool) -> None:
    found = judge(nulls(1_000, trend=now), *[nulls(1_000, trend=100)] * 28)
    assert found.passed is passed
    if not passed:
        assert found.severity == "warn"
        assert "trend is null in 15.1% of the rows, 10.0% before" in found.message


def test_five_points_of_few_rows_may_be_chance() -> None:
    # 5 of 50 rows where 4 % were: 3.3 standard deviations are 9 points.
    assert judge(nulls(50, trend=5), nulls(2_000, trend=80)).passed
    assert not judge(nulls(50, trend=10), nulls(2_000, trend=80)).passed


def test_a_column_that_had_values_and_has_none_fails() -> None:
    found = judge(nulls(20, trend=20), nulls(100, trend=10))
    assert (found.passed, found.severity) == (False, "error")
    assert "trend is null throughout" in found.message


def test_a_column_that_never_had_any_is_named_only() -> None:
    for before in ([], [nulls(100, trend=100)]):
        found = judge(nulls(20, trend=20), *before)
        assert found.passed
        assert found.metrics["always_null"] == "trend"


def test_a_column_that_is_nearly_always_null_may_be_so_by_chance() -> None:
    assert judge(nulls(20, trend=20), nulls(100, trend=95)).passed


@pytest.mark.parametrize(("missing", "passed"), [(50, True), (51, False)])
def test_a_join_that_finds_less_than_half_fails(missing: int, passed: bool) -> None:
    # A row is found where any column is there: the fuller one counts.
    now = nulls(100, user_share_click=missing, user_trend=90)
    found = judge(now, built=JOINED)
    assert found.passed is passed
    if not passed:
        assert found.severity == "error"
        assert "user_features is found for 49.0% of the rows" in found.message


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("share_click", Range(0, 1)),
        ("price_percentile", Range(0, 1)),
        ("count_click", Range(0, None)),
        ("conversion_rate", Range(0, None, 1)),
        ("stars", Range(1, 5)),
        ("trend", None),
        ("customer_id", None),
    ],
)
def test_ranges_follow_from_names_and_declarations(column: str, expected: Range | None) -> None:
    assert range_of(FEATURES, column) == expected


@pytest.mark.parametrize(
    ("column", "low", "high", "severity"),
    [
        ("share_click", -0.1, 1, "error"),
        ("share_click", 0, 1.1, "error"),
        ("share_click", 0, 1 + 1e-12, None),
        ("count_click", -1, 5, "error"),
        ("conversion_rate", 0, 1.5, "warn"),
        ("conversion_rate", -0.5, 1.5, "error"),
        ("price_percentile", 0, 2, "error"),
        ("stars", 0, 5, "error"),
        ("trend", -9, 9, None),
    ],
)
def test_values_out_of_range(column: str, low: float, high: float, severity: str | None) -> None:
    found = judge_ranges(FEATURES, DAY, Profile(9, {column: Counted(0, low, high)}))
    assert (found.passed, found.severity) == (severity is None, severity)
    assert (column in found.message) is (severity is not None)
