"""What a check is given, and what it gives back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.checks.files import FILES_DDL, read_columns
from training_assets.engine import Partitioning
from training_assets.lake import DataFile, Lake, quarantine_path
from training_assets.list_format import SealedParquet
from training_assets.schemas import Table
from training_assets.settings import Settings
from training_assets.sources import RawDays, find_raw_days, source_days

Metric = int | float | str
Severity = Literal["error", "warn"]
OnWorkers = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

_MIN_TASKS: Final = 2
_MAX_TASKS: Final = 128
_BYTES_PER_TASK: Final = 2**24
_OF_FILES: Final = ("facts", "profiles")
_REJECTS: Final = (".pq", ".parquet")


@dataclass(frozen=True)
class CheckOutcome:
    """Of one check on one day: ``message`` says what was found where it did not pass.

    ``severity`` is that of the outcome where it is not the check's own.
    """

    passed: bool
    metrics: Mapping[str, Metric]
    message: str = ""
    severity: Severity | None = None


@dataclass(frozen=True)
class Check:
    """A named condition on a day of a table. An error keeps the day from being published.

    ``description`` says what a failure means and what to do.
    """

    name: str
    table: str
    severity: Severity
    description: str
    evaluate: "Evaluate"


@dataclass(frozen=True)
class CheckResult:
    """What became of a check on a day; ``severity`` is the outcome's own, else the check's."""

    check: Check
    day: date
    passed: bool
    metrics: Mapping[str, Metric]
    message: str = ""
    own_severity: Severity | None = None

    @property
    def severity(self) -> Severity:
        return self.own_severity or self.check.severity

    @property
    def blocks(self) -> bool:
        """Whether the day is kept from being published; a warning that says error does not."""
        return self.severity == "error" and self.check.severity == "error"


@dataclass(frozen=True)
class CheckContext:
    """The days under check: files of ``table`` that a run has ``written``, or published ones.

    All other tables are read as published. ``sources`` are the raw tables whose rejects are kept
    with the days; ``run`` is the run that wrote them. ``memo`` is for what several checks share.
    """

    spark: SparkSession
    lake: Lake
    settings: Settings
    table: Table
    days: tuple[date, ...]
    sources: tuple[Table, ...]
    written: Mapping[date, Sequence[DataFile]] | None = None
    run: str = ""
    memo: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def data_files(self, table: Table, days: Iterable[date]) -> dict[date, tuple[DataFile, ...]]:
        """Files of those of the days that have any: of the subject those under check."""
        is_subject = self.written is not None and table == self.table
        known = self.written if is_subject else self.lake.snapshot(table.name).files
        return {day: tuple(known[day]) for day in sorted(set(days)) if known and known.get(day)}

    def files(self, table: Table, days: Iterable[date]) -> dict[date, list[str]]:
        """The same as what a worker opens."""
        store = self.lake.table_store(table.name)
        found = self.data_files(table, days)
        return {day: [store.uri(file.name) for file in files] for day, files in found.items()}

    def on_files(
        self,
        table: Table,
        days: Iterable[date],
        work: OnWorkers,
        ddl: str,
        *,
        takes_turns: bool = False,
    ) -> DataFrame:
        """What the workers make of the days' files, which they get as rows of ``FILES_DDL``.

        A task gets files of neighbouring days, or with ``takes_turns`` some of all times.
        """
        found = self.data_files(table, days)
        store = self.lake.table_store(table.name)
        files = [(day, store.uri(f.name), f.size) for day in found for f in found[day]]
        if not files:
            return self.spark.createDataFrame([], ddl)
        # Tasks of about as many bytes each, however many an engine makes of them.
        num_bytes = sum(max(1, size) for _, _, size in files)
        num_tasks = min(_MIN_TASKS + num_bytes // _BYTES_PER_TASK, _MAX_TASKS)
        if takes_turns:
            turns = min(num_tasks, len(Partitioning.of(self.spark).keys))
            files = [file for n in range(turns) for file in files[n::turns]]
        ends = np.cumsum([max(1, size) for _, _, size in files])
        rows = [
            (int((end - 1) * _MAX_TASKS // ends[-1]), day, uri)
            for (day, uri, _), end in zip(files, ends, strict=True)
        ]
        return self.on_workers(rows, FILES_DDL, _MAX_TASKS, work, ddl, at_most=num_tasks)

    def on_workers(
        self,
        rows: Sequence[tuple[Any, ...]],
        of: str,
        numbers: int,
        work: OnWorkers,
        ddl: str,
        *,
        at_most: int | None = None,
    ) -> DataFrame:
        """What the workers make of rows; those of a number, their first column, share a task."""
        frame = self.spark.createDataFrame(list(rows), of)
        partitioning, at_most = Partitioning.of(self.spark), at_most or numbers
        spread = partitioning.spread(frame, F.col("number"), of=numbers, at_most=at_most)
        return spread.mapInArrow(work, ddl)

    def columns(self, table: Table, days: Iterable[date], names: Sequence[str]) -> DataFrame:
        """Some columns of the days, and the day as ``dt``."""
        types = {column.name: column.type for column in table.stored_columns}
        ddl = ", ".join(["dt date", *(f"{name} {types[name]}" for name in names)])

        def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return read_columns(batches, table, names)

        return self.on_files(table, days, read, ddl)

    def of_days(self, days: Iterable[date]) -> "CheckContext":
        """The same for some of the days, whatever is wrong with the others.

        Of what is known only the facts of files are taken over: they are of each file alone.
        """
        some = tuple(days)
        return self if some == self.days else self._apart(some)

    def alone(self, day: date) -> "CheckContext":
        """The same for one of the days; asked again, the same object."""
        key = f"alone {day}"
        if key not in self.memo:
            self.memo[key] = self._apart((day,))
        found: CheckContext = self.memo[key]
        return found

    def _apart(self, days: tuple[date, ...]) -> "CheckContext":
        kept = {name: known for name, known in self.memo.items() if name in _OF_FILES}
        return replace(self, days=days, memo=kept)

    def raw(self, table: Table) -> RawDays:
        """The raw files of the days."""
        key = f"raw {table.name}"
        if key not in self.memo:
            allow = self.settings.missing_raw == "empty"
            known = source_days(self.lake, table)
            self.memo[key] = find_raw_days(self.lake, table, self.days, known, allow_missing=allow)
        found: RawDays = self.memo[key]
        return found

    def raw_rows(self, source: Table, day: date) -> int:
        """Rows of one raw table in the files of the day, good or bad."""
        key = f"raw rows {source.name}"
        if key not in self.memo:
            self.memo[key] = self.raw(source).count_rows()
        return int(self.memo[key][day])

    def rejected_rows(self, source: Table, day: date) -> int:
        """Rows of one raw table that were set aside when the day of the subject was built."""
        key = f"rejected {source.name} {day}"
        if key not in self.memo:
            store = self.lake.table_store(self.table.name)
            entries = store.list(f"{self._quarantine_path(day)}/source={source.name}")
            paths = [entry.path for entry in entries if entry.path.endswith(_REJECTS)]
            self.memo[key] = sum(_num_rows(store.uri(path)) for path in paths)
        found: int = self.memo[key]
        return found

    def _quarantine_path(self, day: date) -> str:
        if self.written is not None:
            return quarantine_path(day, self.run)
        return self.lake.snapshot(self.table.name).quarantine_path(day)


def _num_rows(uri: str) -> int:
    with SealedParquet(uri) as parquet:
        return int(parquet.metadata.num_rows)


Evaluate = Callable[[CheckContext], Mapping[date, CheckOutcome]]
