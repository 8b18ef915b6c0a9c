"""What a check is given, and what it gives back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from training_assets.lake import Lake, Staging, data_files, quarantine_name
from training_assets.raw import RawDays, find_raw_days
from training_assets.schemas import QUARANTINED_BY, TABLES, Table
from training_assets.settings import Settings

Figure = int | float | str


@dataclass(frozen=True)
class Verdict:
    """Of one check on one day: ``message`` says what was found where it did not pass."""

    passed: bool
    figures: Mapping[str, Figure]
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
    evaluate: "Callable[[Evidence], Mapping[date, Verdict]]"


@dataclass(frozen=True)
class CheckResult:
    check: Check
    day: date
    passed: bool
    figures: Mapping[str, Figure]
    message: str = ""


@dataclass(frozen=True)
class Evidence:
    """The days under check: staged ones of ``table`` where there is staging, else published ones.

    All other tables are read as published. ``memo`` is for what several checks share.
    """

    spark: SparkSession
    lake: Lake
    settings: Settings
    table: Table
    days: tuple[date, ...]
    staging: Staging | None = None
    _raw: dict[str, RawDays] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict)

    def frame(self, table: str) -> DataFrame:
        """The days of a table; of another than the subject's, as far as they are published."""
        if self.staging is not None and table == self.table.name:
            return self.staging.read(self.spark, TABLES[table], self.days)
        return self.lake.read(self.spark, TABLES[table], self.days)

    def folder(self, day: date) -> Path:
        """Where the day's files of the subject lie."""
        place = self.staging or self.lake
        return place.day_path(self.table.name, day)

    def of_days(self, days: Sequence[date]) -> "Evidence":
        """The same for some of the days."""
        return Evidence(self.spark, self.lake, self.settings, self.table, tuple(days), self.staging)

    def raw(self, table: Table) -> RawDays:
        if table.name not in self._raw:
            allow = self.settings.missing_raw == "empty"
            self._raw[table.name] = find_raw_days(
                self.lake.root, table, self.days, allow_missing=allow
            )
        return self._raw[table.name]

    def quarantined_rows(self, source: Table, day: date) -> int:
        """Rows that were set aside of one raw table, staged or published with the subject."""
        place = self.staging or self.lake
        folder = place.day_path(quarantine_name(source.name), day)
        return sum(pq.read_metadata(file).num_rows for file in data_files(folder))

    def quarantined(self, day: date) -> dict[str, int]:
        return {s.name: self.quarantined_rows(s, day) for s in QUARANTINED_BY[self.table.name]}
