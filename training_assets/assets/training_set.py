"""What a training run is given after its days are built: splits, an export, and the report.

tables of the last 14 days ──> training_set: splits.json, exports/samples-….parquet, reports/….html
"""

from collections.abc import Sequence
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg

from training_assets.errors import DayNotPublishedError
from training_assets.lake import Lake, day_range
from training_assets.loader.parts import SPLITS, Counted, split_days
from training_assets.monitoring.report import render_report, report_path
from training_assets.monitoring.report_data import DayOfReport, collect_report
from training_assets.sampling.export import export_samples
from training_assets.schemas import TRAINING_SAMPLES
from training_assets.settings import Settings
from training_assets.splits import exact_ratios
from training_assets.tables import SPECS
from training_assets.tables.watched import watched_tables

TRAINING_SET: Final = "training_set"
REPORT: Final = "report"
DAYS: Final = 14
_RATIOS: Final = (0.7, 0.1, 0.2)


class ReportConfig(dg.Config):
    """Of which day; the newest published one where none is named."""

    day: str = ""


class RangeConfig(dg.Config):
    """The last day, by default the newest one of the samples, and how many."""

    end_date: str = ""
    days: int = DAYS


def page_of(lake: Lake, settings: Settings, day: date | None = None) -> tuple[DayOfReport, bytes]:
    """What the watches see of a day, the newest published one where none is named, and its page.

    Raises ``DayNotPublishedError`` where none is named and none is published.
    """
    if day is None:
        newest = [max(days) for name in SPECS if (days := lake.days(name))]
        if not newest:
            raise DayNotPublishedError(
                f"report: no day is published under {lake.store.url}; expected one to report on. "
                "Run training-assets run first."
            )
        day = max(newest)
    found = collect_report(lake, settings, watched_tables(SPECS.values()), day)
    return found, render_report(found, lake.store.url).encode()


def write_report(lake: Lake, settings: Settings, day: date | None = None) -> tuple[str, int, int]:
    """Its path in the lake, its bytes, and how many watches speak."""
    found, page = page_of(lake, settings, day)
    path = report_path(found.day)
    lake.store.put(path, page)
    return path, len(page), len(found.failed)


def make_training_set(lake: Lake, settings: Settings, days: Sequence[date]) -> dict[str, Any]:
    """Splits and export of the samples of the days, and the report of the last one.

    Raises ``DayNotPublishedError`` where the samples lack one of them.
    """
    table = TRAINING_SAMPLES.name
    snapshot = lake.snapshot(table)
    counted = []
    for day in days:
        manifest = snapshot.manifest(day)
        counted.append(Counted(day, manifest["rows"], manifest["figures"].get("positives", 0)))
    found = split_days(
        counted,
        exact_ratios(_RATIOS),
        table=table,
        gap_days=0,
        left_out=[],
        versions={name: v for name in SPECS if (v := lake.snapshot(name).version) >= 0},
    )
    lake.store.put(SPLITS, found.as_json())
    export = f"exports/samples-{days[0]}-{days[-1]}.parquet"
    if lake.store.is_local:
        Path(lake.store.uri("exports")).mkdir(parents=True, exist_ok=True)
    rows = export_samples(
        snapshot, SPECS[table].table, list(days), lake.store.uri(export), "parquet"
    )
    path, size, speaking = write_report(lake, settings, days[-1])
    return {
        "splits": lake.store.uri(SPLITS),
        "export": lake.store.uri(export),
        "rows": rows,
        "report": lake.store.uri(path),
        "report_bytes": size,
        "watches_that_speak": speaking,
        **{f"{part}_rows": values["rows"] for part, values in found.parts.items()},
    }


def report_asset(settings: Settings) -> dg.AssetsDefinition:
    """The page of one day, and where it lies."""

    @dg.asset(
        name=REPORT,
        group_name="lake",
        deps=[dg.AssetKey(name) for name in SPECS],
        kinds={"html"},
        description="What the watches see of a day, as one HTML page: volume, valid rows, drift "
        "with histograms now and before, nulls, lengths, labels, latency.",
    )
    def _report(config: ReportConfig) -> dg.MaterializeResult:
        lake = Lake.at(settings.lake)
        day = date.fromisoformat(config.day) if config.day else None
        path, size, speaking = write_report(lake, settings, day)
        return dg.MaterializeResult(
            metadata={"page": _place(lake, path), "bytes": size, "watches_that_speak": speaking}
        )

    return _report


def training_set_asset(settings: Settings) -> dg.AssetsDefinition:
    """Splits, export and report over the last days of the samples."""

    @dg.asset(
        name=TRAINING_SET,
        group_name="training",
        deps=[dg.AssetKey(TRAINING_SAMPLES.name)],
        kinds={"parquet"},
        description="What a training run is given: splits.json, the samples as one file, and the "
        "report of the last day.",
    )
    def _training_set(config: RangeConfig) -> dg.MaterializeResult:
        lake = Lake.at(settings.lake)
        published = lake.days(TRAINING_SAMPLES.name)
        last = date.fromisoformat(config.end_date) if config.end_date else max(published)
        first = max(last - timedelta(days=config.days - 1), min(published))
        return dg.MaterializeResult(
            metadata=make_training_set(lake, settings, day_range(first, last))
        )

    return _training_set


def weekly_schedule(job: Any, run_config: dict[str, Any]) -> dg.ScheduleDefinition:
    """Off until a person starts it: the 14 days up to yesterday, then the training set."""

    @dg.schedule(
        name="weekly_training_schedule",
        job=job,
        cron_schedule="0 4 * * 1",
        description="Every Monday at 04:00 UTC: the last 14 days of all tables, splits, export, "
        "report.",
    )
    def _weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        last = context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)
        return dg.RunRequest(run_key=str(last), tags=range_tags(last), run_config=run_config)

    return _weekly


def range_tags(last: date, days: int = DAYS) -> dict[str, str]:
    """The tags of a run over that many days up to ``last``."""
    first = last - timedelta(days=days - 1)
    return {
        "dagster/asset_partition_range_start": str(first),
        "dagster/asset_partition_range_end": str(last),
    }


def _place(lake: Lake, path: str) -> dg.MetadataValue[Any]:
    uri = lake.store.uri(path)
    return dg.MetadataValue.url(Path(uri).as_uri() if lake.store.is_local else uri)
