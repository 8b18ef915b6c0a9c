"""The step that builds, or only checks, the tables for a range of days."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Final

import dagster as dg

from training_assets.assets.freshness import observe_sources
from training_assets.assets.metadata import check_metadata, day_metadata
from training_assets.assets.tables import check_specs, table_specs
from training_assets.checks import CheckResult
from training_assets.engine.resource import SparkResource
from training_assets.lake import Lake
from training_assets.pipeline import (
    FAILED_DAYS,
    DayReport,
    FailedDay,
    build_days,
    by_fault,
    check_days,
)
from training_assets.settings import Settings
from training_assets.tables import SPECS

# Of a run, as JSON: further days of single tables, which those of the run look back to.
BEFORE_TAG: Final = "training_assets/before"

Event = dg.AssetCheckEvaluation | dg.AssetMaterialization | dg.MaterializeResult | dg.Output[None]


def daily_tables(
    settings: Settings, partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    """All tables and their checks as one step that can do any part of it."""

    @dg.multi_asset(
        name="daily_tables",
        specs=table_specs(settings),
        check_specs=check_specs(partitions),
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def _daily_tables(context: dg.AssetExecutionContext, spark: SparkResource) -> Iterator[Event]:
        """Builds the selected tables; where only checks are selected, runs those."""
        days = [date.fromisoformat(key) for key in context.partition_keys]
        lake = Lake.at(settings.lake)
        wanted = {key.to_user_string() for key in context.selected_asset_keys}
        specs = [spec for name, spec in SPECS.items() if name in wanted]
        problems: list[FailedDay] = []
        if specs:
            before = _days_before(context.run.tags)
            reports = build_days(
                spark.spark_session, lake, settings, specs, days, context.log.info, before=before
            )
            for spec in specs:
                # Not asking for the next report before this table's are recorded lets Dagster know
                # what was published, whatever becomes of the next table.
                of_table = list(islice(reports, len({*days, *before.get(spec.name, ())})))
                yield from _build_events(context, spark, settings, lake, of_table, days, problems)
            # So that each source shows what a run found there, without a schedule that looks.
            sources = {s.name: s for spec in specs for s in spec.built_from.sources_in(lake)}
            observe_sources(context, spark.spark_session, settings, sources)
        else:
            yield from _check_events(context, spark, settings, lake, days, problems)
        if problems:
            raise _failure(problems)
        # The evaluations above name their day; these only close the outputs of the checks.
        for key in context.selected_asset_check_keys:
            yield dg.Output(None, f"{key.asset_key.to_python_identifier()}_{key.name}")

    return _daily_tables


def _build_events(
    context: dg.AssetExecutionContext,
    spark: SparkResource,
    settings: Settings,
    lake: Lake,
    reports: Sequence[DayReport],
    days: Sequence[date],
    problems: list[FailedDay],
) -> Iterator[Event]:
    """Of one table, whose ``reports`` these are, each day once."""
    table, done, failed = reports[0].table, [], []
    for report in reports:
        yield from map(_evaluation, report.checks)
        if report.is_absent:
            continue
        if report.problem:
            failed.append(FailedDay(table, report.day, report.problem))
        else:
            done.append(report)
    for fault in by_fault(failed):
        context.log.error(fault.sentence())
    problems += failed
    is_whole = {*days} <= {report.day for report in done}
    for report in done:
        place = lake.table_store(table).uri(f"dt={report.day}")
        metadata = day_metadata(report, settings, place, len(reports)) | spark.web_places()
        if is_whole and report.day in days:
            context.add_asset_metadata(metadata, table, str(report.day))
        else:
            # An output would claim every day of the range, also the one that failed, and
            # no other.
            yield dg.AssetMaterialization(table, partition=str(report.day), metadata=metadata)
    if is_whole:
        yield dg.MaterializeResult(asset_key=table)


def before_tag(before: Mapping[str, Sequence[date]]) -> dict[str, str]:
    """The tag of a run that builds these days, too; none where there are no days."""
    text = {name: [str(day) for day in days] for name, days in before.items() if days}
    return {BEFORE_TAG: json.dumps(text)} if text else {}


def _days_before(tags: Mapping[str, str]) -> dict[str, list[date]]:
    found = json.loads(tags.get(BEFORE_TAG, "{}"))
    return {name: [date.fromisoformat(day) for day in days] for name, days in found.items()}


def _check_events(
    context: dg.AssetExecutionContext,
    spark: SparkResource,
    settings: Settings,
    lake: Lake,
    days: list[date],
    problems: list[FailedDay],
) -> Iterator[Event]:
    selected = {
        (key.asset_key.to_user_string(), key.name) for key in context.selected_asset_check_keys
    }
    names = {table for table, _ in selected}
    specs = [spec for name, spec in SPECS.items() if name in names]
    for result in check_days(spark.spark_session, lake, settings, specs, days):
        if (result.check.table, result.check.name) not in selected:
            continue
        yield _evaluation(result)
        if not result.passed and result.severity == "error":
            problems.append(FailedDay(result.check.table, result.day, result.message))


def _failure(problems: list[FailedDay]) -> dg.Failure:
    """What the run fails with: a line per fault, and every day in the metadata."""
    return dg.Failure(
        f"{len(problems)} of the days' tables failed and stand as they were:\n"
        + "\n".join(fault.sentence() for fault in by_fault(problems)),
        metadata={
            FAILED_DAYS: dg.MetadataValue.json(
                [{"table": f.table, "day": str(f.day), "problem": f.problem} for f in problems]
            )
        },
        allow_retries=False,
    )


def _evaluation(result: CheckResult) -> dg.AssetCheckEvaluation:
    """By day, also in a range run, where an AssetCheckResult would lose its partition."""
    severity = dg.AssetCheckSeverity.ERROR
    if result.severity == "warn":
        severity = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(result.check.table),
        check_name=result.check.name,
        partition=str(result.day),
        passed=result.passed,
        severity=severity,
        blocking=result.check.severity == "error",
        description=result.message or None,
        metadata=check_metadata(result.metrics, result.message),
    )
