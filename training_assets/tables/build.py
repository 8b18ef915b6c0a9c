"""What the builds of all tables share: one pass over a range, files written by workers.

raw ──read──> rows ──by day and part──> kernels ──> <lake>/<table>/dt=…/part-….parquet
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from itertools import accumulate
from typing import Any, Final, NamedTuple

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.engine import Partitioning
from training_assets.kernels import (
    PIECES_DDL,
    WRITTEN_DDL,
    Written,
    empty_file,
    merge_runs,
    write_runs,
)
from training_assets.lake import DataFile, Entry, Lake, new_run
from training_assets.lake.files import quarantine_path
from training_assets.list_format import SealedParquet
from training_assets.provenance import Provenance
from training_assets.schemas import Table, re_delivered
from training_assets.settings import Settings
from training_assets.sources import REJECTS_DDL, RawDays, write_rejects

RUNS: Final = "_runs"
# Above, rows go by way of the disk: an engine that shuffles them holds all of them.
_MANY_ROWS: Final = 8_000_000
# Of as many small days, each run would be of as many pieces, and each piece is a file to open.
_MANY_DAYS: Final = 32
_EPOCH = date(1970, 1, 1).toordinal()

Batches = Iterator[pa.RecordBatch]


class NewFiles(NamedTuple):
    """The files of a day that a run has written; ``bounds`` are of customers, None without rows."""

    files: tuple[DataFile, ...]
    bounds: tuple[tuple[int, int] | None, ...]

    @classmethod
    def together(cls, parts: Sequence["NewFiles"]) -> "NewFiles":
        """The files of all parts of a day; those without rows may be the same file."""
        found = {
            file.name: (file, bounds)
            for part in parts
            for file, bounds in zip(part.files, part.bounds, strict=True)
        }
        files, bounds = zip(*(found[name] for name in sorted(found)), strict=True)
        return cls(files, bounds)

    @classmethod
    def of(cls, written: Sequence[Written]) -> "NewFiles":
        ordered = sorted(written, key=lambda file: file.name)
        return cls(
            tuple(DataFile(file.name, file.bytes, file.rows) for file in ordered),
            tuple(
                None if file.low is None or file.high is None else (file.low, file.high)
                for file in ordered
            ),
        )


@dataclass
class Build:
    """One run over a range of days; ``run`` names it in all that it writes."""

    spark: SparkSession
    settings: Settings
    provenance: Provenance
    progress: Callable[[str], None]
    run: str = field(default_factory=new_run)
    engine: str = field(init=False)
    partitioning: Partitioning = field(init=False)
    _has_ids: set[tuple[str, tuple[date, ...]]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.partitioning = Partitioning.of(self.spark)
        self.engine = self.partitioning.engine

    @property
    def lake(self) -> Lake:
        return self.provenance.lake

    def raw(self, table: Table, days: Sequence[date]) -> RawDays:
        """The raw files of the days; text ids in their rows have their integers from then on."""
        from training_assets.tables.shop_ids import add_ids_of

        raw = self.provenance.raw(table, days)
        key = (table.name, tuple(days))
        if raw.tasks and key not in self._has_ids and raw.text_ids().entities:
            add_ids_of(self, raw)
            self._has_ids.add(key)
        return raw

    def root(self, table: str) -> str:
        """The folder of a table, as workers know it."""
        return self.lake.table_store(table).uri()


def write_days(
    build: Build,
    frame: DataFrame,
    table: Table,
    days: Sequence[date],
    files_per_day: int,
    write: Callable[[Batches], Batches],
) -> dict[date, NewFiles]:
    """Write the rows of a frame with columns ``dt`` and ``part``; every day gets a file."""
    spread = spread_days(build, frame, days, files_per_day, F.col("part"))
    return _new_files(build, table, days, spread.mapInArrow(write, WRITTEN_DDL).collect())


def write_large_days(
    build: Build,
    frame: DataFrame,
    table: Table,
    days: Sequence[date],
    files: Mapping[date, int],
    write: Callable[[Batches], Batches],
    rows: int,
) -> dict[date, NewFiles]:
    """The same as ``write_days``, where there are more ``rows`` than an engine should hold.

    Rows go to the disk as they are read, and are brought together part by part.
    """
    if rows <= _MANY_ROWS or rows // len(days) < _MANY_ROWS // _MANY_DAYS:
        return write_days(build, frame, table, days, max(files.values()), write)
    scratch = build.lake.store.child(RUNS, build.run)
    root = scratch.uri()

    def to_runs(batches: Batches) -> Batches:
        return write_runs(batches, root)

    def merge(batches: Batches) -> Batches:
        return merge_runs(batches, root, write)

    ends = dict(zip(files, accumulate(files.values()), strict=True))
    number = by_day({day: end - files[day] for day, end in ends.items()}) + F.col("part")
    try:
        pieces = frame.mapInArrow(to_runs, PIECES_DDL)
        spread = build.partitioning.spread(pieces, number, of=sum(files.values()))
        return _new_files(build, table, days, spread.mapInArrow(merge, WRITTEN_DDL).collect())
    finally:
        scratch.clear()
        # The checks that follow have other sizes, and would take their memory beside it.
        pa.default_memory_pool().release_unused()


def vacuum_runs(lake: Lake, *, keep: timedelta, dry_run: bool) -> tuple[int, int]:
    """Remove what killed runs have left of large days; (files, bytes)."""
    store = lake.store.child(RUNS)
    cutoff_ns = int((datetime.now(UTC) - keep).timestamp() * 1_000_000_000)
    by_run: dict[str, list[Entry]] = {}
    for entry in store.list():
        by_run.setdefault(entry.path.partition("/")[0], []).append(entry)
    gone = {run: of for run, of in by_run.items() if all(e.modified_ns < cutoff_ns for e in of)}
    if not dry_run:
        for run in gone:
            store.child(run).clear()
    return sum(map(len, gone.values())), sum(e.size for of in gone.values() for e in of)


def _new_files(
    build: Build, table: Table, days: Sequence[date], rows: Sequence[Any]
) -> dict[date, NewFiles]:
    """By day; one of which nothing was written gets an empty file."""
    written: dict[date, list[Written]] = {day: [] for day in days}
    for row in rows:
        written[day_of(row["day"])].append(Written(*row))
    for day, files in written.items():
        if not files:
            root = build.root(table.name)
            files.append(empty_file(root, build.run, number_of(day), table.arrow_schema))
    return {day: NewFiles.of(files) for day, files in written.items()}


def spread_days(
    build: Build, frame: DataFrame, days: Sequence[date], files_per_day: int, part: Column
) -> DataFrame:
    """Rows of one ``dt`` and part in one task."""
    first, last = min(days), max(days)
    number = F.datediff("dt", F.lit(first)) * F.lit(files_per_day) + part
    of = ((last - first).days + 1) * files_per_day
    return build.partitioning.spread(frame, number, of=of)


def of_faulty_days(
    build: Build,
    table: Table,
    sources: Sequence[RawDays],
    counted: Mapping[date, int],
    written: Mapping[date, NewFiles],
) -> list[RawDays]:
    """The sources for the days of which not every row that was counted has been written.

    Rows that were delivered again are written too, to the quarantine.

    Of the other days nothing is set aside, so that they need not be read again. Only for sources
    of which every valid row is written as one.
    """
    rows = {day: sum(file.rows for file in new.files) for day, new in written.items()}
    for day in (day for day, count in counted.items() if rows[day] != count):
        rows[day] += sum(_again(build, table, source.table, day) for source in sources)
    faulty = [day for day, count in counted.items() if rows[day] != count]
    if not faulty:
        return []
    by_days = [source.by_day() for source in sources]
    return [RawDays.of([found[day] for day in faulty]) for found in by_days]


def _again(build: Build, table: Table, source: Table, day: date) -> int:
    """Rows of the source that were set aside for standing there already."""
    store = build.lake.table_store(table.name)
    folder = f"{quarantine_path(day, build.run)}/source={re_delivered(source).name}"
    rows = 0
    for entry in store.list(folder):
        with SealedParquet(store.uri(entry.path)) as file:
            rows += file.metadata.num_rows
    return rows


def write_rejected(build: Build, table: Table, sources: Sequence[RawDays]) -> None:
    """Write what the sources cannot give to the table, beside the days that are being built."""
    if not sources:
        return
    parts = [
        source.read_rejects(build.spark).withColumn("source", F.lit(source.table.name))
        for source in sources
    ]
    rejects = reduce(DataFrame.unionByName, parts)
    root, run = build.root(table.name), build.run

    def write(batches: Batches) -> Batches:
        return write_rejects(batches, root, run)

    days = sorted({day for source in sources for day in source.days})
    spread_days(build, rejects, days, 1, F.lit(0)).mapInArrow(write, REJECTS_DDL).collect()


def count_by_day(sources: Sequence[RawDays], days: Sequence[date]) -> dict[date, int]:
    """Rows of the sources together, good or bad."""
    counts = [source.count_rows() for source in sources]
    return {day: sum(count[day] for count in counts) for day in days}


def files_by_day(counted: Mapping[date, int], rows_per_file: int) -> dict[date, int]:
    """Files of about that many rows; of the day's own rows alone, so that any run has the same.

    Those of a large day have at most half of them, since each core holds one while it is written,
    and go by fours, so that a few cores have as many each.
    """
    fours = {day: -(-count // (2 * rows_per_file)) for day, count in counted.items()}
    return {
        day: 4 * fours[day] if count > _MANY_ROWS else max(1, round(count / rows_per_file))
        for day, count in counted.items()
    }


def by_day(values: Mapping[date, int]) -> Column:
    """The value of the row's ``dt``."""
    if len(set(values.values())) == 1:
        return F.lit(next(iter(values.values())))
    first = min(values)
    span = range((max(values) - first).days + 1)
    column = F.array(*(F.lit(values.get(first + timedelta(days=n), 1)) for n in span))
    return F.element_at(column, F.datediff("dt", F.lit(first)) + F.lit(1))


def number_of(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - _EPOCH


def day_of(number: int) -> date:
    return date.fromordinal(number + _EPOCH)
