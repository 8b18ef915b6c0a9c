"""The watches over a generated month: none speaks on a quiet day, each finds what is planted.

The month is built once, after five weeks to compare with; each fault is planted on its last day.
Of what is made of many rows a day, which costs most, there is its second half, after a week.
"""

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from training_assets.checks import CheckResult
from training_assets.lake import Lake, day_range
from training_assets.monitoring import WATCHES, recorded_profiles
from training_assets.pipeline import build_days, check_days
from training_assets.sample.generate import SampleSpec, generate
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS, Table
from training_assets.settings import Settings
from training_assets.tables import SPECS
from training_assets_tests.support.planting import replant, rows_of

SPEC = SampleSpec(customers=300, items=60, interactions=31_500, days=63, end_date=date(2026, 3, 29))
DAY = SPEC.end_date
MONTH = day_range(DAY - timedelta(days=27), DAY)
HALF = MONTH[14:]
COSTLY = ("pair_features", "training_samples")
OTHERS = tuple(name for name in SPECS if name not in COSTLY)
SETTINGS = Settings(history_length=30, lookback_days=7)
on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


@pytest.fixture(scope="session")
def month(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("month")
    lake = Lake.at(root)
    generate(lake, SPEC, with_stream=False)
    for names, days in ((OTHERS, SPEC.dates), (COSTLY, day_range(MONTH[7], DAY))):
        specs = [SPECS[name] for name in names]
        reports = list(build_days(spark, lake, SETTINGS, specs, days))
        assert [report.problem for report in reports if report.problem] == []
    return root


@pytest.fixture
def lake(month: Path, tmp_path: Path) -> Lake:
    """A copy, in which a fault can be planted; the raw files are not copied."""
    for name in SPECS:
        if (month / name).exists():
            shutil.copytree(month / name, tmp_path / name)
    return Lake.at(tmp_path)


def watch(
    spark: SparkSession, lake: Lake, *tables: str, days: list[date] | None = None
) -> list[CheckResult]:
    specs = [SPECS[name] for name in tables or SPECS]
    results = check_days(spark, lake, SETTINGS, specs, days or [DAY])
    return [result for result in results if result.check.name in WATCHES]


@on_sail_only
def test_no_watch_speaks_on_a_quiet_month(spark: SparkSession, month: Path) -> None:
    results = [
        *watch(spark, Lake.at(month), *OTHERS, days=MONTH),
        *watch(spark, Lake.at(month), *COSTLY, days=HALF),
    ]
    assert [r.message for r in results if not r.passed] == []
    drift = [r for r in results if r.check.name == "drift"]
    present = [name for name in OTHERS if Lake.at(month).days(name)]
    assert len(drift) == 28 * len(present) + 14 * len(COSTLY)
    # It was looked at: every feature of every day was judged.
    of_table = {
        table: {r.metrics["judged_features"] for r in drift if r.check.table == table}
        for table in (UNIFIED_ACTIONS.name, CUSTOMER_HISTORY.name, TRAINING_INPUT.name)
    }
    assert of_table[CUSTOMER_HISTORY.name] == {3}
    assert of_table[TRAINING_INPUT.name] == {1}
    assert min(of_table[UNIFIED_ACTIONS.name]) >= 2
    judged = {
        table: min(r.metrics["judged_features"] for r in drift if r.check.table == table)
        for table in ("user_features", "item_features", *COSTLY)
    }
    assert all(judged.values()), judged


@on_sail_only
def test_each_day_keeps_the_profile_that_its_files_have(month: Path, spark: SparkSession) -> None:
    lake = Lake.at(month)
    for name in (name for name in SPECS if lake.days(name)):
        (found,) = recorded_profiles(lake, name, [DAY]).values()
        assert found.rows == lake.manifest(name, DAY)["rows"] > 0
    found = recorded_profiles(lake, CUSTOMER_HISTORY.name, [DAY])[DAY]
    histories = rows_of(lake, CUSTOMER_HISTORY.name, DAY)
    ages = [age for days in histories["action_days_ago"].to_pylist() for age in days]
    assert sum(found.features["action_days_ago.ages"].bins.values()) == len(ages)


class Fault(NamedTuple):
    """What is planted, and the watch that finds it."""

    table: Table
    watch: str
    edit: Callable[[pa.Table], pa.Table]
    says: str
    severity: str


def without(kind: int, keep: int) -> Callable[[pa.Table], pa.Table]:
    """Of the actions of a kind only each so-manieth."""

    def edit(rows: pa.Table) -> pa.Table:
        kinds = rows["action_type"].to_pylist()
        return rows.filter(pa.array([k != kind or n % keep == 0 for n, k in enumerate(kinds)]))

    return edit


def column(name: str, change: Callable[[int, Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """Each value by the number of its row."""

    def edit(rows: pa.Table) -> pa.Table:
        place = rows.schema.names.index(name)
        values = [change(n, value) for n, value in enumerate(rows[name].to_pylist())]
        field = rows.schema.field(name).with_nullable(True)
        return rows.set_column(place, field, pa.array(values, field.type))

    return edit


def untimed_clicks(rows: pa.Table) -> pa.Table:
    """A drift of one kind of actions only."""
    kinds = rows["action_type"].to_pylist()
    return column("has_time", lambda n, has: has and kinds[n] != 1)(rows)


def shortened(rows: pa.Table) -> pa.Table:
    for name in ("action_items", "action_types", "action_days_ago"):
        rows = column(name, lambda n, values: values[:2])(rows)
    return rows


FAULTS = (
    Fault(UNIFIED_ACTIONS, "volume", without(1, 3), "clicks: ", "warn"),
    Fault(
        UNIFIED_ACTIONS,
        "drift",
        column("action_type", lambda n, kind: 3 if n % 2 else kind),
        "action_type has a PSI of ",
        "error",
    ),
    Fault(
        UNIFIED_ACTIONS, "drift", untimed_clicks, "; most of all in action_type 1 (has_", "error"
    ),
    Fault(CUSTOMER_HISTORY, "drift", shortened, "action_items.length has a PSI of ", "error"),
    Fault(
        CUSTOMER_HISTORY,
        "drift",
        column("action_days_ago", lambda n, ages: [7] * len(ages)),
        "action_days_ago.ages has a PSI of ",
        "error",
    ),
    Fault(
        TRAINING_INPUT,
        "drift",
        column("is_order", lambda n, label: int(n % 4 == 0)),
        "is_order",
        "error",
    ),
    Fault(
        UNIFIED_ACTIONS,
        "completeness",
        column("occurred_at", lambda n, at: None if n % 10 == 0 else at),
        "occurred_at is null in 10.",
        "warn",
    ),
    Fault(
        TRAINING_INPUT,
        "completeness",
        column("ranking_id", lambda n, ranking: None),
        "ranking_id is null throughout",
        "error",
    ),
    Fault(
        UNIFIED_ACTIONS,
        "ranges",
        column("rating", lambda n, stars: 6.0 if n == 0 else stars),
        "rating is as high as 6; expected at most 5",
        "error",
    ),
)


@on_sail_only
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.table.name}-{fault.watch}")
def test_each_watch_finds_what_is_planted(spark: SparkSession, lake: Lake, fault: Fault) -> None:
    replant(lake, fault.table.name, DAY, fault.edit(rows_of(lake, fault.table.name, DAY)))
    results = watch(spark, lake, fault.table.name)
    (found,) = (result for result in results if result.check.name == fault.watch)
    assert not found.passed
    assert fault.says in found.message
    assert found.severity == fault.severity
    # Only what cannot be right keeps a day from being published.
    assert found.blocks is (fault.watch == "ranges")


def test_every_watch_has_a_planted_fault() -> None:
    assert {fault.watch for fault in FAULTS} == set(WATCHES)


@on_sail_only
def test_features_of_a_window_are_not_judged_while_it_fills(
    spark: SparkSession, lake: Lake
) -> None:
    later = Settings(history_length=30, lookback_days=365)
    results = check_days(spark, lake, later, [SPECS[CUSTOMER_HISTORY.name]], [DAY])
    (drift,) = (result for result in results if result.check.name == "drift")
    assert drift.passed
    assert drift.metrics["judged_features"] == 0
    assert drift.metrics["not_judged_while_the_look_back_fills"] == 3
