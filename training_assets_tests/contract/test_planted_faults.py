"""Faults planted in published days: each fails exactly the check that speaks of it.

The lake is ``support/lakes.py``'s, built once an engine and copied for each fault. All faults are
planted on the third of its five published days; the day after it is checked along and must pass.
Other rows are published like any, so that their files are sound; files that are changed where they
lie are faults of their own.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from training_assets.checks import CheckResult, history
from training_assets.lake import Lake
from training_assets.pipeline import check_days
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)
from training_assets.settings import Settings
from training_assets.tables import SPECS
from training_assets_tests.support.frames import at, click
from training_assets_tests.support.lakes import (
    IMPRESSION_DAYS,
    QUIET_DAY,
    SETTINGS,
    SHORT,
    TIED,
    write_raw_lake,
)
from training_assets_tests.support.planted_faults import (
    FAULTS,
    ON_BOTH_ENGINES,
    ON_SAIL,
    Fault,
)
from training_assets_tests.support.planting import (
    paths_of,
    unpublish,
)
from training_assets_tests.support.plants import (
    BAD_DAY,
    DAY_AFTER,
    PLANTED,
    SHORT_ACTIONS,
    TIED_ACTIONS,
    cast_column,
    halve_file,
    on_file,
    on_rows,
    set_history,
)
from training_assets_tests.support.tiny_builds import build

on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)
planting = partial(pytest.mark.parametrize, "fault", ids=lambda f: f"{f.table}-{f.check}-{f.name}")


@pytest.fixture
def lake(tiny_copy: Lake) -> Lake:
    return tiny_copy


def check(
    spark: SparkSession,
    lake: Lake,
    *tables: str,
    days: Iterable[date] = (BAD_DAY, DAY_AFTER),
    settings: Settings = SETTINGS,
) -> list[CheckResult]:
    return list(check_days(spark, lake, settings, [SPECS[t] for t in tables], list(days)))


def failed(results: list[CheckResult]) -> list[tuple[str, str, date]]:
    """But for what is so on good data: one of the few clicks of the bad day has no item."""
    found = [(r.check.table, r.check.name, r.day) for r in results if not r.passed]
    return [one for one in found if one not in FEW_VALID]


FEW_VALID = [(table.name, "valid_share", BAD_DAY) for table in (UNIFIED_ACTIONS, TRAINING_INPUT)]


def only(results: list[CheckResult], name: str, day: date) -> CheckResult:
    (result,) = [r for r in results if (r.check.name, r.day) == (name, day)]
    return result


def test_every_error_level_check_has_a_planted_fault() -> None:
    checks = {
        (c.table, c.name) for s in PLANTED.values() for c in s.checks if c.severity == "error"
    }
    # Which is not in the files of a day but beside them; and what test_watches.py plants.
    planted_elsewhere = {(table, "valid_share") for table, _, _ in FEW_VALID}
    planted_elsewhere |= {(table, name) for table, name in checks if name == "ranges"}
    assert {(fault.table, fault.check) for fault in FAULTS} == checks - planted_elsewhere


def test_nothing_fails_on_good_data(spark: SparkSession, tiny: Path) -> None:
    results = check(spark, Lake.at(tiny), *PLANTED, days=IMPRESSION_DAYS)
    assert failed(results) == []
    checked = {(r.check.table, r.check.name, r.day) for r in results}
    assert checked == {
        (c.table, c.name, day)
        for s in PLANTED.values()
        for c in s.checks
        for day in IMPRESSION_DAYS
    }
    assert len(results) == len(checked)


@planting(ON_BOTH_ENGINES)
def test_planted_fault_fails_exactly_its_check_on_both_engines(
    spark: SparkSession, lake: Lake, fault: Fault
) -> None:
    plant_and_expect_failure(spark, lake, fault)


@on_sail_only
@planting(ON_SAIL)
def test_planted_fault_fails_exactly_its_check(
    spark: SparkSession, lake: Lake, fault: Fault
) -> None:
    plant_and_expect_failure(spark, lake, fault)


def plant_and_expect_failure(spark: SparkSession, lake: Lake, fault: Fault) -> None:
    fault.plant(lake, fault.table)
    results = check(spark, lake, fault.table)
    assert failed(results) == [(fault.table, fault.check, BAD_DAY)]
    result = only(results, fault.check, BAD_DAY)
    assert str(BAD_DAY) in result.message
    assert fault.says in result.message
    assert result.metrics == {**result.metrics, **fault.metrics}


@on_sail_only
def test_two_faults_of_a_day_fail_both_checks(spark: SparkSession, lake: Lake) -> None:
    set_history(SHORT, SHORT_ACTIONS[1:])(lake, CUSTOMER_HISTORY.name)
    set_history(TIED, TIED_ACTIONS[::-1])(lake, CUSTOMER_HISTORY.name)
    results = check(spark, lake, CUSTOMER_HISTORY.name)
    names = ("leakage", "order_and_ties")
    assert failed(results) == [(CUSTOMER_HISTORY.name, name, BAD_DAY) for name in names]
    messages = [only(results, name, BAD_DAY).message for name in names]
    assert [m.rpartition("for example of customers ")[2] for m in messages] == ["2.", "6."]


@on_sail_only
def test_a_wrong_history_is_found_where_it_lies_and_where_it_is_missed(
    spark: SparkSession, lake: Lake
) -> None:
    leak = set_history(SHORT, [(202, 1, 0), *SHORT_ACTIONS[1:]])
    leak(lake, CUSTOMER_HISTORY.name)
    results = check(spark, lake, CUSTOMER_HISTORY.name, TRAINING_INPUT.name)
    # The training rows are still right, but no longer those of the history that is published.
    assert failed(results) == [
        (CUSTOMER_HISTORY.name, "leakage", BAD_DAY),
        (TRAINING_INPUT.name, "leakage", BAD_DAY),
        (TRAINING_INPUT.name, "up_to_date", BAD_DAY),
    ]


@on_sail_only
def test_history_that_cannot_be_read_fails_what_is_compared_with_it_and_no_other_day(
    spark: SparkSession, lake: Lake
) -> None:
    on_file(halve_file)(lake, CUSTOMER_HISTORY.name)
    results = check(spark, lake, CUSTOMER_HISTORY.name, TRAINING_INPUT.name)
    rows = ("sequence_length", "padding", "leakage", "order_and_ties")
    names = [(CUSTOMER_HISTORY.name, "schema"), *((TRAINING_INPUT.name, name) for name in rows)]
    assert failed(results) == [(*name, BAD_DAY) for name in names]
    messages = [r.message for r in results if r.check.table == TRAINING_INPUT.name]
    message = next(message for message in messages if "cannot be checked" in message)
    (file,) = paths_of(lake, CUSTOMER_HISTORY.name, BAD_DAY)
    assert message.startswith(f"{BAD_DAY} cannot be checked: {file}: ")


@on_sail_only
def test_days_compared_one_after_the_other_are_judged_alike(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_HISTORIES_AT_ONCE", 1)
    set_history(SHORT, SHORT_ACTIONS[1:])(lake, CUSTOMER_HISTORY.name)
    results = check(spark, lake, CUSTOMER_HISTORY.name, days=IMPRESSION_DAYS)
    assert failed(results) == [(CUSTOMER_HISTORY.name, "leakage", BAD_DAY)]
    checked = [
        only(results, "leakage", day).metrics["histories_checked"] for day in IMPRESSION_DAYS
    ]
    histories = [only(results, "leakage", day).metrics["histories"] for day in IMPRESSION_DAYS]
    assert checked == histories


@on_sail_only
def test_actions_that_cannot_be_read_fail_the_histories_that_need_them(
    spark: SparkSession, lake: Lake
) -> None:
    broken = BAD_DAY - timedelta(days=SETTINGS.lookback_days)
    on_file(halve_file)(lake, UNIFIED_ACTIONS.name, broken)
    results = check(spark, lake, CUSTOMER_HISTORY.name)
    names = ("leakage", "order_and_ties")
    assert failed(results) == [(CUSTOMER_HISTORY.name, name, BAD_DAY) for name in names]
    message = only(results, "leakage", BAD_DAY).message
    (file,) = paths_of(lake, UNIFIED_ACTIONS.name, broken)
    assert message.startswith(f"{BAD_DAY} cannot be checked: {file}: ")


@on_sail_only
def test_actions_that_are_not_as_declared_fail_the_histories_that_need_them(
    spark: SparkSession, lake: Lake
) -> None:
    other = BAD_DAY - timedelta(days=1)
    cast_column("item_id", pa.int64())(lake, UNIFIED_ACTIONS.name, other)
    results = check(spark, lake, CUSTOMER_HISTORY.name, days=[other, BAD_DAY])
    names = ("leakage", "order_and_ties", "up_to_date")
    assert failed(results) == [(CUSTOMER_HISTORY.name, name, BAD_DAY) for name in names]
    message = only(results, "leakage", BAD_DAY).message
    assert message.startswith(
        f"{BAD_DAY} cannot be checked: unified_actions: day {other} is not as declared: part-00000"
    )


@on_sail_only
def test_day_that_is_not_published_fails_all_its_checks(spark: SparkSession, lake: Lake) -> None:
    unpublish(lake, CUSTOMER_HISTORY.name, BAD_DAY)
    results = check(spark, lake, CUSTOMER_HISTORY.name)
    assert failed(results) == [
        (c.table, c.name, BAD_DAY) for c in SPECS[CUSTOMER_HISTORY.name].checks
    ]
    assert f"day {BAD_DAY} is not published" in only(results, "leakage", BAD_DAY).message


@on_sail_only
def test_a_window_without_a_quiet_day_warns_and_names_it(spark: SparkSession, lake: Lake) -> None:
    unpublish(lake, UNIFIED_ACTIONS.name, QUIET_DAY)
    results = check(spark, lake, CUSTOMER_HISTORY.name, days=[BAD_DAY])
    names = ("history_window", "up_to_date")
    assert failed(results) == [(CUSTOMER_HISTORY.name, name, BAD_DAY) for name in names]
    said = only(results, "up_to_date", BAD_DAY).message
    assert said.startswith(
        f"customer_history of {BAD_DAY} is out of date: it cannot be built any more: "
        f"customer_history: 1 day of the look-back of {BAD_DAY} is not published in "
        f"unified_actions: {QUIET_DAY}; "
    )
    warning = only(results, "history_window", BAD_DAY)
    assert warning.check.severity == "warn"
    assert warning.message == (
        f"1 of 20 days of the look-back window of {BAD_DAY} are not in unified_actions: "
        f"{QUIET_DAY}."
    )
    assert warning.metrics["missing_days"] == 1


@on_sail_only
def test_a_window_without_a_day_of_actions_fails_the_histories_that_hold_them(
    spark: SparkSession, lake: Lake
) -> None:
    unpublish(lake, UNIFIED_ACTIONS.name, BAD_DAY - timedelta(days=1))
    results = check(spark, lake, CUSTOMER_HISTORY.name, days=[BAD_DAY - timedelta(days=1), BAD_DAY])
    # Rightly: what the histories hold of that day is no longer among the actions.
    assert failed(results) == [
        (CUSTOMER_HISTORY.name, "leakage", BAD_DAY),
        (CUSTOMER_HISTORY.name, "history_window", BAD_DAY),
        (CUSTOMER_HISTORY.name, "up_to_date", BAD_DAY),
    ]


@on_sail_only
@pytest.mark.parametrize(("rows", "warns"), [(8, False), (7, True)])
def test_a_drop_of_more_than_a_fifth_warns(
    spark: SparkSession, tmp_path: Path, rows: int, warns: bool
) -> None:
    days = IMPRESSION_DAYS[1:]
    counts = dict.fromkeys(days[:-1], 10) | {days[-1]: rows}
    clicks = [click(SHORT, 5, day, at(day)) for day in days for _ in range(counts[day])]
    lake = Lake.at(write_raw_lake(tmp_path, [], clicks, impression_days=[], action_days=days))
    build(spark, lake, [UNIFIED_ACTIONS], days)
    results = check(spark, lake, UNIFIED_ACTIONS.name, days=days)
    assert failed(results) == [(UNIFIED_ACTIONS.name, "volume", days[-1])] * warns
    outcome = only(results, "volume", days[-1])
    assert outcome.check.severity == "warn"
    assert (outcome.metrics["clicks_rows"], outcome.metrics["clicks_expected"]) == (rows, 10)
    expected = f"Fewer rows than usual on {days[-1]}: clicks: 7 rows, expected about 10."
    assert outcome.message == expected * warns


@on_sail_only
def test_above_a_size_a_sample_is_checked_that_is_the_same_each_time(
    spark: SparkSession, lake: Lake
) -> None:
    settings = replace(SETTINGS, check_customers=5)
    # The smaller day is checked in full beside the larger one.
    on_rows(lambda rows: rows[:5])(lake, CUSTOMER_HISTORY.name, DAY_AFTER)
    on_rows(lambda rows: [row | {"action_days_ago": row["action_types"]} for row in rows])(
        lake, CUSTOMER_HISTORY.name
    )

    def sampled(*days: date) -> list[tuple[Any, ...]]:
        results = check(spark, lake, CUSTOMER_HISTORY.name, days=days, settings=settings)
        names = ("histories_checked", "histories", "wrong_histories")
        leakage = [only(results, "leakage", day).metrics for day in days]
        return [tuple(metrics[name] for name in names) for metrics in leakage]

    both = sampled(BAD_DAY, DAY_AFTER)
    assert both == [(6, 9, 4), (5, 5, 0)]
    assert sampled(BAD_DAY) == both[:1]
