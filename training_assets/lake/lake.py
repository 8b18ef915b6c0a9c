"""Day-partitioned Parquet tables under one root: what is published, and how it is read.

    <root>/raw/<table>/dt=YYYY-MM-DD/…            what came in; never written here
    <root>/<table>/dt=YYYY-MM-DD/part-00000.parquet, _day.json
                              …/_quarantine/source=<raw table>/part-00000.pq
    <root>/_staging, _locks, _retired             runs at work; see staging, locks, publishing

A day is published exactly when its folder exists; it appears, and is replaced, by one rename.
``_day.json`` in the folder says what is in it and how it was made, ``_quarantine`` holds the raw
rows that it could not take. Every Parquet reader ignores both, as all names that begin with ``_``.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.errors import DayNotPublishedError
from training_assets.lake.publishing import DAY_PREFIX
from training_assets.schemas import Table

MANIFEST: Final = "_day.json"
_QUARANTINE: Final = "_quarantine"


@dataclass(frozen=True)
class Lake:
    """One root of day-partitioned tables; see the module for the layout."""

    root: Path

    def table_path(self, table: str) -> Path:
        return self.root / table

    def day_path(self, table: str, day: date) -> Path:
        return self.table_path(table) / f"{DAY_PREFIX}{day.isoformat()}"

    def days(self, table: str) -> list[date]:
        """Published days, oldest first."""
        return sorted(_days_in(self.table_path(table)))

    def manifest(self, table: str, day: date) -> dict[str, Any]:
        """What ``_day.json`` says; raises ``DayNotPublishedError``."""
        path = self.day_path(table, day) / MANIFEST
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            raise DayNotPublishedError(
                f"{table}: day {day} is not published under {self.table_path(table)}. "
                f"Materialize {table} for it."
            ) from None
        if not isinstance(content, dict):
            raise DayNotPublishedError(f"{path}: expected a JSON object. Materialize the day anew.")
        return content

    def read(self, spark: SparkSession, table: Table, days: Iterable[date]) -> DataFrame:
        """The published ones among ``days``, with the declared schema; others are left out."""
        published = set(self.days(table.name))
        return read_days(spark, table, self.table_path(table.name), set(days) & published)


def read_days(spark: SparkSession, table: Table, path: Path, days: set[date]) -> DataFrame:
    """Those day folders of ``path``, pruned by partition; an empty frame where there is none."""
    if not days:
        return spark.createDataFrame([], schema=table.ddl)
    frame = spark.read.schema(table.ddl).parquet(str(path))
    first, last = min(days), max(days)
    is_text = {column.name: column.type for column in table.columns}["dt"] == "string"
    literals = [str(day) if is_text else day for day in sorted(days)]
    if len(days) == (last - first).days + 1:
        return frame.where(F.col("dt").between(F.lit(literals[0]), F.lit(literals[-1])))
    return frame.where(F.col("dt").isin(literals))


def day_range(first: date, last: date) -> list[date]:
    """All days from ``first`` to ``last``, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def data_files(folder: Path) -> list[Path]:
    """The Parquet files of a day folder, in name order."""
    return sorted(f for f in folder.glob("*.parquet") if not f.name.startswith(("_", ".")))


def quarantine_path(day: Path, source: Table) -> Path:
    """Where a day folder keeps the rows of one raw table that it could not take."""
    return day / _QUARANTINE / f"source={source.name}"


def quarantine_files(day: Path, source: Table) -> list[Path]:
    """Parquet files of ``QUARANTINE`` rows, in name order; none for a day without faults."""
    return sorted(quarantine_path(day, source).glob("*.pq"))


def _days_in(folder: Path) -> Iterable[date]:
    for entry in folder.glob(f"{DAY_PREFIX}*"):
        try:
            yield date.fromisoformat(entry.name.removeprefix(DAY_PREFIX))
        except ValueError:
            continue
