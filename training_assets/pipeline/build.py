"""Build days: write a range in one pass, check it, publish all good days of a table at once.

    raw, upstream ──write──> files nobody knows ──checks──> one commit for all days that passed

A day that fails, in its raw data or in a blocking check, keeps what was published before; the
other days of the range go on, through all tables. Nothing here knows Dagster, or names a table.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from pyspark.sql import SparkSession

from training_assets.checks import CheckContext, CheckResult, run_checks
from training_assets.engine import require_engine
from training_assets.errors import TrainingAssetsError
from training_assets.lake import (
    OTHERS,
    OVERTAKEN,
    PUBLISHED,
    Lake,
    NewDay,
    content_of,
    days_in_words,
    publish,
)
from training_assets.pipeline.watching import current_watcher
from training_assets.provenance import Inputs, Provenance
from training_assets.schemas import SCHEMA_VERSION
from training_assets.settings import Settings
from training_assets.tables import SPECS, Build, NewFiles, TableSpec

Progress = Callable[[str], None]
Step = Callable[[str], None]

_MAX_PASSES: Final = 3
_NOTHING: Final[Mapping[str, Sequence[date]]] = {}


@dataclass(frozen=True)
class DayReport:
    """What became of one day of one table.

    ``problem`` is None for a day that is published (or, without a build, that passed), and for
    one that ``is_absent``: the shop delivers nothing of which the table would have it.
    ``seconds`` are those of the whole range that the day was part of, by step.
    """

    table: str
    day: date
    problem: str | None
    has_changed: bool = False
    is_absent: bool = False
    manifest: dict[str, Any] = field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


def build_days(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    specs: Sequence[TableSpec],
    days: Sequence[date],
    progress: Progress = lambda message: None,
    step: Step = lambda name: None,
    before: Mapping[str, Sequence[date]] = _NOTHING,
) -> Iterator[DayReport]:
    """Build tables (in their order of dependency) for ``days``; a report per table and day.

    ``before`` are further days of single tables, by name: what ``days`` look back to. A table is
    finished for all its days before the next one begins, because a history needs the actions of
    the days before it. ``step`` is told the name of each step before it is taken.

    Raises ``PublishError`` where the lake cannot be written, and ``EngineError`` when the engine
    dies; every day is then as it was, or published whole.
    """
    build = Build(spark, settings, Provenance(Lake(lake.store), settings), progress)
    lost: dict[str, set[date]] = {}
    watcher = current_watcher()
    days_of = {spec.name: sorted({*days, *before.get(spec.name, ())}) for spec in _in_order(specs)}
    watcher.begins({name: len(found) for name, found in days_of.items()})
    for spec in _in_order(specs):
        its_days = days_of[spec.name]
        # Of a table with a look-back other days fail; with the same day it would be a mixture.
        skipped = {
            day: upstream.name
            for upstream in spec.built_from.upstream
            if upstream.has_day and (not upstream.is_optional or upstream.of.days == "from first")
            for day in lost.get(upstream.name, ())
        }
        skipped = {day: name for day, name in skipped.items() if day in its_days}
        absent = {d for d in its_days if not build.provenance.is_due(spec.built_from, d)}
        wanted = [day for day in its_days if day not in skipped and day not in absent]
        reports = _TableRun(build, spec, wanted, step).reports() if wanted else []
        lost[spec.name] = {report.day for report in reports if report.problem} | skipped.keys()
        for day in sorted(absent - skipped.keys()):
            reports.append(DayReport(spec.name, day, None, is_absent=True))
        for day, name in sorted(skipped.items()):
            problem = f"{spec.name}: day {day} was not built, because its {name} failed."
            reports.append(DayReport(spec.name, day, problem))
        for report in reports:
            watcher.settled(report)
        yield from reports


def check_days(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    specs: Sequence[TableSpec],
    days: Sequence[date],
) -> Iterator[CheckResult]:
    """All checks of tables over what is published; an unpublished day fails each of them."""
    provenance = Provenance(lake, settings)
    for spec in _in_order(specs):
        published = lake.snapshot(spec.name).files
        if present := tuple(day for day in days if day in published):
            context = CheckContext(
                spark, lake, settings, spec.table, present, spec.rejected_sources(lake)
            )
            yield from run_checks(context, spec.checks)
        due = {day for day in days if provenance.is_due(spec.built_from, day)}
        for day in sorted(due - published.keys()):
            for check in spec.checks:
                message = f"{spec.name}: day {day} is not published. Materialize it."
                yield CheckResult(check, day, False, {}, message)


def _in_order(specs: Sequence[TableSpec]) -> list[TableSpec]:
    """Those of the registry with these names, in their order of dependency."""
    names = {spec.name for spec in specs}
    return [spec for spec in SPECS.values() if spec.name in names]


@dataclass
class _Attempt:
    """One pass over days: what was written, and what is wrong with it."""

    files: dict[date, NewFiles] = field(default_factory=dict)
    inputs: dict[date, Inputs] = field(default_factory=dict)
    missing: dict[date, list[date]] = field(default_factory=dict)
    problems: dict[date, str] = field(default_factory=dict)
    results: dict[date, list[CheckResult]] = field(default_factory=dict)
    metrics: Mapping[date, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def good(self) -> list[date]:
        return [day for day in self.files if day not in self.problems]


class _TableRun:
    """One table over a range of days."""

    def __init__(self, build: Build, spec: TableSpec, days: Sequence[date], step: Step) -> None:
        self._build, self._spec, self._days, self._told = build, spec, days, step
        self._seconds: dict[str, float] = {}
        self._started = time.monotonic()
        self._reports: dict[date, DayReport] = {}

    def reports(self) -> list[DayReport]:
        """Build, check and publish; days that another run overtook are built again."""
        todo = list(self._days)
        self._build.provenance.look_again_at_tables()
        for number in range(_MAX_PASSES):
            if number:
                self._build.progress(
                    f"{self._spec.name}: another run published what {len(todo)} of the days are "
                    "built from, or the days themselves; building them again"
                )
                self._build.provenance = self._build.provenance.again()
            attempt = self._attempt(todo)
            again = [*self._moved(attempt), *self._publish(attempt)]
            todo = sorted(again)
            if not todo:
                break
        for day in todo:
            problem = (
                f"{self._spec.name}: what day {day} is built from was published anew "
                f"{_MAX_PASSES} times while it was built; the day stands as it was. Run it again "
                "when other runs have ended."
            )
            self._report(day, attempt, problem)
        reports = [self._reports[day] for day in self._days]
        published = sum(not report.problem for report in reports)
        spent = ", ".join(f"{step} {value:.1f} s" for step, value in self._seconds.items())
        self._build.progress(
            f"{self._spec.name}: {published} of {len(reports)} days published ({spent})"
        )
        return reports

    def _step(self, name: str) -> None:
        current_watcher().step(self._spec.name, name)
        self._told(name)

    def _lap(self, step: str) -> None:
        now = time.monotonic()
        self._seconds[step] = round(self._seconds.get(step, 0.0) + now - self._started, 3)
        self._started = now

    # --- write and check --------------------------------------------------------------------------

    def _attempt(self, days: Sequence[date]) -> _Attempt:
        build, spec, attempt = self._build, self._spec, _Attempt()
        self._step("write")
        self._write(days, attempt)
        self._lap("build")
        if attempt.files:
            self._step("checks")
            context = self._context(attempt.files)
            for result in run_checks(context, spec.checks):
                attempt.results.setdefault(result.day, []).append(result)
            for day in attempt.files:
                if problem := _blocking_problem(attempt.results.get(day, [])):
                    attempt.problems[day] = problem
            self._lap("checks")
            if good := attempt.good:
                attempt.metrics = spec.metrics(context.of_days(good))
            self._lap("figures")
        failed = (attempt.files[d] for d in attempt.problems if d in attempt.files)
        store = build.lake.table_store(spec.name)
        store.delete(file.name for new in failed for file in new.files)
        return attempt

    def _context(self, files: Mapping[date, NewFiles]) -> CheckContext:
        build, spec = self._build, self._spec
        return CheckContext(
            build.spark,
            build.lake,
            build.settings,
            spec.table,
            tuple(sorted(files)),
            spec.rejected_sources(build.lake),
            written={day: new.files for day, new in files.items()},
            run=build.run,
        )

    def _write(self, days: Sequence[date], attempt: _Attempt) -> None:
        """Write the days in one pass, or one by one where one of them fails."""
        self._build.provenance.look_at_raw(self._spec.built_from, days)
        ready = [day for day in days if self._is_ready(day, attempt)]
        if not ready:
            return
        try:
            attempt.files |= self._spec.build(self._build, ready)
        except Exception as error:
            require_engine(self._build.spark, error)
            if len(ready) == 1:
                attempt.problems[ready[0]] = reason(error)
                return
            # One bad day fails a pass over many: only then, day by day, to keep the others.
            self._build.progress(
                f"{self._spec.name}: the range failed ({reason(error)}); trying day by day"
            )
            for day in ready:
                self._write([day], attempt)

    def _is_ready(self, day: date, attempt: _Attempt) -> bool:
        """Whether all is there that the day needs; looked at before a job starts."""
        provenance, built = self._build.provenance, self._spec.built_from
        try:
            provenance.require_raw(built, day)
            attempt.missing[day] = provenance.require_upstream(built, day)
            # Before anything is read: what changes from now on makes the day out of date.
            attempt.inputs[day] = provenance.inputs(built, day)
        except TrainingAssetsError as error:
            attempt.problems[day] = str(error)
            return False
        return True

    # --- publish ----------------------------------------------------------------------------------

    def _moved(self, attempt: _Attempt) -> list[date]:
        """Days of which another run has meanwhile published what they are built from.

        A day whose raw files changed gets a problem.
        """
        self._step("look again")
        now, built, again = self._build.provenance.again(), self._spec.built_from, []
        now.look_ahead_at_raw(built, attempt.good)
        for day in attempt.good:
            before = attempt.inputs[day]
            try:
                found = now.inputs(built, day)
            except TrainingAssetsError as error:
                attempt.problems[day] = str(error)
                continue
            if found.raw != before.raw:
                attempt.problems[day] = (
                    f"{self._spec.name}: raw files of {day} changed while it was built; the day "
                    "stands as it was. Run it again when they are complete."
                )
            elif found.hash != before.hash:
                again.append(day)
        store = self._build.lake.table_store(self._spec.name)
        for day in again:
            store.delete(file.name for file in attempt.files.pop(day).files)
        return again

    def _publish(self, attempt: _Attempt) -> list[date]:
        """Publish the good days and report all that are settled; the others are returned."""
        build, spec = self._build, self._spec
        new = {day: self._new_day(day, attempt) for day in attempt.good}
        outcomes: dict[date, str] = {}
        if new:
            before = build.lake.snapshot(spec.name)
            info = {"run": build.run, "engine": build.engine}
            store = build.lake.table_store(spec.name)
            try:
                outcomes = publish(store, spec.table, new, before, info, self._step)
            except TrainingAssetsError as error:
                attempt.problems |= dict.fromkeys(new, str(error))
        self._lap("publish")
        overtaken = [day for day, found in outcomes.items() if found == OVERTAKEN]
        for day, problem in attempt.problems.items():
            self._report(day, attempt, problem)
        for day, outcome in outcomes.items():
            if outcome != OVERTAKEN:
                self._report(day, attempt, None, new[day].manifest, outcome)
        if any(outcome == OTHERS for outcome in outcomes.values()):
            others = [day for day, outcome in outcomes.items() if outcome == OTHERS]
            build.progress(
                f"{spec.name}: another run has published {days_in_words(others)} from the same "
                "inputs meanwhile"
            )
        return overtaken

    def _new_day(self, day: date, attempt: _Attempt) -> NewDay:
        build, spec, new = self._build, self._spec, attempt.files[day]
        figures = dict(attempt.metrics.get(day, {}))
        profile = figures.pop("profile", None)
        manifest: dict[str, Any] = {
            "table": spec.name,
            "dt": day.isoformat(),
            "schema_version": SCHEMA_VERSION,
            "run": build.run,
            "rows": sum(file.rows for file in new.files),
            "files": len(new.files),
            "bytes": sum(file.size for file in new.files),
            **attempt.inputs[day].manifest(),
            "content": content_of(new.files),
            "settings": build.provenance.recorded(spec.built_from),
            "versions": {**_versions(), "engine": build.engine},
            "figures": figures,
            "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": {step: round(s / len(self._days), 3) for step, s in self._seconds.items()},
        }
        if missing := attempt.missing.get(day):
            manifest["incomplete_window"] = [str(of) for of in missing]
        return NewDay(new.files, new.bounds, manifest, profile)

    def _report(
        self,
        day: date,
        attempt: _Attempt,
        problem: str | None,
        manifest: Mapping[str, Any] | None = None,
        outcome: str = "",
    ) -> None:
        self._reports[day] = DayReport(
            self._spec.name,
            day,
            problem,
            outcome == PUBLISHED,
            False,
            dict(manifest or {}),
            tuple(attempt.results.get(day, ())),
            self._seconds,
        )


def _blocking_problem(results: Sequence[CheckResult]) -> str | None:
    broken = [r for r in results if not r.passed and r.blocks]
    return "; ".join(f"{r.check.name}: {r.message}" for r in broken) or None


def reason(error: Exception) -> str:
    """The sentence of ours in an error; engines wrap what a worker raised in a stack trace."""
    text = str(error).strip()
    if not isinstance(error, TrainingAssetsError):
        marked = [line for line in text.splitlines() if "Error: " in line]
        text = marked[-1] if marked else (text.splitlines() or [type(error).__name__])[0]
        text = re.sub(r"^.*\b(RawDataError|SchemaError|DamagedFileError): ", "", text)
        if "No space left on device" in text:
            text = f"{text}; the days stand as they were. Free space, then run them again."
    return text[:1000]


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("training-assets", "pyspark", "pysail", "deltalake")}
