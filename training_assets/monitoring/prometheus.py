"""What Prometheus is told of a lake, as its text format: gauges of the newest published day.

Read from what is recorded with the days, so that a scrape costs a few small reads and no engine.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from training_assets.lake import Lake
from training_assets.monitoring.profile import Profile
from training_assets.monitoring.recorded import recorded_profiles
from training_assets.monitoring.report_data import latency_hours
from training_assets.monitoring.rows_by_source import rows_by_source
from training_assets.monitoring.watches import BASE_DAYS, Watched, drift_of, growing_features
from training_assets.settings import Settings

METRICS: Final = {
    "training_assets_published_days": "Days of the table that are published.",
    "training_assets_newest_day_timestamp_seconds": "Start of the newest published day, UTC.",
    "training_assets_day_rows": "Rows of the newest published day by source.",
    "training_assets_day_bytes": "Bytes of the newest published day.",
    "training_assets_day_quarantined_rows": "Rows of the newest day that were set aside.",
    "training_assets_day_valid_share": "Share of the source's rows that could be used, 0 to 1.",
    "training_assets_day_positives_share": "Share of positives among the rows, 0 to 1.",
    "training_assets_day_latency_seconds": "From the day's newest event until it was built.",
    "training_assets_day_stage_seconds": "Seconds that a step took for the day.",
    "training_assets_newest_event_timestamp_seconds": "Newest event of the newest day.",
    "training_assets_feature_psi": "Population stability index against the 28 days before.",
    "training_assets_column_null_share": "Share of rows without a value, 0 to 1.",
}


class Sample(NamedTuple):
    """One value of a metric; labels in the order in which they are shown."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    value: float


def lake_metrics(lake: Lake, settings: Settings, watched: Sequence[Watched]) -> str:
    """All metrics of the lake in the text format; a table without days has only their number."""
    samples = [sample for watch in watched for sample in _of_table(lake, settings, watch)]
    lines = []
    for metric, text in METRICS.items():
        of_metric = [sample for sample in samples if sample.metric == metric]
        if of_metric:
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge"]
        for sample in of_metric:
            labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
            lines.append(f"{metric}{{{labels}}} {_number(sample.value)}")
    return "\n".join(lines) + "\n"


def _of_table(lake: Lake, settings: Settings, watch: Watched) -> Iterator[Sample]:
    name = watch.built_from.table.name
    days = lake.days(name)

    def sample(metric: str, value: float, **labels: str) -> Sample:
        return Sample(f"training_assets_{metric}", (("table", name), *labels.items()), value)

    yield sample("published_days", len(days))
    if not days:
        return
    day = days[-1]
    manifest = lake.manifest(name, day)
    base = [of for of in days if day - timedelta(days=BASE_DAYS) <= of < day]
    profiles = recorded_profiles(lake, name, [day, *base])
    now = profiles.pop(day, None)
    rows = rows_by_source(now) if now else {"table": int(manifest.get("rows", 0))}
    figures = manifest.get("figures", {})
    yield sample("newest_day_timestamp_seconds", _timestamp(day))
    yield sample("day_bytes", manifest.get("bytes", 0))
    for source, count in rows.items():
        yield sample("day_rows", count, source=source)
    for source, bad in figures.get("quarantined", {}).items():
        good = rows.get(source, int(manifest.get("rows", 0)))
        yield sample("day_quarantined_rows", bad, source=source)
        if good + bad:
            yield sample("day_valid_share", good / (good + bad), source=source)
    if figures.get("positives") is not None and manifest.get("rows"):
        yield sample("day_positives_share", figures["positives"] / manifest["rows"])
    if (hours := latency_hours(day, manifest, now)) is not None:
        yield sample("day_latency_seconds", hours * 3600)
    for step, seconds in manifest.get("seconds", {}).items():
        yield sample("day_stage_seconds", seconds, step=step)
    if now is None:
        return
    if now.newest:
        yield sample("newest_event_timestamp_seconds", max(now.newest.values()) / 1e6)
    for column, counted in now.columns.items():
        share = counted.nulls / now.rows if now.rows else 0.0
        yield sample("column_null_share", share, column=column)
    yield from _psi(lake, settings, watch, day, now, profiles)


def _psi(
    lake: Lake,
    settings: Settings,
    watch: Watched,
    day: date,
    now: Profile,
    base: dict[date, Profile],
) -> Iterator[Sample]:
    growing = growing_features(lake, settings, watch, day, now)
    for feature, drift in drift_of(day, now, base, growing).items():
        labels = (("table", watch.built_from.table.name), ("feature", feature))
        yield Sample("training_assets_feature_psi", labels, drift.psi)


def _timestamp(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _number(value: float) -> str:
    return f"{value:.10g}" if math.isfinite(value) else "NaN"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
