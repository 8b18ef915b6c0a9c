"""Raw tables, from Parquet, JSON lines or CSV, with every row accounted for.

Files are listed (``days.py``) and their columns checked (``header.py``) before a job starts; they
are parsed on the workers by one reader (``rows.py``) that is the same on every engine. A row that
breaks a rule is never in ``read_valid`` and always in ``read_rejects``.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import reduce
from typing import Final, TypeVar

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets import errors, list_format, schemas
from training_assets.engine import Partitioning
from training_assets.engine.shipping import ship
from training_assets.lake import Lake
from training_assets.schemas import QUARANTINE, Table
from training_assets.sources import (
    ahead,
    blocks,
    cleaning,
    columns,
    csv_cells,
    ids,
    json_blocks,
    json_rows,
    json_values,
    memo,
    opening,
    parquet,
    plain_texts,
    reading,
    rejects,
    rows,
    rules,
    text,
    text_ids,
    typed,
    validation,
    values,
)
from training_assets.sources.columns import Task
from training_assets.sources.days import SourceDays, files_of_days
from training_assets.sources.declared import declarations
from training_assets.sources.header import parts_of
from training_assets.sources.id_kinds import text_ids_of, with_item_files
from training_assets.sources.listing import RawFile, by_day, whole_file
from training_assets.sources.reading import Reading, item_rows
from training_assets.sources.text_ids import NEW_IDS_DDL, NO_TEXT_IDS, TextIds

ship(
    *(cleaning, rules, ids, memo, validation),
    *(
        rows,
        rejects,
        text,
        csv_cells,
        json_rows,
        json_blocks,
        json_values,
        ahead,
        blocks,
        parquet,
        plain_texts,
        typed,
        values,
    ),
    *(reading, columns, opening, text_ids, schemas, list_format, errors),
)

_TASK_DDL: Final = (
    "task int, uri string, name string, format string, day date, start long, stop long, "
    "reading string"
)
_BYTES_PER_PARTITION: Final = 8 * 2**20
_MANY_PARTITIONS: Final = 32
_BYTES_PER_FURTHER: Final = 2**30
_MIN_PARTITIONS: Final = 4
# What takes about as long as to begin a task.
_BYTES_PER_TASK: Final = 2**16
_MAX_PARTITIONS: Final = 1000
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class RawDays:
    """The raw files of some days of one table, listed and with their columns checked.

    ``equal_rows_once``: of rows of a day that are equal in all columns that are read one counts;
    ``read_valid`` gives them all.
    """

    table: Table
    days: tuple[date, ...]
    listed: tuple[RawFile, ...]
    tasks: tuple[Task, ...]
    lake: Lake | None = field(default=None, repr=False, compare=False)
    equal_rows_once: bool = False

    @classmethod
    def of(cls, parts: Sequence["RawDays"]) -> "RawDays":
        """Several days as one; a flat file that serves several of them is read once."""
        tasks = dict.fromkeys(t._replace(task=0) for part in parts for t in part.tasks)
        numbered = tuple(task._replace(task=n) for n, task in enumerate(tasks))
        listed = dict.fromkeys(file for part in parts for file in part.listed)
        days = tuple(day for part in parts for day in part.days)
        return replace(parts[0], days=days, listed=tuple(listed), tasks=numbered)

    def read_valid(self, spark: SparkSession) -> DataFrame:
        """Valid rows with the table's own columns; of impressions, only the valid items."""
        return self._read(spark, self.table.ddl, wants_rejects=False)

    def read_rejects(self, spark: SparkSession) -> DataFrame:
        """What ``read_valid`` leaves out, as rows of the quarantine table."""
        return self._read(spark, QUARANTINE.ddl, wants_rejects=True)

    def text_ids(self) -> TextIds:
        """Which ids of the rows are texts, by what the lake has now."""
        return text_ids_of(self.lake, self.table, self.listed) if self.lake else NO_TEXT_IDS

    def read_text_ids(self, spark: SparkSession) -> DataFrame:
        """Texts that are ids in valid rows: entity, text, the first day of each in its part."""
        table, days, texts = self.table, self.days, self.text_ids()

        def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return rows.text_ids(batches, table, days, texts)

        return self._spread(spark, self.tasks).mapInArrow(parse, NEW_IDS_DDL)

    def count_rows(self) -> dict[date, int]:
        """Rows in the files by day, good or bad; of impressions, rankings."""
        counts = dict.fromkeys(self.days, 0)
        parts = _map(lambda task: rows.count_rows(task, self.table, self.days), self.tasks)
        for part in parts:
            for day, count in part.items():
                counts[day] += count
        return counts

    def by_day(self) -> dict[date, "RawDays"]:
        """The same, each of the days alone."""
        files, tasks = by_day(self.listed, self.days), by_day(self.tasks, self.days)
        return {
            day: replace(self, days=(day,), listed=tuple(files[day]), tasks=tuple(tasks[day]))
            for day in self.days
        }

    def files(self) -> list[RawFile]:
        """Each file once, in the order in which they are read."""
        return list(self.listed)

    def _num_partitions(self) -> int:
        """Few for small files: each is a task of its own, with a Python worker, on Spark."""
        size = sum(_size(file) for file in self.listed)
        few = _MIN_PARTITIONS + size // _BYTES_PER_PARTITION
        return min(few, _MANY_PARTITIONS + size // _BYTES_PER_FURTHER, _MAX_PARTITIONS)

    def _read(self, spark: SparkSession, ddl: str, *, wants_rejects: bool) -> DataFrame:
        if not self.tasks:
            return spark.createDataFrame([], schema=ddl)
        kinds: dict[bool, list[Task]] = {}
        for task in self.tasks:
            kinds.setdefault(Reading.of(task.reading).has_rows_per_item, []).append(task)
        frames = [
            self._parsed(spark, tasks, ddl, wants_rejects, by_item and not wants_rejects)
            for by_item, tasks in kinds.items()
        ]
        return reduce(DataFrame.unionByName, frames)

    def _spread(self, spark: SparkSession, of: Sequence[Task]) -> DataFrame:
        partitioning = Partitioning.of(spark)
        if not partitioning.is_exact:
            tasks = spark.createDataFrame([tuple(task) for task in of], schema=_TASK_DDL)
            return tasks.repartition(min(len(of), self._num_partitions()), "task")
        # All partitions would be at work at once, and wait for the interpreter that they share.
        shares = self._shares(of, len(partitioning.keys))
        rows = [(*task, share) for task, share in zip(of, shares, strict=True)]
        tasks = spark.createDataFrame(rows, schema=f"{_TASK_DDL}, share int")
        return partitioning.spread(tasks, F.col("share"), of=len(partitioning.keys)).drop("share")

    def _shares(self, of: Sequence[Task], num: int) -> list[int]:
        """The number of the share of each task, of so many that have about as many bytes each."""
        num_tasks = Counter(task.uri for task in of)
        sizes = {file.uri: _size(file) for file in self.listed if file.uri in num_tasks}
        # A task of next to no bytes takes its time, too.
        costs = [sizes[task.uri] // num_tasks[task.uri] + _BYTES_PER_TASK for task in of]
        loads, shares = [0] * num, [0] * len(of)
        for place in sorted(range(len(of)), key=lambda place: -costs[place]):
            shares[place] = loads.index(min(loads))
            loads[shares[place]] += costs[place]
        return shares

    def _parsed(
        self, spark: SparkSession, of: Sequence[Task], ddl: str, wants_rejects: bool, by_item: bool
    ) -> DataFrame:
        table, days, texts = self.table, self.days, self.text_ids()
        if self.lake is not None and not wants_rejects:
            texts = with_item_files(self.lake, texts)

        def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return rows.parse(batches, table, days, wants_rejects=wants_rejects, texts=texts)

        spread = self._spread(spark, of)
        if not by_item:
            return spread.mapInArrow(parse, ddl)
        item = f"{item_rows(table).ddl}, task long, place long"
        return _as_rankings(spread.mapInArrow(parse, item), table)


def _as_rankings(items: DataFrame, table: Table) -> DataFrame:
    """Rankings of rows of one item each, by position, else as they stand in their files."""
    keys = [table.day_column, "ranking_id", "customer_id"]
    last = F.coalesce("position", F.lit(2**63 - 1)).alias("position")
    row = F.struct(last, "task", "place", "item_id", "is_order")
    found = items.groupBy(*keys).agg(F.sort_array(F.collect_list(row)).alias("shown"))
    shown = F.transform("shown", lambda x: F.struct(x["item_id"], x["is_order"]))
    kind = "array<struct<item_id:int,is_order:boolean>>"
    return found.select(*keys, shown.cast(kind).alias("impressions"))


def find_raw_days(
    lake: Lake,
    table: Table,
    days: Sequence[date],
    known: SourceDays | None = None,
    *,
    allow_missing: bool = False,
) -> RawDays:
    """The files of ``days``, or of all that a flat ``previous_orders`` holds of them.

    Raises ``RawDataError`` as ``files_of_days`` does, and for a file that cannot be read;
    ``SchemaError`` for a wrong or missing column.
    """
    files = files_of_days(lake, table, days, known, allow_missing=allow_missing)
    tasks = [
        task
        for group in _map(lambda file: parts_of(whole_file(file), table), files)
        for task in group
    ]
    numbered = tuple(task._replace(task=number) for number, task in enumerate(tasks))
    # The kernel of interactions sees to theirs, after they are cleaned.
    is_once = table.action_type is not None and declarations(lake).of(table).dedupe == "exact"
    return RawDays(table, tuple(days), tuple(files), numbered, lake, is_once)


def _size(file: RawFile) -> int:
    if file.size is not None:
        return file.size
    return os.path.getsize(file.uri) if os.path.exists(file.uri) else 0


def _map(function: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
    """In threads, because file systems are slow to answer; a single file is not worth one."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(function, items))
