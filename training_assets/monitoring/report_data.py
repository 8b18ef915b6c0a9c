"""What the report of a day shows: figures of the days before, the watches' verdicts, what drifted.

All of it is read from what is recorded with the published days; no rows are read, and no engine is
needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, cast

from training_assets.checks import CheckContext, CheckResult, run_checks
from training_assets.errors import DayNotPublishedError
from training_assets.lake import Lake
from training_assets.monitoring.drift import Drift
from training_assets.monitoring.profile import Profile
from training_assets.monitoring.recorded import recorded_profiles
from training_assets.monitoring.rows_by_source import rows_by_source
from training_assets.monitoring.watches import (
    BASE_DAYS,
    Watched,
    drift_of,
    growing_features,
    watches_of,
)
from training_assets.settings import Settings

Series = dict[date, float]
_HOUR: Final = 3600.0


@dataclass
class TableReport:
    """One table on the day, and over the days before it; series are by day, oldest first.

    ``nulls`` are the shares now and before by column, ``growing`` features that are not judged yet.
    """

    name: str
    rows: dict[str, Series] = field(default_factory=dict)
    valid_share: dict[str, Series] = field(default_factory=dict)
    latency_hours: Series = field(default_factory=dict)
    positives_rate: Series = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    nulls: dict[str, tuple[float, float]] = field(default_factory=dict)
    drift: dict[str, Drift] = field(default_factory=dict)
    growing: frozenset[str] = frozenset()
    verdicts: list[CheckResult] = field(default_factory=list)


@dataclass
class DayOfReport:
    """All tables that are published for the day; ``missing`` are not."""

    day: date
    tables: list[TableReport]
    missing: list[str]

    @property
    def failed(self) -> list[CheckResult]:
        """Watches that speak, errors first."""
        found = [result for table in self.tables for result in table.verdicts if not result.passed]
        return sorted(found, key=lambda result: result.severity)


def collect_report(
    lake: Lake, settings: Settings, watched: Sequence[Watched], day: date
) -> DayOfReport:
    """Raises ``DayNotPublishedError`` where no table has the day."""
    names = [watch.built_from.table.name for watch in watched]
    missing = [name for name in names if day not in lake.snapshot(name).files]
    if len(missing) == len(names):
        raise DayNotPublishedError(
            f"report: no table has the day {day} under {lake.store.url}; expected a published day. "
            "Build it, or name another --date."
        )
    tables = [
        _table(lake, settings, watch, day)
        for watch in watched
        if watch.built_from.table.name not in missing
    ]
    return DayOfReport(day, tables, missing)


def _table(lake: Lake, settings: Settings, watch: Watched, day: date) -> TableReport:
    name = watch.built_from.table.name
    found = TableReport(name)
    span = [day - timedelta(days=n) for n in range(BASE_DAYS, -1, -1)]
    published = [of for of in span if of in lake.snapshot(name).files]
    manifests = lake.snapshot(name).manifests(published)
    profiles = recorded_profiles(lake, name, published)
    for of in published:
        _add_day(found, of, manifests[of], profiles.get(of))
    found.seconds = dict(manifests[day].get("seconds", {}))
    now = profiles.get(day)
    if now is None:
        return found
    base = {of: profile for of, profile in profiles.items() if of != day}
    total = Profile.sum([Profile(p.rows, p.columns) for p in base.values()])
    for column, counted in now.columns.items():
        before = total.columns.get(column)
        share = counted.nulls / now.rows if now.rows else 0.0
        found.nulls[column] = (share, before.nulls / total.rows if before and total.rows else share)
    found.drift = drift_of(day, now, base)
    found.growing = growing_features(lake, settings, watch, day, now)
    found.verdicts = _verdicts(lake, settings, watch, day)
    return found


def _add_day(
    found: TableReport, day: date, manifest: Mapping[str, Any], profile: Profile | None
) -> None:
    figures = manifest.get("figures", {})
    rows = rows_by_source(profile) if profile else {"table": int(manifest.get("rows", 0))}
    for source, count in rows.items():
        found.rows.setdefault(source, {})[day] = count
    for source, bad in figures.get("quarantined", {}).items():
        good = rows.get(source, int(manifest.get("rows", 0)))
        if good + bad:
            found.valid_share.setdefault(source, {})[day] = good / (good + bad)
    if figures.get("positives") is not None and manifest.get("rows"):
        found.positives_rate[day] = figures["positives"] / manifest["rows"]
    if (hours := latency_hours(day, manifest, profile)) is not None:
        found.latency_hours[day] = hours


def latency_hours(day: date, manifest: Mapping[str, Any], profile: Profile | None) -> float | None:
    """From the newest event of the day, or its end where there is none, until it was built."""
    if "built_at" not in manifest:
        return None
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    newest = max(profile.newest.values(), default=0) / 1e6 if profile else 0.0
    event = min(newest, end.timestamp()) if newest else end.timestamp()
    return (datetime.fromisoformat(manifest["built_at"]).timestamp() - event) / _HOUR


def _verdicts(lake: Lake, settings: Settings, watch: Watched, day: date) -> list[CheckResult]:
    # What the watches compare is recorded with the days, so that no engine is asked.
    context = CheckContext(
        cast(Any, None),
        lake,
        settings,
        watch.built_from.table,
        (day,),
        watch.built_from.sources_in(lake),
    )
    return list(run_checks(context, watches_of(watch)))
