"""Feed, state and detections as assets: one run takes all that waits.

    transaction_chunks ──> pattern_state ──> detections

A run a second would cost more than its work; for that, `training-assets transactions run` is a
process of its own, and these assets show the same inbox and the same database.
"""

import time
from collections.abc import Iterator
from typing import Any, Final

import dagster as dg

from training_assets.engine.resource import SparkResource
from training_assets.lake import open_store
from training_assets.transactions.checks import CHECKS, Place
from training_assets.transactions.database import Database
from training_assets.transactions.export import DETECTIONS
from training_assets.transactions.feed import Feed, feed_all
from training_assets.transactions.inbox import RAW, Inbox
from training_assets.transactions.run import apply_waiting, export_all, open_detector
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.show import Summary, summary

GROUP: Final = "transactions"
FEED_JOB: Final = "feed_transactions"
DETECT_JOB: Final = "detect_patterns"
SENSOR: Final = "waiting_chunks"
_INTERVAL_SECONDS: Final = 30
_UNFINISHED: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def transaction_definitions(settings: TransactionSettings) -> dg.Definitions:
    """Assets, checks, jobs and the sensor; the resource ``spark`` comes from who merges them."""
    assets = [_chunks(settings), _state(settings), _detections(settings)]
    names = [asset.key.to_user_string() for asset in assets]
    return dg.Definitions(
        assets=assets,
        asset_checks=[_checks_of(name, settings) for name in names],
        jobs=[
            dg.define_asset_job(
                FEED_JOB,
                selection=dg.AssetSelection.assets(*names),
                description="Feeds all rows that wait, and detects what they show.",
            ),
            dg.define_asset_job(
                DETECT_JOB,
                selection=dg.AssetSelection.assets(*names[1:]),
                description="Applies all chunks that wait, and exports what they show.",
            ),
        ],
        sensors=[_sensor(settings)],
    )


def _chunks(settings: TransactionSettings) -> dg.AssetsDefinition:
    @dg.asset(name="transaction_chunks", group_name=GROUP, kinds={"parquet"})
    def transaction_chunks(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        """The next rows of the source, as objects of the inbox, each row once."""
        began, workdir = time.monotonic(), open_store(settings.workdir)
        feed = Feed(workdir, settings)
        before = feed.rows_fed
        chunks = feed_all(feed, context.log.info)
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(workdir.uri(RAW)),
                "dagster/row_count": feed.rows_fed,
                "new_rows": feed.rows_fed - before,
                "new_chunks": chunks,
                "rows_per_chunk": round((feed.rows_fed - before) / max(1, chunks), 1),
                "seconds": round(time.monotonic() - began, 3),
            }
        )

    return transaction_chunks


def _state(settings: TransactionSettings) -> dg.AssetsDefinition:
    @dg.asset(
        name="pattern_state", group_name=GROUP, deps=["transaction_chunks"], kinds={"postgres"}
    )
    def pattern_state(
        context: dg.AssetExecutionContext, spark: SparkResource
    ) -> dg.MaterializeResult[None]:
        """Counts, sums, genders and weights after all chunks; each was applied once."""
        began, database = time.monotonic(), Database.of(settings)
        session = spark.spark_session
        with open_detector(session, settings, database, context.log.info) as detector:
            first = detector.next_row
            apply_waiting(detector, session, settings, "auto")
            found = summary(database, since_row=first)
        new_chunks = found.recent_chunks
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": found.rows,
                "new_rows": found.rows - first,
                "new_chunks": new_chunks,
                "detections_per_chunk": round(found.recent_detections / max(1, new_chunks), 2),
                "quarantined_rows": found.quarantined,
                "run_seconds": round(time.monotonic() - began, 3),
                **_times(found),
            }
        )

    return pattern_state


def _times(found: Summary) -> dict[str, Any]:
    """Of the chunks of this run, in seconds; plotted over runs."""
    times: dict[str, Any] = {}
    if found.latency and found.seconds:
        for name, values in (("latency", found.latency), ("chunk_seconds", found.seconds)):
            times[f"{name}_p50"], times[f"{name}_p99"] = (round(value, 3) for value in values)
    return times


def _detections(settings: TransactionSettings) -> dg.AssetsDefinition:
    @dg.asset(name="detections", group_name=GROUP, deps=["pattern_state"], kinds={"csv"})
    def detections() -> dg.MaterializeResult[None]:
        """Every detection in one file of at most 50, as CSV and Parquet."""
        workdir, database = open_store(settings.workdir), Database.of(settings)
        try:
            files = export_all(database, workdir)
            found = summary(database)
        finally:
            database.leave()
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(workdir.uri(DETECTIONS)),
                "dagster/row_count": sum(found.by_pattern.values()),
                "current": found.current,
                "files": found.files,
                "new_files": files,
                **found.by_pattern,
            }
        )

    return detections


def _checks_of(asset: str, settings: TransactionSettings) -> dg.AssetChecksDefinition:
    checks = [check for check in CHECKS if check.asset == asset]

    @dg.multi_asset_check(
        name=f"{asset}_checks",
        specs=[
            dg.AssetCheckSpec(
                check.name,
                asset=asset,
                blocking=check.severity == "error",
                description=check.description,
            )
            for check in checks
        ],
    )
    def _checks() -> Iterator[dg.AssetCheckResult]:
        database = Database.of(settings)
        try:
            place = Place.of(settings, database)
            for check in checks:
                found = check.find(place)
                yield dg.AssetCheckResult(
                    asset_key=asset,
                    check_name=check.name,
                    passed=found.passed,
                    severity=dg.AssetCheckSeverity[check.severity.upper()],
                    description=found.message or None,
                    metadata=found.metrics,
                )
        finally:
            database.leave()

    return _checks


def _sensor(settings: TransactionSettings) -> dg.SensorDefinition:
    @dg.sensor(
        name=SENSOR,
        job_name=DETECT_JOB,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="One run for all chunks that came since the last one; none while it runs.",
    )
    def waiting_chunks(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        chunks = Inbox(open_store(settings.workdir)).chunks()
        if not chunks or (context.cursor and int(context.cursor) >= chunks[-1].last):
            return dg.SkipReason("No chunk came since the last run was asked for.")
        unfinished = dg.RunsFilter(job_name=DETECT_JOB, statuses=_UNFINISHED)
        if runs := context.instance.get_runs(unfinished, limit=1):
            return dg.SkipReason(f"Run {runs[0].run_id} is not done yet.")
        context.update_cursor(str(chunks[-1].last))
        return dg.RunRequest(run_key=f"rows-to-{chunks[-1].last}")

    return waiting_chunks
