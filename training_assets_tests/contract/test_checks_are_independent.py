"""What the build gets wrong of the look-back, the leakage check does not get wrong with it."""

import shutil
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.pipeline import build_days
from training_assets.settings import Settings
from training_assets.tables import customer_history
from training_assets_tests.support.lakes import (
    ACTION_DAYS,
    IMPRESSION_DAYS,
    SETTINGS,
    write_tiny_lake,
)
from training_assets_tests.support.tables import SEQUENCE

BAD_DAY = IMPRESSION_DAYS[2]
ACTIONS, HISTORIES, _ = SEQUENCE.values()
window_days = customer_history.window_days
window_start = Settings.window_start
build_histories = customer_history.build_histories

on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)


@pytest.fixture(scope="module")
def actions(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with all actions published; not to be changed."""
    root = write_tiny_lake(tmp_path_factory.mktemp("lake"))
    reports = list(build_days(spark, Lake.at(root), SETTINGS, [ACTIONS], ACTION_DAYS))
    assert not any(report.problem for report in reports)
    return root


@pytest.fixture
def lake(actions: Path, tmp_path: Path) -> Lake:
    return Lake.at(shutil.copytree(actions, tmp_path / "lake"))


def problem(spark: SparkSession, lake: Lake) -> str:
    (report,) = build_days(spark, lake, SETTINGS, [HISTORIES], [BAD_DAY])
    assert (report.problem is None) == (BAD_DAY in lake.snapshot(HISTORIES.name).files)
    return report.problem or ""


def days_but_the_newest(settings: Settings, days: Sequence[date], day: date) -> list[date]:
    return window_days(settings, days, day)[:-1]


def days_without_any(settings: Settings, days: Sequence[date], day: date) -> list[date]:
    return []


def one_day_later(settings: Settings, day: date) -> date | None:
    start = window_start(settings, day)
    return start and start + timedelta(days=1)


def one_day_earlier(settings: Settings, day: date) -> date | None:
    start = window_start(settings, day)
    return start and start - timedelta(days=1)


def beyond_the_lookback(*files: Any, lookback_days: int, **knobs: Any) -> Any:
    return build_histories(*files, lookback_days=lookback_days + 1, **knobs)


@on_sail_only
def test_what_is_built_as_it_should_be_is_published(spark: SparkSession, lake: Lake) -> None:
    assert problem(spark, lake) == ""


@on_sail_only
@pytest.mark.parametrize("window", [days_but_the_newest, days_without_any])
def test_days_that_the_build_does_not_read_are_missed_by_the_check(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch, window: Any
) -> None:
    monkeypatch.setattr(customer_history, "window_days", window)
    assert problem(spark, lake).startswith("leakage: ")


@on_sail_only
def test_a_window_that_begins_too_late_is_seen(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "window_start", one_day_later)
    assert problem(spark, lake).startswith("leakage: 1 of 9 histories")


@on_sail_only
def test_a_window_that_begins_too_early_is_seen(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "window_start", one_day_earlier)
    monkeypatch.setattr(customer_history, "build_histories", beyond_the_lookback)
    found = problem(spark, lake)
    assert found.startswith("leakage: 1 of 9 histories")
    assert "1 histories beyond the look-back" in found
