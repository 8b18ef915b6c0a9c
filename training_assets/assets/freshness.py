"""Freshness of the raw sources by event time: observations, and the checks that judge them.

A source that is delivered as events happen warns at 6 hours and fails at 24; one that is delivered
once a day, named in TRAINING_ASSETS_DAILY_SOURCES, must have had events of the day before by six.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg
from pyspark.sql import SparkSession

from training_assets.assets.raw import declared_sources, raw_key, raw_specs
from training_assets.errors import SettingsError, TrainingAssetsError
from training_assets.lake import Lake
from training_assets.monitoring.freshness import NewestEvent, newest_event
from training_assets.schemas import DELIVERED_TABLES, RAW_TABLES, Table
from training_assets.settings import Settings
from training_assets.sources import source_days

LAST_UPDATED: Final = "dagster/last_updated_timestamp"
WARN_AFTER: Final = timedelta(hours=6)
FAIL_AFTER: Final = timedelta(hours=24)
DEADLINE: Final = "0 6 * * *"
_DAILY: Final = "TRAINING_ASSETS_DAILY_SOURCES"


def observed_sources(settings: Settings) -> dg.AssetsDefinition:
    """The raw tables: made outside, and observed here, which their pages in the UI show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _observable(settings)


def _observable(settings: Settings) -> dg.AssetsDefinition:
    tables = {
        table.name: table
        for table in (*DELIVERED_TABLES.values(), *declared_sources(settings).further)
    }

    @dg.multi_observable_source_asset(
        name="raw_tables",
        specs=raw_specs(settings),
        can_subset=True,
        required_resource_keys={"spark"},
    )
    def _raw_tables(context: dg.AssetExecutionContext) -> Iterator[dg.ObserveResult]:
        """When the newest event of each was, by which its freshness is judged."""
        names = {key.path[-1] for key in context.selected_asset_keys}
        wanted = {name: table for name, table in tables.items() if name in names}
        spark = context.resources.spark.spark_session
        for name, newest in newest_events(context, spark, settings, wanted):
            yield dg.ObserveResult(asset_key=raw_key(name), metadata=_metadata(newest))

    return _raw_tables


def observe_sources(
    context: dg.AssetExecutionContext,
    spark: SparkSession,
    settings: Settings,
    tables: Mapping[str, Table],
) -> None:
    """Record of each of the sources that has days when its newest event was."""
    for name, newest in newest_events(context, spark, settings, tables):
        context.log_event(dg.AssetObservation(raw_key(name), metadata=_metadata(newest)))


def newest_events(
    context: dg.AssetExecutionContext,
    spark: SparkSession,
    settings: Settings,
    tables: Mapping[str, Table],
) -> Iterator[tuple[str, NewestEvent]]:
    """Of the sources that have days; what is wrong with one is logged."""
    lake, now = Lake.at(settings.lake), datetime.now(UTC)
    for name, table in tables.items():
        try:
            newest = newest_event(spark, lake, table, now)
        except TrainingAssetsError as error:
            context.log.error(f"{name}: {error}")
            continue
        if newest is not None:
            yield name, newest


def _observed(settings: Settings) -> dict[str, Table]:
    return {**RAW_TABLES, **{table.name: table for table in declared_sources(settings).further}}


def _metadata(newest: NewestEvent) -> dict[str, Any]:
    return {
        LAST_UPDATED: dg.MetadataValue.timestamp(newest.at.timestamp()),
        "newest_day": str(newest.day),
    }


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
