"""The whole system on one page: assets, checks, jobs, schedule, sensor, engine.

    raw/* (observed) ──> unified_actions ──> customer_history ──> training_input
                         unified_actions, items_shown ──> user_, item_, pair_features ──> online_*
    transaction_chunks ──> pattern_state ──> detections

Every table of the first two lines is partitioned by day. Settings and engine come from environment
variables; see ``settings.py`` and ``engine/resource.py``.
"""

import importlib.util
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg

from training_assets.assets import (
    daily_tables,
    feature_state_asset,
    online_assets,
    outdated_days_sensor,
    retention_asset,
    vacuum_asset,
)
from training_assets.assets.freshness import (
    freshness_checks,
    freshness_sensors,
    observed_sources,
)
from training_assets.assets.online import ONLINE_ASSETS
from training_assets.assets.raw import declared_sources
from training_assets.assets.retention import RETENTION
from training_assets.assets.run_log import console_logger
from training_assets.assets.training_set import (
    REPORT,
    TRAINING_SET,
    report_asset,
    training_set_asset,
    weekly_schedule,
)
from training_assets.assets.vacuum import VACUUM
from training_assets.engine.resource import SparkResource
from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake
from training_assets.pipeline import last_partition
from training_assets.schemas import DELIVERED_TABLES
from training_assets.settings import Settings
from training_assets.sources import source_days
from training_assets.tables import DAILY_GROUPS, SPECS, specs_of, training_samples

DAILY_JOB = "daily_training_input"
FEATURES_JOB = "daily_features"
BACKFILL_JOB = "backfill_training_input"
CHECK_JOB = "check_training_input"
CHECK_FEATURES_JOB = "check_features"
VACUUM_JOB = "vacuum_lake"
WEEKLY_JOB = "weekly_training"
OBSERVE_JOB = "observe_sources"
REPORT_JOB = "report_of_day"
RETENTION_JOB = "retention_of_lake"
ONLINE_JOB = "load_online_features"

# Dagster uses its own verbose console unless a run's configuration names another.
RUN_CONFIG: Mapping[str, Any] = {"loggers": {"console": {"config": {}}}}


