"""How a range of days of each table is staged: one pass over the range, files written by workers.

raw ──read──> rows ──by day and part──> kernels ──> _staging/…/dt=…/part-00000.parquet
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import reduce
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets.engine import Partitioning, engine_name
from training_assets.kernels.action_files import customer_bounds
from training_assets.kernels.day_files import (
    WRITTEN_DDL,
    empty_file,
    write_actions,
)
from training_assets.kernels.histories import (
    CUTS_DDL,
    HISTORIES_DDL,
    REQUESTS_DDL,
    assign_tasks,
    build_histories,
    cut_days,
    write_histories,
)
from training_assets.kernels.training_rows import RANKINGS_DDL, assign_parts, write_training_rows
from training_assets.lake import Lake, Staging, data_files
from training_assets.pipeline.action_blocks import action_files, range_boundaries
from training_assets.provenance import (
    Inputs,
    Provenance,
    window_days,
)
from training_assets.schemas import (
    ACTION_SOURCES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings
from training_assets.sources import RawDays
from training_assets.transforms import build_unified_actions

_ACTIONS_PER_FILE: Final = 4_000_000
_RANKINGS_PER_FILE: Final = 50_000
_ACTIONS_PER_TASK: Final = 2_000_000
# Each of them opens all files for itself.
_MAX_HISTORY_TASKS: Final = 128
_EPOCH: Final = date(1970, 1, 1).toordinal()
_RUN: Final = 12 * "0"

Batches = Iterator[pa.RecordBatch]


@dataclass
class Build:
    """One build of a range of days; holds what the stages share."""

    spark: SparkSession
    lake: Lake
    settings: Settings
    staging: Staging
    progress: Callable[[str], None]
    provenance: Provenance
    inputs: dict[tuple[str, date], Inputs] = field(default_factory=dict)
    engine: str = field(init=False)
    partitioning: Partitioning = field(init=False)

    def __post_init__(self) -> None:
        self.engine = engine_name(self.spark)
        self.partitioning = Partitioning.of(self.spark, self.engine)

    def raw(self, table: Table, days: Sequence[date]) -> RawDays:
        return self.provenance.raw(table, days)


def stage_unified_actions(build: Build, days: list[date]) -> None:
    """Stage all valid actions of the days; the others go to the quarantine."""
    sources = [build.raw(table, days) for table in ACTION_SOURCES]
    actions = build_unified_actions(*(source.read_valid(build.spark) for source in sources))
    files = _files_by_day(sources, days, _ACTIONS_PER_FILE)
    root = _root(build, UNIFIED_ACTIONS)

    def write(batches: Batches) -> Batches:
        return write_actions(batches, root, _RUN)

    part = F.pmod(F.xxhash64("customer_id"), _by_day(files)).cast("int")
    parted = actions.withColumn("part", part)
    _write(build, parted, UNIFIED_ACTIONS, days, max(files.values()), write)
    _stage_quarantine(build, sources)


def stage_customer_history(build: Build, days: list[date]) -> None:
    """Stage the histories of all customers with impressions on the days."""
    settings = build.settings
    published = build.lake.days(UNIFIED_ACTIONS.name)
    window = {d for day in days for d in window_days(settings, published, day)}
    common = (settings.window_start(max(days)) or date.min, min(days))
    files = action_files(
        build.spark,
        build.partitioning,
        build.staging,
        build.provenance,
        days=sorted(window),
        common=common,
    )
    impressions = build.raw(IMPRESSIONS, days)
    requests = impressions.read_valid(build.spark).select("dt", "customer_id")
    num_files = _files_by_day([impressions], days, _RANKINGS_PER_FILE)
    cuts = _cuts(build, requests, num_files)
    boundaries = np.array(range_boundaries(files, _ACTIONS_PER_TASK), np.int64)
    num_tasks = len(boundaries) + 1
    root, length, lookback = (
        _root(build, CUSTOMER_HISTORY),
        settings.history_length,
        settings.lookback_days,
    )

    def assign(batches: Batches) -> Batches:
        return assign_tasks(batches, boundaries)

    def make(batches: Batches) -> Batches:
        return build_histories(
            batches, files, cuts=cuts, history_length=length, lookback_days=lookback
        )

    def write(batches: Batches) -> Batches:
        return write_histories(batches, root, _RUN)

    assigned = requests.mapInArrow(assign, REQUESTS_DDL)
    spread = build.partitioning.spread(
        assigned, F.col("task"), of=num_tasks, at_most=_MAX_HISTORY_TASKS
    )
    histories = spread.mapInArrow(make, HISTORIES_DDL)
    _write(build, histories, CUSTOMER_HISTORY, days, max(num_files.values()), write)


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
        return write_training_rows(batches, root, _RUN, histories, length)

    rankings = impressions.read_valid(build.spark).mapInArrow(assign, RANKINGS_DDL)
    num_files = max(len(cuts) + 1 for cuts in boundaries.values())
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
    files_per_day: int,
    write: Callable[[Batches], Batches],
) -> None:
    """Write the rows of a frame with columns ``dt`` and ``part``; every day gets a file."""
    for day in days:
        # A folder may be left there by a pass over the range that failed later on.
        shutil.rmtree(build.staging.day_path(table.name, day), ignore_errors=True)
    spread = _spread_days(build, frame, days, files_per_day, F.col("part"))
    spread.mapInArrow(write, WRITTEN_DDL).collect()
    for day in days:
        folder = build.staging.day_path(table.name, day)
        if not data_files(folder):
            empty_file(_root(build, table), _RUN, _number(day), table.arrow_schema)


def _spread_days(
    build: Build, frame: DataFrame, days: Sequence[date], files_per_day: int, part: Column
) -> DataFrame:
    """Rows of one ``dt`` and part in one task."""
    first, last = min(days), max(days)
    number = F.datediff("dt", F.lit(first)) * F.lit(files_per_day) + part
    return build.partitioning.spread(frame, number, of=((last - first).days + 1) * files_per_day)


def _root(build: Build, table: Table) -> str:
    # Workers may run elsewhere.
    return str(build.staging.table_path(table.name).absolute())


def _number(day: date) -> int:
    return day.toordinal() - _EPOCH


def _files_by_day(
    sources: Sequence[RawDays], days: Sequence[date], rows_per_file: int
) -> dict[date, int]:
    """Files of about that many rows; of the day's own rows alone, so that any run has the same."""
    counts = [source.count_rows() for source in sources]
    return {day: max(1, round(sum(count[day] for count in counts) / rows_per_file)) for day in days}


