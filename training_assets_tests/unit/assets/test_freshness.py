"""Freshness by the newest event of a source, as Dagster judges what was observed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from training_assets.assets.freshness import LAST_UPDATED, freshness_checks
from training_assets.assets.raw import raw_key
from training_assets.lake import Lake
from training_assets.monitoring.freshness import newest_event
from training_assets.schemas import CLICKS, IMPRESSIONS
from training_assets.settings import Settings

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


def observed(source: str, at: datetime) -> dg.AssetObservation:
    stamp = dg.MetadataValue.timestamp(at.timestamp())
    return dg.AssetObservation(raw_key(source), metadata={LAST_UPDATED: stamp})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Clicks of two days, one of them stamped in the future; impressions tell no time."""
    for day, times in (("28", ("23:00",)), ("29", ("10:30", "09:00", "13:00"))):
        folder = tmp_path / "raw" / "clicks" / f"dt=2026-03-{day}"
        folder.mkdir(parents=True)
        rows = "".join(f"1,1,2026-03-{day}T{time}:00Z\n" for time in times)
        (folder / "a.csv").write_text(f"customer_id,item_id,click_time\n{rows}")
    (tmp_path / "raw" / "impressions" / "dt=2026-03-28").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")
def test_the_newest_event_is_that_of_the_newest_day_and_not_of_the_future(
    spark: SparkSession, root: Path
) -> None:
    found = newest_event(spark, Lake.at(root), CLICKS, NOON)
    assert found is not None
    assert found.at == datetime(2026, 3, 29, 10, 30, tzinfo=UTC)
    shown = newest_event(spark, Lake.at(root), IMPRESSIONS, NOON)
    assert shown is not None
    assert shown.at == datetime(2026, 3, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "warns", "fails"), [(1, False, False), (8, True, False), (25, True, True)]
)
def test_six_hours_warn_and_a_day_fails(root: Path, hours: int, warns: bool, fails: bool) -> None:
    checks = freshness_checks(Settings(lake=str(root)))
    defs = dg.Definitions(
        assets=[dg.AssetSpec(["raw", "clicks"]), dg.AssetSpec(["raw", "impressions"])],
        asset_checks=checks,
        jobs=[dg.define_asset_job("fresh", selection=dg.AssetSelection.all_asset_checks())],
    )
    at = datetime.now(UTC) - timedelta(hours=hours)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(observed("clicks", at))
        instance.report_runless_asset_event(observed("impressions", datetime.now(UTC)))
        result = defs.resolve_job_def("fresh").execute_in_process(instance=instance)
    found = {
        evaluation.check_name: (evaluation.passed, evaluation.severity)
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.asset_key == dg.AssetKey(["raw", "clicks"])
    }
    assert found["fresh_within_6_hours"] == (not warns, dg.AssetCheckSeverity.WARN)
    assert found["freshness_check"] == (not fails, dg.AssetCheckSeverity.ERROR)
