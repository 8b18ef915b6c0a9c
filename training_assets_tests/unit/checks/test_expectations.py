"""Valid share and the window of published days, on lakes without any build."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from training_assets.checks import (
    CheckContext,
    CheckOutcome,
    check_history_window,
    check_valid_share,
)
from training_assets.lake import Lake, new_run
from training_assets.schemas import (
    ACTION_SOURCES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings
from training_assets_tests.support.frames import DAY, at, before, click
from training_assets_tests.support.lakes import write_raw_lake
from training_assets_tests.support.planting import publish_day, put_rejects, table_of, write_day

SETTINGS = Settings(history_length=2, lookback_days=20)
on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(tmp_path / "lake")


def actions(clicks: int = 0, carts: int = 0, orders: int = 0) -> pa.Table:
    types = [1] * clicks + [2] * carts + [3] * orders
    rows = (
        {"customer_id": 1, "item_id": 1, "action_type": t, "occurred_at": at(DAY)} for t in types
    )
    return table_of(UNIFIED_ACTIONS, rows)


def shown(rows: int) -> pa.Table:
    row = {
        "customer_id": 1,
        "ranking_id": "a",
        "impression_item_id": 3,
        "is_order": 0,
        "action_items": [0, 0],
        "action_types": [0, 0],
    }
    return table_of(TRAINING_INPUT, [row] * rows)


def context(
    spark: SparkSession,
    lake: Lake,
    table: Table = UNIFIED_ACTIONS,
    sources: tuple[Table, ...] = ACTION_SOURCES,
    *,
    days: tuple[date, ...] = (DAY,),
    **knobs: Any,
) -> CheckContext:
    return CheckContext(spark, lake, replace(SETTINGS, **knobs), table, days, sources)


def valid_share(spark: SparkSession, lake: Lake, **knobs: Any) -> CheckOutcome:
    return check_valid_share(context(spark, lake, **knobs))[DAY]


@on_sail_only
@pytest.mark.parametrize(
    ("clicks", "rejects", "severity"),
    [(99, 1, None), (98, 2, "warn"), (90, 10, "warn"), (89, 11, "error"), (0, 1, "error")],
)
def test_few_valid_rows_of_a_source_warn_and_fewer_block(
    spark: SparkSession, lake: Lake, clicks: int, rejects: int, severity: str | None
) -> None:
    rows = actions(clicks, carts=1000)
    publish_day(lake, UNIFIED_ACTIONS, DAY, rows, rejects={"clicks": rejects})
    outcome = valid_share(spark, lake)
    assert (outcome.passed, outcome.severity) == (severity is None, severity)
    assert outcome.metrics["clicks_valid_share"] == clicks / (clicks + rejects)
    assert outcome.metrics["add_to_carts_valid_share"] == 1
    # Of orders there is nothing that could be valid.
    assert "previous_orders_valid_share" not in outcome.metrics
    if severity:
        share = f"{100 * clicks // (clicks + rejects)} %"
        assert outcome.message == (
            f"Few valid rows on {DAY}: clicks has {clicks} of {clicks + rejects} valid ({share}); "
            "expected 99 % or more, and at least 90 %."
        )


@on_sail_only
def test_a_day_of_which_rows_came_and_none_is_valid_blocks_whatever_the_settings(
    spark: SparkSession, lake: Lake
) -> None:
    publish_day(lake, UNIFIED_ACTIONS, DAY, actions(orders=5), rejects={"clicks": 1})
    outcome = valid_share(spark, lake, min_valid_share=0.0)
    assert (outcome.passed, outcome.severity) == (False, "error")


@on_sail_only
def test_the_least_share_is_a_setting(spark: SparkSession, lake: Lake) -> None:
    publish_day(lake, UNIFIED_ACTIONS, DAY, actions(50), rejects={"clicks": 50})
    assert valid_share(spark, lake, min_valid_share=0.5).severity == "warn"
    assert valid_share(spark, lake, min_valid_share=0.51).severity == "error"


@on_sail_only
def test_a_day_without_rows_has_no_share(spark: SparkSession, lake: Lake) -> None:
    publish_day(lake, UNIFIED_ACTIONS, DAY, actions())
    assert valid_share(spark, lake) == CheckOutcome(True, {})


@on_sail_only
def test_items_of_impressions_are_counted_against_training_rows(
    spark: SparkSession, lake: Lake
) -> None:
    publish_day(lake, TRAINING_INPUT, DAY, shown(5), shown(3), rejects={"impressions": 2})
    found = check_valid_share(context(spark, lake, TRAINING_INPUT, (IMPRESSIONS,)))[DAY]
    assert (found.passed, found.severity) == (False, "error")
    assert found.metrics == {"impressions_valid_share": 0.8}


@on_sail_only
def test_a_day_that_is_not_published_yet_is_judged_by_what_its_run_set_aside(
    spark: SparkSession, lake: Lake
) -> None:
    publish_day(lake, UNIFIED_ACTIONS, DAY, actions(1), rejects={"clicks": 9})
    run = new_run()
    new = write_day(lake, UNIFIED_ACTIONS, DAY, [actions(8), actions(1)], run)
    put_rejects(lake, UNIFIED_ACTIONS, DAY, run, "clicks", 1)
    written = replace(context(spark, lake), written={DAY: new.files}, run=run)
    assert check_valid_share(written)[DAY].metrics["clicks_valid_share"] == 0.9
    assert valid_share(spark, lake).metrics["clicks_valid_share"] == 0.1


# --- the window -----------------------------------------------------------------------------------


@on_sail_only
def test_days_that_lack_in_the_window_are_listed_in_one_line(
    spark: SparkSession, tmp_path: Path
) -> None:
    days = [before(n) for n in range(29, -1, -1)]
    clicks = [click(1, 1, day, at(day)) for day in days]
    lake = Lake.at(write_raw_lake(tmp_path, [], clicks, impression_days=[], action_days=days))
    for n in (21, 20, 18, 17, 15, 1):
        publish_day(lake, UNIFIED_ACTIONS, before(n), actions(1))
    outcome = check_history_window(context(spark, lake, CUSTOMER_HISTORY, ()))[DAY]
    assert outcome.message == (
        f"15 of 20 days of the look-back window of {DAY} are not in unified_actions: {before(19)}, "
        f"{before(16)}, {before(14)}..{before(2)}."
    )
    assert outcome.metrics == {
        "window_start": str(before(20)),
        "window_days": 20,
        "missing_days": 15,
    }


@on_sail_only
def test_the_window_begins_with_the_first_day_of_any_source(
    spark: SparkSession, tmp_path: Path
) -> None:
    days = [before(2), before(1)]
    lake = Lake.at(write_raw_lake(tmp_path, [], [], impression_days=[], action_days=days))
    for lookback in (20, None):
        found = context(spark, lake, CUSTOMER_HISTORY, (), lookback_days=lookback)
        outcome = check_history_window(found)[DAY]
        assert outcome.metrics["window_start"] == str(before(2))
        assert outcome.metrics["missing_days"] == 2


@on_sail_only
def test_before_there_are_any_actions_no_day_lacks(spark: SparkSession, lake: Lake) -> None:
    outcome = check_history_window(context(spark, lake, CUSTOMER_HISTORY, ()))[DAY]
    assert outcome.passed
    assert outcome.metrics["window_days"] == 0