def build_definitions(settings: Settings, spark: SparkResource) -> dg.Definitions:
    """All definitions over one lake and one engine."""
    first_day = first_partition(settings)
    partitions = dg.DailyPartitionsDefinition(start_date=str(first_day))
    tables = dg.AssetSelection.assets(*SPECS)
    daily_names = [spec.name for spec in specs_of(DAILY_GROUPS)]
    further_names = [name for name in SPECS if name not in daily_names]
    daily = dg.define_asset_job(
        DAILY_JOB,
        selection=dg.AssetSelection.assets(*daily_names),
        config=RUN_CONFIG,
        description="One day of the tables to train on and those of the shop, checked.",
    )
    features = dg.define_asset_job(
        FEATURES_JOB,
        # Samples have the features of the day beside them, and were built before these.
        selection=dg.AssetSelection.assets(*further_names, training_samples.SPEC.name),
        config=RUN_CONFIG,
        description="One day of all features, checked, and the samples again with them.",
    )
    online = dg.define_asset_job(
        ONLINE_JOB,
        selection=dg.AssetSelection.assets(*ONLINE_ASSETS.values()),
        config=RUN_CONFIG,
        description="Has requests answered from the features of a day.",
    )
    vacuum = dg.define_asset_job(
        VACUUM_JOB,
        selection=dg.AssetSelection.assets(VACUUM),
        config=RUN_CONFIG,
        description="Removes files that no kept version needs.",
    )
    retention = dg.define_asset_job(
        RETENTION_JOB,
        selection=dg.AssetSelection.assets(RETENTION),
        config=RUN_CONFIG,
        description="Lets go of what is older than it is kept.",
    )
    weekly = dg.define_asset_job(
        WEEKLY_JOB,
        selection=tables | dg.AssetSelection.assets(TRAINING_SET),
        config=RUN_CONFIG,
        description="A full run for training, weekly or on demand: a range of days of all tables, "
        "then splits, export and report.",
    )
    raw = observed_sources(settings)
    observe = dg.define_asset_job(
        OBSERVE_JOB,
        selection=dg.AssetSelection.assets(*raw.keys),
        config=RUN_CONFIG,
        description="Looks when the newest event of each raw source was.",
    )
    freshness = freshness_checks(settings)
    return dg.Definitions(
        assets=[
            raw,
            daily_tables(settings, partitions),
            feature_state_asset(settings, partitions),
            *online_assets(settings, partitions),
            vacuum_asset(settings),
            retention_asset(settings),
            report_asset(settings),
            training_set_asset(settings),
        ],
        asset_checks=freshness,
        jobs=[
            daily,
            features,
            online,
            vacuum,
            retention,
            weekly,
            observe,
            dg.define_asset_job(
                REPORT_JOB,
                selection=dg.AssetSelection.assets(REPORT),
                config=RUN_CONFIG,
                description="The report of a day, the newest one unless another is named.",
            ),
            dg.define_asset_job(
                BACKFILL_JOB,
                selection=tables,
                config=RUN_CONFIG,
                description="Any range of days of all tables, in one run and one pass.",
            ),
            dg.define_asset_job(
                CHECK_JOB,
                selection=dg.AssetSelection.checks_for_assets(*daily_names),
                config=RUN_CONFIG,
                description="All checks over what the daily job publishes; builds nothing.",
            ),
            dg.define_asset_job(
                CHECK_FEATURES_JOB,
                selection=dg.AssetSelection.checks_for_assets(*further_names),
                config=RUN_CONFIG,
                description="All checks over published features; builds nothing.",
            ),
        ],
        schedules=[
            dg.build_schedule_from_partitioned_job(
                daily, hour_of_day=3, description="Yesterday's partition, at 03:00 UTC."
            ),
            dg.build_schedule_from_partitioned_job(
                features,
                hour_of_day=3,
                minute_of_hour=30,
                description="Features of yesterday's partition, at 03:30 UTC.",
            ),
            dg.build_schedule_from_partitioned_job(
                online, hour_of_day=4, description="Yesterday's features, at 04:00 UTC."
            ),
            dg.ScheduleDefinition(
                name="vacuum_lake_schedule",
                job=vacuum,
                cron_schedule="0 5 * * *",
                description="Every day at 05:00 UTC.",
            ),
            dg.ScheduleDefinition(
                name="observe_sources_schedule",
                job=observe,
                cron_schedule="*/15 * * * *",
                description="Every 15 minutes.",
            ),
            weekly_schedule(weekly, dict(RUN_CONFIG)),
            dg.ScheduleDefinition(
                name="retention_schedule",
                job=retention,
                cron_schedule="0 6 * * 0",
                description="Every Sunday at 06:00 UTC. Look at `training-assets retention` before "
                "you start it.",
            ),
        ],
        sensors=[
            outdated_days_sensor(settings, BACKFILL_JOB, RUN_CONFIG, first_day),
            *freshness_sensors(freshness),
        ],
        resources={"spark": spark},
        executor=dg.in_process_executor,
        loggers={"console": console_logger},
    )


def first_partition(settings: Settings) -> date:
    """The configured first day, else the first raw day, else yesterday."""
    if settings.start_date is not None:
        return settings.start_date
    lake, days = Lake.at(settings.lake), []
    for table in (*DELIVERED_TABLES.values(), *declared_sources(settings).further):
        # What is wrong with raw data is said where a day is built, not where definitions load.
        with suppress(TrainingAssetsError):
            days += [first] if (first := source_days(lake, table).first) else []
    return min(days, default=last_partition())


def with_transactions(defs: dg.Definitions) -> dg.Definitions:
    """With the feed of transactions, where the extra for it is installed."""
    if importlib.util.find_spec("psycopg") is None:
        return defs
    from training_assets.assets.transactions import transaction_definitions
    from training_assets.transactions import TransactionSettings

    return dg.Definitions.merge(defs, transaction_definitions(TransactionSettings.from_env()))


defs = with_transactions(build_definitions(Settings.from_env(), SparkResource.from_env()))


def definitions_from(day: date) -> dg.Definitions:
    """With partitions that begin at ``day`` at the latest: a person may ask for any day."""
    settings = Settings.from_env()
    if first_partition(settings) <= day:
        return defs
    return build_definitions(replace(settings, start_date=day), SparkResource.from_env())
