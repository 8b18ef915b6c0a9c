"""Build days: stage a range in one pass, validate it, publish each good day whole.

    raw ──stage──> _staging/… ──checks──> publish day by day

A day that fails, in its raw data or in a blocking check, keeps what was published before; the
other days of the range go on, through all tables. Nothing here knows Dagster.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from pyspark.sql import SparkSession

from training_assets.checks import CHECKS, CheckContext, CheckResult, run_checks
from training_assets.engine import require_engine
from training_assets.errors import DayNotPublishedError, TrainingAssetsError
from training_assets.lake import Lake, stage_days
from training_assets.pipeline.metrics import describe_days
from training_assets.pipeline.stages import STAGES, Build
from training_assets.provenance import Provenance, Upstream, content_hash
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    TABLES,
    TRAINING_INPUT,
    Table,
)
from training_assets.settings import Settings

Progress = Callable[[str], None]

_MAX_PASSES: Final = 3
_LOCK_WAIT_SECONDS: Final = 3_600


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
    actions of the days before it. The days are locked until the last report is taken, or the
    iterator is closed; see docs/publishing.md.

    Raises ``DayLockedError`` where another run holds one of the days for too long, ``PublishError``
    where the lake cannot be written, and ``EngineError`` when the engine dies.
    """
    lost: set[date] = set()
    with stage_days(lake, days, wait_seconds=_LOCK_WAIT_SECONDS, progress=progress) as staging:
        build = Build(spark, lake, settings, staging, progress, Provenance(lake, settings))
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
            yield from run_checks(CheckContext(spark, lake, settings, table, tuple(present)))
        for day in sorted(set(days) - published):
            for check in CHECKS[table.name]:
                message = f"{table.name}: day {day} is not published. Materialize it."
                yield CheckResult(check, day, False, {}, message)


def _build_table(build: Build, table: Table, days: Sequence[date]) -> list[DayReport]:
    seconds: dict[str, float] = {}
    started = time.monotonic()

    def lap(stage: str) -> None:
        nonlocal started
        seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - started, 3)
        started = time.monotonic()

    ready = _Ready()
    todo = list(days)
    for _ in range(_MAX_PASSES):
        upstream = Upstream(build.lake, table)
        _prepare(build, table, todo, upstream, ready, lap)
        todo = _overtaken(build, table, todo, upstream, ready.problems)
        if not todo:
            break
        build.progress(
            f"{table.name}: another run published what {len(todo)} of the days are built from"
        )
    for day in todo:
        ready.problems[day] = (
            f"{table.name}: what day {day} is built from was published anew {_MAX_PASSES} times "
            "while it was built; the day stands as it was. Run it again when other runs have ended."
        )
    problems, results, metrics = ready.problems, ready.results, ready.metrics
    reports = []
    for day in days:
        checks, changed, manifest = tuple(results[day]), False, {}
        if day not in problems:
            try:
                changed = _publish(build, table, day, metrics[day])
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


@dataclass
class _Ready:
    """Of the staged days of a table: what the checks found, and what is wrong."""

    problems: dict[date, str] = field(default_factory=dict)
    results: dict[date, list[CheckResult]] = field(default_factory=dict)
    metrics: dict[date, dict[str, Any]] = field(default_factory=dict)


def _prepare(
    build: Build,
    table: Table,
    days: Sequence[date],
    upstream: Upstream,
    ready: _Ready,
    lap: Callable[[str], None],
) -> None:
    """Stage and check the days in one pass."""
    for day in days:
        ready.problems.pop(day, None)
        ready.results[day] = []
    staged, problems = _stage(build, table, list(days), upstream)
    ready.problems |= problems
    lap("stage")
    if not staged:
        return
    context = CheckContext(
        build.spark, build.lake, build.settings, table, tuple(staged), build.staging
    )
    for result in run_checks(context):
        ready.results[result.day].append(result)
    lap("checks")
    for day in staged:
        if problem := _blocking_problem(ready.results[day]):
            ready.problems[day] = problem
    if good := [day for day in staged if day not in ready.problems]:
        ready.metrics |= describe_days(context.of_days(good))
    lap("figures")


def _overtaken(
    build: Build,
    table: Table,
    days: Sequence[date],
    upstream: Upstream,
    problems: dict[date, str],
) -> list[date]:
    """Days to be built again, since another run published meanwhile what they are built from.

    An engine may have read both versions of it. A day whose raw files changed gets a problem.
    """
    build.provenance = replace(build.provenance, _content={})
    again = []
    for day in days:
        before = build.inputs.get((table.name, day))
        if before is None or day in problems:
            again += [day] if before and upstream.has_changed() else []
            continue
        try:
            now = build.provenance.inputs(table, day)
        except TrainingAssetsError as error:
            problems[day] = str(error)
            continue
        if now.raw != before.raw:
            problems[day] = (
                f"{table.name}: raw files of {day} changed while it was built; the day stands as "
                "it was. Run it again when they are complete."
            )
        elif now.hash != before.hash:
            again.append(day)
    return again


def _blocking_problem(results: Sequence[CheckResult]) -> str | None:
    broken = [r for r in results if not r.passed and r.check.severity == "error"]
    return "; ".join(f"{r.check.name}: {r.message}" for r in broken) or None


def _stage(
    build: Build, table: Table, days: list[date], upstream: Upstream
) -> tuple[list[date], dict[date, str]]:
    """Stage the days in one pass; returns the staged days and the problems of the others."""
    problems: dict[date, str] = {}
    ready = []
    for day in days:
        try:
            _require_inputs(build, table, day)
            # Before anything is read: what changes from now on makes the day out of date.
            build.inputs[table.name, day] = build.provenance.inputs(table, day)
        except TrainingAssetsError as error:
            problems[day] = str(error)
        else:
            ready.append(day)
    if not ready:
        return [], problems
    try:
        STAGES[table.name](build, ready)
    except Exception as error:
        require_engine(build.spark, error)
        if len(ready) == 1 or upstream.has_changed():
            return [], problems | dict.fromkeys(ready, _reason(error))
        # One bad day fails a pass over many: only then, day by day, to keep the others.
        build.progress(f"{table.name}: the range failed ({_reason(error)}); trying day by day")
        staged = []
        for day in ready:
            part, found = _stage(build, table, [day], upstream)
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
        text = re.sub(r"^.*\b(RawDataError|SchemaError): ", "", text)
        if "No space left on device" in text:
            text = f"{text}; the days stand as they were. Free space, then run them again."
    return text[:1000]


def _require_inputs(build: Build, table: Table, day: date) -> None:
    """Raise for a day whose inputs are missing or have wrong columns, before a job starts."""
    build.provenance.require_raw(table, day)
    if table is TRAINING_INPUT and day not in set(build.lake.days(CUSTOMER_HISTORY.name)):
        raise DayNotPublishedError(
            f"training_input: customer_history has no day {day}. Materialize it first."
        )
    if table is TRAINING_INPUT:
        build.provenance.require_history(day)


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("training-assets", "pyspark", "pysail")}


def _publish(build: Build, table: Table, day: date, metrics: dict[str, Any]) -> bool:
    settings = build.settings
    manifest = {
        **build.inputs[table.name, day].manifest(),
        "content": content_hash(build.staging.day_path(table.name, day)),
        "settings": {
            "history_length": settings.history_length,
            "lookback_days": settings.lookback_days,
        },
        "versions": {**_versions(), "engine": build.engine},
        "figures": metrics,
    }
    changed = build.staging.publish(table.name, day, manifest)
    build.provenance.forget(table, day)
    return changed
