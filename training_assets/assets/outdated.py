"""A sensor that finds out-of-date published days and requests runs of exactly those.

One table at a time, in the order of dependency: whether a rebuilt day changes those after it is
known only when it is there, so the next table is looked at on a later tick.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

import dagster as dg

from training_assets.lake import Lake, contiguous, days_in_words
from training_assets.provenance import Outdated, Provenance, find_outdated, hash_of
from training_assets.settings import Settings
from training_assets.tables import BUILT_FROM, SPECS, TableSpec

SENSOR: Final = "outdated_days"
_INTERVAL_SECONDS: Final = 120
_RUN_KEY_TAG: Final = "dagster/run_key"
_SENSOR_TAG: Final = "dagster/sensor_name"
_UNFINISHED: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def outdated_days_sensor(
    settings: Settings, job_name: str, run_config: Mapping[str, Any], first_day: date
) -> dg.SensorDefinition:
    """Off until a person starts it. Days before ``first_day`` are no partitions, and left alone."""

    @dg.sensor(
        name=SENSOR,
        job_name=job_name,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Looks for published days that are out of date, because raw files, upstream "
        "days, settings or versions changed, and requests runs of exactly those: actions first, "
        "then the histories and then the training input that really changed. The log of each tick "
        "says what was found. A state that was requested once is not requested again.",
    )
    def _sensor(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        lake = Lake.at(settings.lake)
        found = find_outdated(Provenance(lake, settings), BUILT_FROM)
        for late in found.days:
            context.log.info(f"{late.table} {late.day}: {'; '.join(late.reasons)}")
        if not found.days:
            return dg.SkipReason("Every published day is up to date.")
        if waiting := _runs(context, {_SENSOR_TAG: SENSOR}, _UNFINISHED):
            return dg.SkipReason(
                f"{len(found.days)} out of date; run {waiting[0]} is not done yet."
            )
        for spec in SPECS.values():
            requests = [
                dg.RunRequest(
                    run_key=key,
                    asset_selection=[dg.AssetKey(spec.name)],
                    tags={
                        "dagster/asset_partition_range_start": str(days[0]),
                        "dagster/asset_partition_range_end": str(days[-1]),
                    },
                    run_config=dict(run_config),
                )
                for days in contiguous(
                    day for day in found.buildable(spec.built_from) if day >= first_day
                )
                if _is_new(context, spec, days, key := _run_key(found, spec, days))
            ]
            if requests:
                return requests
        return dg.SkipReason(
            f"{len(found.days)} out of date, of which none can be built now: they were requested "
            "before and failed, lack raw data, or lie before the first partition; see the log of "
            "this tick and the failed runs."
        )

    return _sensor


def _run_key(found: Outdated, spec: TableSpec, days: Sequence[date]) -> str:
    """The same for the same days with the same inputs, whenever it is asked for."""
    state = sorted(
        (str(late.day), late.inputs) for late in found.of(spec.built_from) if late.day in days
    )
    return f"{spec.name}:{days[0]}:{days[-1]}:{hash_of(state)}"


def _is_new(
    context: dg.SensorEvaluationContext, spec: TableSpec, days: Sequence[date], key: str
) -> bool:
    before = _runs(context, {_RUN_KEY_TAG: key})
    if before:
        context.log.warning(
            f"{spec.name} {days_in_words(days)}: requested before, in run {before[0]}, and still "
            "out of date; requested again when its inputs change."
        )
    return not before


def _runs(
    context: dg.SensorEvaluationContext,
    tags: Mapping[str, str],
    statuses: Sequence[dg.DagsterRunStatus] = (),
) -> list[str]:
    runs_filter = dg.RunsFilter(tags=dict(tags), statuses=list(statuses) or None)
    return [run.run_id for run in context.instance.get_runs(runs_filter, limit=1)]
