"""Runs over large days, which go by way of the disk: killed in their middle, local and on S3."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.tables.build import RUNS, vacuum_runs
from training_assets_tests.support.large_days import (
    CUSTOMERS,
    DAYS,
    build_and_die,
    build_by_way_of_the_disk,
    put_clicks,
)
from training_assets_tests.support.processes import start, was_killed

pytestmark = pytest.mark.parametrize("engine", ["sail"], indirect=True)


@pytest.mark.parametrize(("place", "fatal"), [("local", "parts"), ("s3", "runs")])
def test_a_run_that_is_killed_in_a_large_day_leaves_all_days_as_they_were(
    spark: SparkSession, root: Path, request: pytest.FixtureRequest, place: str, fatal: str
) -> None:
    url = str(root) if place == "local" else request.getfixturevalue("s3_server").new_url()
    lake = Lake.at(url)
    put_clicks(lake, item=5)
    require_published(spark, lake, item=5)
    assert lake.store.list(RUNS) == []
    put_clicks(lake, item=6)
    before = {day: lake.snapshot("unified_actions").content(day) for day in DAYS}
    assert was_killed(start(build_and_die, url, fatal))
    left = lake.store.list(RUNS)
    assert len(left) >= 2
    lake.refresh()
    assert {day: lake.snapshot("unified_actions").content(day) for day in DAYS} == before
    assert rows_of(lake) == dict.fromkeys(DAYS, clicks_on(5))
    # What it left is no row of the next run, and goes with the vacuum.
    require_published(spark, lake, item=6)
    assert lake.store.list(RUNS) == left
    assert vacuum_runs(lake, keep=timedelta(0), dry_run=False)[0] == len(left)
    assert lake.store.list(RUNS) == []
    if place == "local":
        assert list((root / RUNS).iterdir()) == []


def require_published(spark: SparkSession, lake: Lake, item: int) -> None:
    reports = build_by_way_of_the_disk(spark, lake)
    assert [report.problem for report in reports] == [None] * len(DAYS)
    lake.refresh()
    assert rows_of(lake) == dict.fromkeys(DAYS, clicks_on(item))
    assert all(len(lake.snapshot("unified_actions").files[day]) > 1 for day in DAYS)


def clicks_on(item: int) -> Counter[tuple[int, int]]:
    return Counter((customer, item) for customer in range(CUSTOMERS))


def rows_of(lake: Lake) -> dict[object, Counter[tuple[int, int]]]:
    found = lake.snapshot("unified_actions")
    return {
        day: Counter(
            (row["customer_id"], row["item_id"])
            for uri in found.uris(day)
            for row in SealedParquet(uri).read().to_pylist()
        )
        for day in DAYS
    }
