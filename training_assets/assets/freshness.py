"""Freshness of the raw sources by event time: observations, and the checks that judge them.

A source that is delivered as events happen warns at 6 hours and fails at 24; one that is delivered
once a day, named in TRAINING_ASSETS_DAILY_SOURCES, must have had events of the day before by six.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import dagster as dg
from pyspark.sql import SparkSession

from training_assets.assets.raw import declared_sources, raw_key
from training_assets.engine.resource import SparkResource
from training_assets.errors import SettingsError, TrainingAssetsError
from training_assets.lake import Lake
from training_assets.monitoring.freshness import newest_event
from training_assets.schemas import RAW_TABLES, Table
from training_assets.settings import Settings
from training_assets.sources import source_days

NEWEST_EVENTS: Final = "newest_events"
LAST_UPDATED: Final = "dagster/last_updated_timestamp"
WARN_AFTER: Final = timedelta(hours=6)
FAIL_AFTER: Final = timedelta(hours=24)
DEADLINE: Final = "0 6 * * *"
_DAILY: Final = "TRAINING_ASSETS_DAILY_SOURCES"


def newest_events_asset(settings: Settings) -> dg.AssetsDefinition:
    """Each materialization observes every raw source that has days."""
    tables = _observed(settings)

    @dg.asset(
        name=NEWEST_EVENTS,
        group_name="raw",
        deps=[raw_key(name) for name in tables],
        description="Looks when the newest event of each raw source was, and records it as an "
        "observation of the source, by which its freshness is judged.",
    )
    def _newest_events(
        context: dg.AssetExecutionContext, spark: SparkResource
    ) -> dg.MaterializeResult:
        found = observe_sources(context, spark.spark_session, settings, tables)
        return dg.MaterializeResult(metadata={"newest": dg.MetadataValue.json(found)})

    return _newest_events


def observe_sources(
    context: dg.AssetExecutionContext,
    spark: SparkSession,
    settings: Settings,
    tables: Mapping[str, Table],
) -> dict[str, str]:
    """Record of each of the sources that has days when its newest event was; by name, as text."""
    lake, now, found = Lake.at(settings.lake), datetime.now(UTC), {}
    for name, table in tables.items():
        try:
            newest = newest_event(spark, lake, table, now)
        except TrainingAssetsError as error:
            context.log.error(f"{name}: {error}")
            continue
        if newest is not None:
            found[name] = newest.at.isoformat(timespec="seconds")
            context.log_event(observation(name, newest.at, newest.day))
    return found


def _observed(settings: Settings) -> dict[str, Table]:
    return {**RAW_TABLES, **{table.name: table for table in declared_sources(settings).further}}


def observation(source: str, at: datetime, day: date | None = None) -> dg.AssetObservation:
    """That the newest event of a source was at that time, and which its newest day is."""
    metadata: dict[str, Any] = {LAST_UPDATED: dg.MetadataValue.timestamp(at.timestamp())}
    if day is not None:
        metadata["newest_day"] = str(day)
    return dg.AssetObservation(raw_key(source), metadata=metadata)


def freshness_checks(settings: Settings) -> list[dg.AssetChecksDefinition]:
    """Of the sources that have days when the definitions are loaded."""
    tables = _observed(settings)
    present, lake, daily = [], Lake.at(settings.lake), daily_sources(tables)
    for name, table in tables.items():
        with suppress(TrainingAssetsError):
            present += [name] if source_days(lake, table).first else []
    steady = [raw_key(name) for name in present if name not in daily]
    once = [raw_key(name) for name in present if name in daily]
    # Dagster would have policies instead, which see no observations.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.SupersessionWarning)
        return _checks(steady, once)


def _checks(
    steady: Sequence[dg.AssetKey], once: Sequence[dg.AssetKey]
) -> list[dg.AssetChecksDefinition]:
    checks: list[dg.AssetChecksDefinition] = []
    if steady:
        checks += dg.build_last_update_freshness_checks(
            assets=steady, lower_bound_delta=FAIL_AFTER, severity=dg.AssetCheckSeverity.ERROR
        )
        checks.append(_warning(steady))
    if once:
        # By six, events up to the end of yesterday: 18 hours before, at least, some of them.
        checks += dg.build_last_update_freshness_checks(
            assets=once,
            lower_bound_delta=timedelta(hours=18),
            deadline_cron=DEADLINE,
            severity=dg.AssetCheckSeverity.ERROR,
        )
    return checks


def daily_sources(tables: Iterable[str] = RAW_TABLES) -> set[str]:
    """Names from the environment; orders, items and users by default: a warehouse's tables."""
    text = os.environ.get(_DAILY, "").strip() or "previous_orders,items,users"
    names = {name.strip() for name in text.split(",") if name.strip()}
    known = {*tables, "previous_orders", "items", "users"}
    if unknown := sorted(names - known):
        raise SettingsError(
            f"settings: {_DAILY} names {', '.join(unknown)}; expected some of "
            f"{', '.join(sorted(known))}. Correct it."
        )
    return names


def _warning(keys: Sequence[dg.AssetKey]) -> dg.AssetChecksDefinition:
    """Dagster's own check has one bound an asset; this is the earlier one."""

    @dg.multi_asset_check(
        name="fresh_within_6_hours",
        specs=[
            dg.AssetCheckSpec(
                "fresh_within_6_hours",
                asset=key,
                description="The newest event is at most 6 hours old. A warning means that "
                "deliveries have stopped; at 24 hours freshness_check fails.",
            )
            for key in keys
        ],
    )
    def _fresh(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for key in keys:
            records = context.instance.fetch_observations(key, limit=1).records
            event = records[0].asset_observation if records else None
            stamp = event.metadata.get(LAST_UPDATED) if event else None
            at = float(str(stamp.value)) if stamp else None
            age = None if at is None else datetime.now(UTC).timestamp() - at
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name="fresh_within_6_hours",
                passed=age is not None and age <= WARN_AFTER.total_seconds(),
                severity=dg.AssetCheckSeverity.WARN,
                metadata={} if age is None else {"age_hours": round(age / 3600, 2)},
            )

    return _fresh


def freshness_sensors(checks: Sequence[dg.AssetChecksDefinition]) -> list[dg.SensorDefinition]:
    """Evaluates them when they may have changed; off until a person starts it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.SupersessionWarning)
        return [dg.build_sensor_for_freshness_checks(freshness_checks=checks)] if checks else []
