"""What items and users share: of each day with a delivery the state, laid over the one before.

A day's state is made of all deliveries up to it, of which the newest published day that is current
stands for those before it.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from training_assets import checks
from training_assets.kernels import WRITTEN_DDL, Written, empty_file, fold_snapshots
from training_assets.lake import days_in_words
from training_assets.lake.frames import read_days
from training_assets.provenance import BuiltFrom
from training_assets.schemas import Table
from training_assets.settings import Settings
from training_assets.sources import declarations
from training_assets.tables.build import (
    Batches,
    Build,
    NewFiles,
    day_of,
    number_of,
    write_rejected,
)
from training_assets.tables.shop_ids import Entity, with_ids
from training_assets.tables.spec import TableSpec

_ROWS_PER_PART: Final = 500_000
MAX_SHRINK: Final = 0.2


def snapshot_spec(built: BuiltFrom, entity: Entity, what: str, one: str) -> TableSpec:
    """The table of such states; ``what`` it is and what ``one`` of its rows is, in words."""
    fills = {c.name: c.fill for c in built.sources[0].columns if c.fill is not None}

    def build(of: Build, days: Sequence[date]) -> Mapping[date, NewFiles]:
        return build_snapshots(of, built, days, entity, fills)

    def describe(settings: Settings) -> str:
        return (
            f"{what} as of the day, with whatever was known before: {one} that a full snapshot "
            "lacks is inactive from that day on. A day without a delivery has none of its own; "
            "the newest one before it holds."
        )

    return TableSpec(
        built_from=built,
        describe=describe,
        build=build,
        checks=checks.for_table(
            built.table,
            schema=checks.check_schema,
            row_counts=checks.check_snapshot_counts,
            snapshot_size=checks.check_snapshot_size,
            up_to_date=checks.up_to_date(built),
        ),
        metrics=checks.snapshot_metrics,
        rejects=True,
        group="shop",
    )


def build_snapshots(
    build: Build, built: BuiltFrom, days: Sequence[date], entity: Entity, fills: Mapping[str, str]
) -> Mapping[date, NewFiles]:
    """The state of each of the days, with all that was delivered since the newest current one."""
    (source,), table = built.sources, built.table
    base = _base(build, built, min(days))
    delivered = build.provenance.source_days(source).near
    since = [d for d in delivered if d <= max(days) and (base is None or d > base)]
    raw = build.raw(source, since)
    rows = _named(with_ids(build, raw.read_valid(build.spark), source, (entity,)), table, fills)
    is_full = declarations(build.lake).of(source).snapshot == "full"
    valid: dict[date, int] = {}
    deletes = dict.fromkeys(since, False)
    if is_full:
        deletes, valid = _deletes(build, table, rows, since, base)
    state = None
    if base is not None:
        state = read_days(build.spark, build.lake.snapshot(table.name), table, [base])
        rows = rows.unionByName(state, allowMissingColumns=True)
    counted = raw.count_rows()
    num_rows = max(counted.values(), default=0)
    parts = max(1, round(num_rows / _ROWS_PER_PART))
    root, run, wanted = build.root(table.name), build.run, list(days)

    def write(batches: Batches) -> Batches:
        return fold_snapshots(batches, table, since, deletes, wanted, base, root, run)

    parted = rows.withColumn("part", F.pmod(F.xxhash64(table.key[0]), F.lit(parts)).cast("int"))
    spread = build.partitioning.spread(parted, F.col("part"), of=parts)
    found: dict[date, list[Written]] = {day: [] for day in days}
    for row in spread.mapInArrow(write, WRITTEN_DDL).collect():
        found[day_of(row["day"])].append(Written(*row))
    for day, files in found.items():
        if not files:
            files.append(empty_file(root, run, number_of(day), table.arrow_schema))
    # Of days whose rows are all valid nothing is set aside, and they are not read again for it.
    faulty = [day for day in days if valid.get(day) != counted.get(day)]
    write_rejected(build, table, [build.raw(source, faulty)] if faulty else [])
    return {day: NewFiles.of(files) for day, files in found.items()}


def _base(build: Build, built: BuiltFrom, first: date) -> date | None:
    """The newest published day before, if it says what it would say now."""
    published = [day for day in build.lake.days(built.table.name) if day < first]
    return next((d for d in reversed(published) if build.provenance.is_current(built, d)), None)


def _named(rows: DataFrame, table: Table, fills: Mapping[str, str]) -> DataFrame:
    """Delivered rows with the columns of the table, and when they arrived."""
    known = set(rows.columns)
    is_active = F.coalesce("is_active", F.lit(True)) if "is_active" in known else F.lit(True)
    made = {"is_active": is_active, "is_listed": F.lit(True)}
    columns = []
    for column in table.columns:
        value = made.get(column.name, F.col(column.name) if column.name in known else F.lit(None))
        if column.name in fills:
            value = F.coalesce(value, F.lit(fills[column.name]))
        columns.append(value.cast(column.type).alias(column.name))
    return rows.select(*columns, "ingested_at")


def _deletes(
    build: Build, table: Table, rows: DataFrame, days: Sequence[date], base: date | None
) -> tuple[dict[date, bool], dict[date, int]]:
    """Of which days what is missing is gone: of full ones that have not shrunk suspiciously.

    And how many valid rows each has, also those that repeat a key.
    """
    key = F.countDistinct(table.key[0]).alias("keys")
    counted = rows.groupBy("dt").agg(key, F.count(F.lit(1)).alias("valid")).collect()
    sizes = {row["dt"]: row["keys"] for row in counted}
    reference = 0
    if base is not None:
        reference = int(build.lake.manifest(table.name, base).get("figures", {}).get("listed", 0))
    deletes, suspect = {}, []
    for day in days:
        size = sizes.get(day, 0)
        deletes[day] = size >= (1 - MAX_SHRINK) * reference
        if deletes[day]:
            reference = size
        else:
            suspect.append(day)
    if suspect:
        build.progress(
            f"{table.name}: {days_in_words(suspect)} has shrunk by more than "
            f"{MAX_SHRINK * 100:g} %; what it lacks is not taken as deleted"
        )
    return deletes, {row["dt"]: row["valid"] for row in counted}
