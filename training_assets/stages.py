"""How a range of days of each table is staged: one pass over the range, files written by workers.

raw ──read──> rows ──by day and part──> kernels ──> _staging/…/dt=…/part-00000.parquet
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.compaction import action_files, range_boundaries
from training_assets.freshness import Freshness, Inputs, window_days
from training_assets.kernels.action_files import customer_bounds
from training_assets.kernels.day_files import (
    WRITTEN_DDL,
    empty_file,
    write_actions,
)
from training_assets.kernels.histories import (
    HISTORIES_DDL,
    REQUESTS_DDL,
    assign_tasks,
    build_histories,
    write_histories,
)
from training_assets.kernels.training_rows import RANKINGS_DDL, assign_parts, write_training_rows
from training_assets.lake import Lake, data_files
from training_assets.raw import RawDays
from training_assets.schemas import (
    ACTION_SOURCES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings
from training_assets.staging import Staging
from training_assets.transforms.unified_actions import build_unified_actions

_ACTIONS_PER_FILE: Final = 4_000_000
_RANKINGS_PER_FILE: Final = 50_000
_ACTIONS_PER_TASK: Final = 2_000_000
_MAX_TASKS: Final = 1000
_SPREAD: Final = 2
_EPOCH: Final = date(1970, 1, 1).toordinal()

Batches = Iterator[pa.RecordBatch]


@dataclass
class Build:
    """One build of a range of days; holds what the stages share."""

    spark: SparkSession
    lake: Lake
    settings: Settings
    staging: Staging
    progress: Callable[[str], None]
    freshness: Freshness
    inputs: dict[tuple[str, date], Inputs] = field(default_factory=dict)
    engine: str = field(init=False)

    def __post_init__(self) -> None:
        self.engine = _engine(self.spark)

    def raw(self, table: Table, days: Sequence[date]) -> RawDays:
        return self.freshness.raw(table, days)


def stage_unified_actions(build: Build, days: list[date]) -> None:
    """Stage all valid actions of the days; the others go to the quarantine."""
    sources = [build.raw(table, days) for table in ACTION_SOURCES]
    actions = build_unified_actions(*(source.read_valid(build.spark) for source in sources))
    num_files = _files_per_day(sources, days, _ACTIONS_PER_FILE)
    root = _root(build, UNIFIED_ACTIONS)

    def write(batches: Batches) -> Batches:
        return write_actions(batches, root)

    part = F.pmod(F.xxhash64("customer_id"), F.lit(num_files)).cast("int")
    parted = actions.withColumn("part", part)
    _write(build, parted, UNIFIED_ACTIONS, days, len(days) * num_files, write)
    _stage_quarantine(build, sources)


def stage_customer_history(build: Build, days: list[date]) -> None:
    """Stage the histories of all customers with impressions on the days."""
    settings = build.settings
    published = build.lake.days(UNIFIED_ACTIONS.name)
    window = {d for day in days for d in window_days(settings, published, day)}
    common = (settings.window_start(max(days)) or date.min, min(days))
    files = action_files(
        build.spark, build.staging, build.freshness, days=sorted(window), common=common
    )
    impressions = build.raw(IMPRESSIONS, days)
    num_files = _files_per_day([impressions], days, _RANKINGS_PER_FILE)
    boundaries = np.array(range_boundaries(files, _ACTIONS_PER_TASK), np.int64)
    num_tasks = len(boundaries) + 1
    # Tasks ascend with the customers, and so do the files of a day.
    parts = [task * num_files // num_tasks for task in range(num_tasks)]
    root, length, lookback = (
        _root(build, CUSTOMER_HISTORY),
        settings.history_length,
        settings.lookback_days,
    )

    def assign(batches: Batches) -> Batches:
        return assign_tasks(batches, boundaries)

    def make(batches: Batches) -> Batches:
        return build_histories(
            batches, files, parts=parts, history_length=length, lookback_days=lookback
        )

    def write(batches: Batches) -> Batches:
        return write_histories(batches, root)

    requests = impressions.read_valid(build.spark).select("dt", "customer_id")
    histories = (
        requests.mapInArrow(assign, REQUESTS_DDL)
        .repartition(min(num_tasks, _MAX_TASKS), "task")
        .mapInArrow(make, HISTORIES_DDL)
    )
    _write(build, histories, CUSTOMER_HISTORY, days, len(days) * num_files, write)


def stage_training_input(build: Build, days: list[date]) -> None:
    """Stage the training rows of the days from their published histories."""
    impressions = build.raw(IMPRESSIONS, days)
    histories, boundaries = {}, {}
    for day in days:
        folder = build.lake.day_path(CUSTOMER_HISTORY.name, day).absolute()
        paths = [str(file) for file in data_files(folder)]
        starts = sorted(min(low for low, _ in b) for p in paths if (b := customer_bounds(p)))
        histories[_number(day)] = paths
        boundaries[_number(day)] = starts[1:]
    root, length = _root(build, TRAINING_INPUT), build.settings.history_length

    def assign(batches: Batches) -> Batches:
        return assign_parts(batches, boundaries)

    def write(batches: Batches) -> Batches:
        return write_training_rows(batches, root, histories, length)

    rankings = impressions.read_valid(build.spark).mapInArrow(assign, RANKINGS_DDL)
    num_files = sum(len(cuts) + 1 for cuts in boundaries.values())
    _write(build, rankings, TRAINING_INPUT, days, num_files, write)
    _stage_quarantine(build, [impressions])


STAGES: Final[dict[str, Callable[[Build, list[date]], None]]] = {
    UNIFIED_ACTIONS.name: stage_unified_actions,
    CUSTOMER_HISTORY.name: stage_customer_history,
    TRAINING_INPUT.name: stage_training_input,
}


def _write(
    build: Build,
    frame: DataFrame,
    table: Table,
    days: Sequence[date],
    num_files: int,
    write: Callable[[Batches], Batches],
) -> None:
    """Write the rows of a frame with columns ``dt`` and ``part``; every day gets a file."""
    for day in days:
        # A folder may be left there by a pass over the range that failed later on.
        shutil.rmtree(build.staging.day_path(table.name, day), ignore_errors=True)
    # More partitions than files: a hash puts several files into one task, which holds them all.
    num_tasks = min(max(1, num_files) * _SPREAD, _MAX_TASKS)
    spread = frame.repartition(num_tasks, "dt", "part")
    spread.mapInArrow(write, WRITTEN_DDL).collect()
    for day in days:
        folder = build.staging.day_path(table.name, day)
        if not data_files(folder):
            empty_file(folder / "part-00000.parquet", table.arrow_schema)


def _root(build: Build, table: Table) -> str:
    # Workers may run elsewhere.
    return str(build.staging.table_path(table.name).absolute())


def _number(day: date) -> int:
    return day.toordinal() - _EPOCH


def _files_per_day(sources: Sequence[RawDays], days: Sequence[date], rows_per_file: int) -> int:
    """Files of about that many rows in the largest day."""
    counts = [source.count_rows() for source in sources]
    return max(1, *(round(sum(count[day] for count in counts) / rows_per_file) for day in days))


def _stage_quarantine(build: Build, sources: Sequence[RawDays]) -> None:
    parts = [
        source.read_faults(build.spark).withColumn("source", F.lit(source.table.name))
        for source in sources
    ]
    faults = reduce(DataFrame.unionByName, parts).coalesce(1)
    ordered = faults.sortWithinPartitions("source", "dt", "source_file", "reason", "content")
    build.staging.write_quarantine(ordered, [source.table for source in sources])


def _engine(spark: SparkSession) -> str:
    """What computes, with its version: ``sail 0.7.2`` or ``spark 4.2.1``."""
    (row,) = spark.sql("SELECT version()").collect()
    found = str(row[0]).split()[0]
    # Sail answers as the Spark that it speaks, and here as itself.
    return f"{'spark' if found == spark.version else 'sail'} {found}"
