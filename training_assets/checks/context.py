"""What a check is given, and what it gives back."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.engine import Partitioning, engine_name
from training_assets.errors import SchemaError
from training_assets.lake import (
    Lake,
    Staging,
    data_files,
    quarantine_files,
)
from training_assets.schemas import QUARANTINED_BY, TABLES, Table
from training_assets.settings import Settings
from training_assets.sources import RawDays, find_raw_days

Metric = int | float | str


@dataclass(frozen=True)
class CheckOutcome:
    """Of one check on one day: ``message`` says what was found where it did not pass."""

    passed: bool
    metrics: Mapping[str, Metric]
    message: str = ""


@dataclass(frozen=True)
class Check:
    """A named condition on a day of a table. An error keeps the day from being published.

    ``description`` says what a failure means and what to do.
    """

    name: str
    table: str
    severity: Literal["error", "warn"]
    description: str
    evaluate: "Callable[[CheckContext], Mapping[date, CheckOutcome]]"


@dataclass(frozen=True)
class CheckResult:
    check: Check
    day: date
    passed: bool
    metrics: Mapping[str, Metric]
    message: str = ""


@dataclass(frozen=True)
class CheckContext:
    """The days under check: staged ones of ``table`` where there is staging, else published ones.

    All other tables are read as published. ``memo`` is for what several checks share. Where
    ``is_apart``, files of other days may be broken.
    """

    spark: SparkSession
    lake: Lake
    settings: Settings
    table: Table
    days: tuple[date, ...]
    staging: Staging | None = None
    _raw: dict[str, RawDays] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict)
    is_apart: bool = False
    _parts: "dict[tuple[date, ...], CheckContext]" = field(default_factory=dict)

    @property
    def partitioning(self) -> Partitioning:
        """The tasks that work is spread over."""
        if "partitioning" not in self.memo:
            self.memo["partitioning"] = Partitioning.of(self.spark, engine_name(self.spark))
        found: Partitioning = self.memo["partitioning"]
        return found

    def frame(self, table: str) -> DataFrame:
        """The days of a table; of another than the subject's, as far as they are published."""
        return self.read(TABLES[table], self.days)

    def read(self, table: Table, days: Iterable[date]) -> DataFrame:
        """Days of a table, staged or published as in ``frame``.

        Where ``is_apart``, raises ``SchemaError`` for a day that is not as declared.
        """
        place = self._place(table)
        if not self.is_apart:
            return place.read(self.spark, table, days)
        folders = self._require_declared(table, days)
        if not folders:
            return self.spark.createDataFrame([], schema=table.ddl)
        return _union([self._read_day(table, day, folder) for day, folder in folders.items()])

    def files(self, table: Table, days: Iterable[date]) -> dict[date, list[Path]]:
        """Data files of the days that there are, for workers to read; errors as of ``read``."""
        if self.is_apart:
            folders = self._require_declared(table, days)
        else:
            place = self._place(table)
            folders = {day: place.day_path(table.name, day) for day in sorted(days)}
        found = {day: data_files(folder.absolute()) for day, folder in folders.items()}
        return {day: files for day, files in found.items() if files}

    def _place(self, table: Table) -> Lake | Staging:
        return self.staging if self.staging and table == self.table else self.lake

    def _require_declared(self, table: Table, days: Iterable[date]) -> dict[date, Path]:
        """Folders of the days that there are; raises ``SchemaError`` for one not as declared."""
        place, folders = self._place(table), {}
        for day in sorted(days):
            folder = place.day_path(table.name, day)
            if not folder.is_dir():
                continue
            if problems := schema_problems(table, folder):
                raise SchemaError(
                    f"{table.name}: day {day} is not as declared: {'; '.join(problems[:5])}. "
                    "Materialize it again."
                )
            folders[day] = folder
        return folders

    def _read_day(self, table: Table, day: date, folder: Path) -> DataFrame:
        stored = ", ".join(f"`{column.name}` {column.type}" for column in table.stored_columns)
        rows = self.spark.read.schema(stored).parquet(str(folder))
        dt = next(column for column in table.columns if column.name == "dt")
        return rows.withColumn("dt", F.lit(day).cast(dt.type)).select(*table.column_names)

    def folder(self, day: date) -> Path:
        """Where the day's files of the subject lie."""
        place = self.staging or self.lake
        return place.day_path(self.table.name, day)

    def of_days(self, days: Iterable[date]) -> "CheckContext":
        """The same for some of the days, whatever is wrong with the others."""
        some = tuple(days)
        return self if some == self.days else self.apart(some)

    def apart(self, days: tuple[date, ...]) -> "CheckContext":
        """The same for some of the days, as if there were no others.

        Not so by itself: Sail looks into every file of a table, whichever days are asked for.
        """
        if days not in self._parts:
            self._parts[days] = replace(self, days=days, is_apart=True, _raw={}, memo={}, _parts={})
        return self._parts[days]

    def raw(self, table: Table) -> RawDays:
        if table.name not in self._raw:
            allow = self.settings.missing_raw == "empty"
            self._raw[table.name] = find_raw_days(
                self.lake.root, table, self.days, allow_missing=allow
            )
        return self._raw[table.name]

    def quarantined_rows(self, source: Table, day: date) -> int:
        """Rows of one raw table that were set aside when the day of the subject was built."""
        files = quarantine_files(self.folder(day), source)
        return sum(pq.read_metadata(file).num_rows for file in files)

    def quarantined(self, day: date) -> dict[str, int]:
        return {s.name: self.quarantined_rows(s, day) for s in QUARANTINED_BY[self.table.name]}


def _union(frames: list[DataFrame]) -> DataFrame:
    # In pairs: plans that nest as deep as there are days are refused.
    while len(frames) > 1:
        frames = [
            reduce(DataFrame.unionByName, frames[n : n + 2]) for n in range(0, len(frames), 2)
        ]
    return frames[0]


def schema_problems(table: Table, folder: Path) -> list[str]:
    """How the files of a day folder differ from ``schemas``: names, order and types."""
    files = data_files(folder)
    problems = [] if files else ["there is no Parquet file"]
    for file in files:
        try:
            found = pq.read_schema(file)
        except (OSError, pa.ArrowInvalid) as error:
            problems.append(f"{file.name} cannot be read ({str(error).splitlines()[0]})")
            continue
        problems += [f"{file.name}: {difference}" for difference in _differences(table, found)]
    return problems


def _differences(table: Table, found: pa.Schema) -> list[str]:
    expected = table.arrow_schema
    if found.names != expected.names:
        return [f"found columns {', '.join(found.names)}; expected {', '.join(expected.names)}"]
    return [
        f"{name} is {_plain(found.field(name).type)}; expected {_plain(expected.field(name).type)}"
        for name in expected.names
        if _plain(found.field(name).type) != _plain(expected.field(name).type)
    ]


def _plain(type_: pa.DataType) -> str:
    # Engines name the elements of lists differently, and nobody reads those names.
    return f"list<{type_.value_type}>" if pa.types.is_list(type_) else str(type_)
