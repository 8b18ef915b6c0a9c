"""The rules over one raw day of interactions, items or users, before anything is built of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.engine import Partitioning
from training_assets.errors import SettingsError
from training_assets.lake import Lake, Store
from training_assets.schemas import RAW_ITEMS, RAW_USERS, SHOP_TABLES, Table
from training_assets.sources import RawDays, declarations, find_raw_days, source_days
from training_assets.sources.cleaning import latest_time
from training_assets.sources.judged import code_of
from training_assets.sources.validation import (
    EARLY_DAYS,
    EXAMPLES,
    FINDINGS_DDL,
    Known,
    Report,
    batch_of,
    examine,
    examine_order,
    findings_in,
)

_PARTS: Final = 8
_SINCE: Final = {RAW_ITEMS.name: "created_at", RAW_USERS.name: "join_date"}


@dataclass(frozen=True)
class RawLake(Lake):
    """A folder that holds raw tables itself, where a lake has them under raw."""

    @property
    def raw(self) -> Store:
        return self.store


def lake_of(path: str) -> Lake:
    """The lake at a path, or a folder of raw tables as one."""
    lake = Lake.at(path)
    return lake if lake.raw.list() else RawLake(lake.store)


def validate_day(spark: SparkSession, lake: Lake, source: str, day: date) -> Report:
    """All rules over a raw day; ids are held against the raw catalogue and users of its folder.

    Raises ``RawDataError`` for a day that is not there, ``SchemaError`` for a missing column.
    """
    table = SHOP_TABLES[source]
    known = source_days(lake, table)
    if day not in known.days:
        raise SettingsError(
            f"validate: {lake.raw.uri(source)} has no day {day}; expected one of "
            f"{', '.join(map(str, known.days[-3:])) or 'its days, of which there is none'}. "
            "Name another day, source or path."
        )
    raw = find_raw_days(lake, table, [day], known)
    report = Report(source, day)
    rows = raw.read_valid(spark)
    items, users = (
        (_known(spark, lake, RAW_ITEMS, day), _known(spark, lake, RAW_USERS, day))
        if source == "interactions"
        else (None, None)
    )
    now = min(latest_time(day), datetime.now(UTC))
    for _, finding in findings_in(_examined(spark, rows, table, day, now, items, users)):
        report.add(finding)
    if source == "interactions":
        for _, finding in findings_in(_ordered(rows, day)):
            report.add(finding)
    rejected = raw.read_rejects(spark)
    for reason, count, examples in _reasons(rejected):
        report.add_rejected(reason, code_of(reason), count, examples)
    return report.close(raw.count_rows()[day] - report.rejected)


def _examined(
    spark: SparkSession,
    rows: DataFrame,
    table: Table,
    day: date,
    now: datetime,
    items: Known | None,
    users: Known | None,
) -> list[Any]:
    """Findings of parts that hold all rows of a user, or of an item."""
    key = "item_id" if table is RAW_ITEMS else "user_id"

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = [batch for batch in batches if batch.num_rows]
        if found:
            part = pa.Table.from_batches(found)
            yield batch_of(day, examine(table.name, part, now=now, items=items, users=users))

    partitioning = Partitioning.of(spark)
    part = F.pmod(F.xxhash64(key), F.lit(_PARTS)).cast("int")
    spread = partitioning.spread(rows.withColumn("part", part), F.col("part"), of=_PARTS)
    return list(spread.mapInArrow(work, FINDINGS_DDL).collect())


def _ordered(rows: DataFrame, day: date) -> list[Any]:
    """The order within sessions, of rows as they come out of the files."""

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch_of(day, [examine_order(pa.Table.from_batches([batch]))])

    return list(rows.mapInArrow(work, FINDINGS_DDL).collect())


def _reasons(rejected: DataFrame) -> list[tuple[str, int, list[str]]]:
    counted = (
        rejected.groupBy("reason")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.slice(F.sort_array(F.collect_set("source_file")), 1, EXAMPLES).alias("files"),
        )
        .collect()
    )
    return sorted((row["reason"], row["rows"], list(row["files"])) for row in counted)


def _known(spark: SparkSession, lake: Lake, table: Table, day: date) -> Known | None:
    """All that was delivered up to the day, and what comes in the days after it."""
    days = source_days(lake, table).near
    before = [d for d in days if d <= day]
    if not before or not declarations(lake).of(table).is_complete:
        return None
    key, since = table.key[0], _SINCE[table.name]
    after = [d for d in days if day < d <= day + timedelta(days=EARLY_DAYS)]
    early = _ids(spark, find_raw_days(lake, table, after), key, since) if after else None
    values = _ids(spark, find_raw_days(lake, table, before), key, since)
    return Known(key=key, since=since, values=values, early_values=early)


def _ids(spark: SparkSession, raw: RawDays, key: str, since: str) -> pa.Table:
    found: pa.Table = raw.read_valid(spark).groupBy(key).agg(F.min(since).alias(since)).toArrow()
    return found


def write_report(lake: Lake, report: Report) -> str:
    """Write JSON and Markdown beside the raw tables' lake; where the Markdown is."""
    store = lake.store.child("_validation")
    name = f"{report.table}/dt={report.day}/report"
    store.put(f"{name}.json", json.dumps(report.as_json(), indent=1).encode())
    store.put(f"{name}.md", report.as_markdown().encode())
    return store.uri(f"{name}.md")
