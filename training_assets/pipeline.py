"""Build days: stage a range in one pass, validate it, publish each good day whole.

    raw ──stage──> _staging/… ──checks──> publish day by day

A day that fails, in its raw data or in a blocking check, keeps what was published before; the
other days of the range go on, through all tables. Nothing here knows Dagster.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache, reduce
from importlib.metadata import version
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.checks import CHECKS, CheckResult, Evidence, run_checks
from training_assets.errors import DayNotPublishedError, TrainingAssetsError
from training_assets.figures import describe_days
from training_assets.freshness import Freshness, content_hash, window_days
from training_assets.lake import Lake, Layout, Staging, arrange, quarantine_name
from training_assets.raw import RawDays
from training_assets.schemas import (
    ACTION_SOURCES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    QUARANTINED_BY,
    TABLES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings
from training_assets.transforms.customer_history import build_customer_history
from training_assets.transforms.training_input import (
    customer_days_of,
    pad_and_explode,
    with_history,
)
from training_assets.transforms.unified_actions import build_unified_actions

Progress = Callable[[str], None]

_ACTIONS_PER_FILE: Final = 4_000_000
_RANKINGS_PER_FILE: Final = 100_000


@dataclass(frozen=True)
class DayReport:
    """What became of one day of one table.

    ``problem`` is None for a day that was published (or, without a build, that passed).
    ``seconds`` are those of the whole range that the day was part of, by stage.
    """

    table: str
    day: date
    problem: str | None
    has_changed: bool = False
    manifest: dict[str, Any] = field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Build:
    """One build of a range of days; holds what the stages share."""

    spark: SparkSession
    lake: Lake
    settings: Settings
    staging: Staging
    progress: Progress
    freshness: Freshness
    inputs: dict[tuple[str, date], str] = field(default_factory=dict)

    def raw(self, table: Table, days: Sequence[date]) -> RawDays:
        return self.freshness.raw(table, days)


def build_days(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    tables: Sequence[Table],
    days: Sequence[date],
    progress: Progress = lambda message: None,
) -> Iterator[DayReport]:
    """Build ``tables`` (in their order of dependency) for ``days``; a report per table and day.

    A table is finished for all days before the next one begins, because a history needs the
    actions of the days before it.
    """
    lost: set[date] = set()
    with lake.staging() as staging:
        build = Build(spark, lake, settings, staging, progress, Freshness(lake, settings))
        for table in (t for t in TABLES.values() if t in tables):
            # A history is of other days than the one whose actions failed, but training input
            # without its own day's history would be a mixture of old and new.
            wanted = [d for d in days if table is not TRAINING_INPUT or d not in lost]
            for report in _build_table(build, table, wanted):
                if report.problem and table is CUSTOMER_HISTORY:
                    lost.add(report.day)
                yield report
            for day in sorted(set(days) - set(wanted)):
                problem = f"{table.name}: day {day} was not built, because its history failed."
                yield DayReport(table.name, day, problem)


def check_days(
    spark: SparkSession, lake: Lake, settings: Settings, tables: Sequence[Table], days: list[date]
) -> Iterator[CheckResult]:
    """All checks of ``tables`` over what is published; an unpublished day fails each of them."""
    for table in (t for t in TABLES.values() if t in tables):
        published = set(lake.days(table.name))
        present = [day for day in days if day in published]
        if present:
            yield from run_checks(Evidence(spark, lake, settings, table, tuple(present)))
        for day in sorted(set(days) - published):
            for check in CHECKS[table.name]:
                message = f"{table.name}: day {day} is not published. Materialize it."
                yield CheckResult(check, day, False, {}, message)


def _build_table(build: Build, table: Table, days: Sequence[date]) -> list[DayReport]:
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def lap(stage: str) -> None:
        nonlocal started
        seconds[stage] = round(time.monotonic() - started, 3)
        started = time.monotonic()

    staged, problems = _stage(build, table, list(days))
    lap("stage")
    results: dict[date, list[CheckResult]] = defaultdict(list)
    figures: dict[date, dict[str, Any]] = {}
    if staged:
        evidence = Evidence(
            build.spark, build.lake, build.settings, table, tuple(staged), build.staging
        )
        for result in run_checks(evidence):
            results[result.day].append(result)
        lap("checks")
        problems |= {day: found for day in staged if (found := _blocking_problem(results[day]))}
        if good := [day for day in staged if day not in problems]:
            figures = describe_days(evidence.of_days(good))
        lap("figures")
    reports = []
    for day in days:
        checks, changed, manifest = tuple(results[day]), False, {}
        if day not in problems:
            try:
                changed = _publish(build, table, day, figures[day])
                manifest = build.lake.manifest(table.name, day)
            except TrainingAssetsError as error:
                problems[day] = str(error)
        reports.append(
            DayReport(table.name, day, problems.get(day), changed, manifest, checks, seconds)
        )
    lap("publish")
    build.progress(
        f"{table.name}: {len(days) - len(problems)} of {len(days)} days published "
        f"({', '.join(f'{stage} {value:.1f} s' for stage, value in seconds.items())})"
    )
    return reports


def _blocking_problem(results: Sequence[CheckResult]) -> str | None:
    broken = [r for r in results if not r.passed and r.check.severity == "error"]
    return "; ".join(f"{r.check.name}: {r.message}" for r in broken) or None


def _stage(build: Build, table: Table, days: list[date]) -> tuple[list[date], dict[date, str]]:
    """Stage the days in one pass; returns the staged days and the problems of the others."""
    problems: dict[date, str] = {}
    ready = []
    for day in days:
        try:
            _require_inputs(build, table, day)
            # Before anything is read: what changes from now on makes the day out of date.
            build.inputs[table.name, day] = build.freshness.inputs(table, day)
        except TrainingAssetsError as error:
            problems[day] = str(error)
        else:
            ready.append(day)
    if not ready:
        return [], problems
    try:
        _STAGES[table.name](build, ready)
    except Exception as error:
        if len(ready) == 1:
            problems[ready[0]] = _reason(error)
            return [], problems
        # One bad day fails a pass over many: only then, day by day, to keep the others.
        build.progress(f"{table.name}: the range failed ({_reason(error)}); trying day by day")
        staged = []
        for day in ready:
            part, found = _stage(build, table, [day])
            staged += part
            problems |= found
        return staged, problems
    return ready, problems


def _reason(error: Exception) -> str:
    text = str(error).strip()
    if not isinstance(error, TrainingAssetsError):
        # Engines wrap what a worker raised in a stack trace; the sentence we wrote is in it.
        marked = [line for line in text.splitlines() if "Error: " in line]
        text = marked[-1] if marked else (text.splitlines() or [type(error).__name__])[0]
    return text[:1000]


def _require_inputs(build: Build, table: Table, day: date) -> None:
    """Raise for a day whose inputs are missing or have wrong columns, before a job starts."""
    for raw in ACTION_SOURCES if table is UNIFIED_ACTIONS else (IMPRESSIONS,):
        build.raw(raw, [day])
    if table is TRAINING_INPUT and day not in set(build.lake.days(CUSTOMER_HISTORY.name)):
        raise DayNotPublishedError(
            f"training_input: customer_history has no day {day}. Materialize it first."
        )


def _stage_unified_actions(build: Build, days: list[date]) -> None:
    sources = [build.raw(table, days) for table in ACTION_SOURCES]
    actions = build_unified_actions(*(source.read_valid(build.spark) for source in sources))
    layout = _layout(sources, days, _ACTIONS_PER_FILE)
    # Equal ids and near times next to each other compress.
    ordered = arrange(actions, layout, "occurred_at", "item_id", "action_type")
    build.staging.write(ordered, UNIFIED_ACTIONS, days, layout)
    _stage_quarantine(build, sources)


def _stage_customer_history(build: Build, days: list[date]) -> None:
    settings, spark = build.settings, build.spark
    published = build.lake.days(UNIFIED_ACTIONS.name)
    window = {d for day in days for d in window_days(settings, published, day)}
    impressions = build.raw(IMPRESSIONS, days)
    history = build_customer_history(
        build.lake.read(spark, UNIFIED_ACTIONS, window),
        customer_days_of(impressions.read_valid(spark)),
        history_length=settings.history_length,
        lookback_days=settings.lookback_days,
    )
    layout = _layout([impressions], days, _RANKINGS_PER_FILE)
    ordered = arrange(history, layout)
    build.staging.write(ordered, CUSTOMER_HISTORY, days, layout)


def _stage_training_input(build: Build, days: list[date]) -> None:
    impressions = build.raw(IMPRESSIONS, days)
    history = build.lake.read(build.spark, CUSTOMER_HISTORY, days)
    rankings = with_history(impressions.read_valid(build.spark), history)
    layout = _layout([impressions], days, _RANKINGS_PER_FILE)
    # In order before the rows get wide: each history then stands ten times and more in a row.
    ordered = arrange(rankings, layout, "ranking_id", "impressions")
    rows = pad_and_explode(ordered, history_length=build.settings.history_length)
    build.staging.write(rows, TRAINING_INPUT, days, layout)
    _stage_quarantine(build, [impressions])


def _layout(sources: Sequence[RawDays], days: Sequence[date], rows_per_file: int) -> Layout:
    counts = [source.count_rows() for source in sources]
    rows = {day: sum(count[day] for count in counts) for day in days}
    return Layout.of(rows, rows_per_file=rows_per_file)


_STAGES: Final[dict[str, Callable[[Build, list[date]], None]]] = {
    UNIFIED_ACTIONS.name: _stage_unified_actions,
    CUSTOMER_HISTORY.name: _stage_customer_history,
    TRAINING_INPUT.name: _stage_training_input,
}


def _stage_quarantine(build: Build, sources: Sequence[RawDays]) -> None:
    parts = [
        source.read_faults(build.spark).withColumn("source", F.lit(source.table.name))
        for source in sources
    ]
    faults = reduce(DataFrame.unionByName, parts).coalesce(1)
    ordered = faults.sortWithinPartitions("source", "dt", "source_file", "reason", "content")
    build.staging.write_quarantine(ordered, [source.table for source in sources])


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("training-assets", "pyspark", "pysail")}


def _publish(build: Build, table: Table, day: date, figures: dict[str, Any]) -> bool:
    settings = build.settings
    for source in QUARANTINED_BY[table.name]:
        name = quarantine_name(source.name)
        if build.staging.rows(name, day):
            build.staging.publish(name, day, {})
        else:
            build.lake.withdraw(name, day)
    manifest = {
        "inputs": build.inputs[table.name, day],
        "content": content_hash(build.staging.day_path(table.name, day)),
        "settings": {
            "history_length": settings.history_length,
            "lookback_days": settings.lookback_days,
        },
        "versions": _versions(),
        "figures": figures,
    }
    changed = build.staging.publish(table.name, day, manifest)
    build.freshness.forget(table, day)
    return changed