def _by_day(values: dict[date, int]) -> Column:
    """The value of the row's ``dt``."""
    first = min(values)
    span = range((max(values) - first).days + 1)
    column = F.array(*(F.lit(values.get(first + timedelta(days=n), 1)) for n in span))
    return F.element_at(column, F.datediff("dt", F.lit(first)) + F.lit(1))


def _cuts(
    build: Build, requests: DataFrame, num_files: Mapping[date, int]
) -> dict[int, Sequence[int]]:
    """The first customer of each file of a day but its first, so that files are equally long."""
    by_day = {_number(day): count for day, count in num_files.items() if count > 1}
    if not by_day:
        return {}

    def cut(batches: Batches) -> Batches:
        return cut_days(batches, by_day)

    spread = _spread_days(build, requests, list(num_files), 1, F.lit(0))
    rows = spread.mapInArrow(cut, CUTS_DDL).collect()
    return {int(row["day"]): row["customers"] for row in rows}


def _stage_quarantine(build: Build, sources: Sequence[RawDays]) -> None:
    parts = [
        source.read_rejects(build.spark).withColumn("source", F.lit(source.table.name))
        for source in sources
    ]
    faults = reduce(DataFrame.unionByName, parts).coalesce(1)
    ordered = faults.sortWithinPartitions("source", "dt", "source_file", "reason", "content")
    build.staging.write_quarantine(ordered, [source.table for source in sources])
