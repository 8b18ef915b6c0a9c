"""Raw tables, from Parquet, JSON lines or CSV, with every row accounted for.

Files are listed (``folders.py``) and their columns checked here, before a job starts; they are
parsed on the workers by one reader (``rows.py``) that is the same on every engine. A row that
breaks a rule is never in ``read_valid`` and always in ``read_rejects``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import pyarrow as pa
from pyspark import cloudpickle
from pyspark.sql import DataFrame, SparkSession

from training_assets import errors, schemas
from training_assets.errors import RawDataError, SchemaError
from training_assets.schemas import QUARANTINE, Column, Table
from training_assets.sources import columns, parquet, rows, text
from training_assets.sources.columns import IGNORED_COLUMNS, READ_ERRORS, Task, printable
from training_assets.sources.folders import RawFile, by_day, files_of_days
from training_assets.sources.parquet import is_readable, open_parquet
from training_assets.sources.rows import unreadable
from training_assets.sources.text import json_parser, read_header, read_lines

# Workers of a cluster have pyarrow but need not have this package.
for _module in (rows, text, parquet, columns, schemas, errors):
    cloudpickle.register_pickle_by_value(_module)

_TASK_DDL: Final = (
    "task int, path string, name string, format string, day date, start int, stop int"
)
_ROWS_PER_TASK: Final = 2_000_000
_BYTES_PER_PARTITION: Final = 8 * 2**20
_MIN_PARTITIONS: Final = 4
_MAX_PARTITIONS: Final = 1000
_MAX_NAMES: Final = 20
_MAX_SHOWN: Final = 200
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class RawDays:
    """The raw files of some days of one table, listed and with their columns checked."""

    table: Table
    days: tuple[date, ...]
    tasks: tuple[Task, ...]

    @classmethod
    def of(cls, parts: Sequence["RawDays"]) -> "RawDays":
        """Several days as one; a flat file that serves several of them is read once."""
        tasks = dict.fromkeys(t._replace(task=0) for part in parts for t in part.tasks)
        numbered = tuple(task._replace(task=n) for n, task in enumerate(tasks))
        return cls(parts[0].table, tuple(d for part in parts for d in part.days), numbered)

    def read_valid(self, spark: SparkSession) -> DataFrame:
        """Valid rows with the table's own columns; of impressions, only the valid items."""
        return self._read(spark, self.table.ddl, wants_rejects=False)

    def read_rejects(self, spark: SparkSession) -> DataFrame:
        """What ``read_valid`` leaves out, as rows of the quarantine table."""
        return self._read(spark, QUARANTINE.ddl, wants_rejects=True)

    def count_rows(self) -> dict[date, int]:
        """Rows in the files by day, good or bad; of impressions, rankings."""
        counts = dict.fromkeys(self.days, 0)
        parts = _map(lambda task: rows.count_rows(task, self.table.name, self.days), self.tasks)
        for part in parts:
            for day, count in part.items():
                counts[day] += count
        return counts

    def by_day(self) -> dict[date, "RawDays"]:
        """The same, each of the days alone."""
        parts = by_day(self.tasks, self.days)
        return {day: RawDays(self.table, (day,), tuple(tasks)) for day, tasks in parts.items()}

    def files(self) -> list[RawFile]:
        """Each file once, in the order in which they are read."""
        found = {t.name: RawFile(Path(t.path), t.name, t.format, t.day) for t in self.tasks}
        return list(found.values())

    def _num_partitions(self) -> int:
        """Few for small files: each is a task of its own, with a Python worker, on Spark."""
        paths = {Path(task.path) for task in self.tasks}
        size = sum(path.stat().st_size for path in paths if path.exists())
        return min(_MIN_PARTITIONS + size // _BYTES_PER_PARTITION, _MAX_PARTITIONS)

    def _read(self, spark: SparkSession, ddl: str, *, wants_rejects: bool) -> DataFrame:
        if not self.tasks:
            return spark.createDataFrame([], schema=ddl)
        table, days = self.table.name, self.days
        tasks = spark.createDataFrame([tuple(task) for task in self.tasks], schema=_TASK_DDL)

        def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return rows.parse(batches, table, days, wants_rejects=wants_rejects)

        # By key: without one, all tasks are a single batch and so a single partition on Sail.
        spread = tasks.repartition(min(len(self.tasks), self._num_partitions()), "task")
        return spread.mapInArrow(parse, ddl)


def find_raw_days(
    root: Path, table: Table, days: Sequence[date], *, allow_missing: bool = False
) -> RawDays:
    """The files of ``days``, or of all that a flat ``previous_orders`` holds of them.

    Raises ``RawDataError`` for a day that has no folder (unless ``allow_missing``), for a file that
    cannot be read, lies where no day is read from, or is a link that leads out of the lake;
    ``SchemaError`` for a wrong or missing column.
    """
    files = files_of_days(root, table, days, allow_missing=allow_missing)
    tasks = [task for group in _map(lambda file: _tasks(file, table), files) for task in group]
    numbered = tuple(task._replace(task=number) for number, task in enumerate(tasks))
    return RawDays(table, tuple(days), numbered)


def fingerprint(table: Table, day: date, files: Iterable[RawFile]) -> list[tuple[str, int, int]]:
    """(name, bytes, modification time in ns) of files of a day, by name.

    Raises ``RawDataError`` for one that is gone.
    """
    paths = {file.name: file.path for file in files}
    try:
        stats = {name: path.stat() for name, path in sorted(paths.items())}
    except OSError as error:
        raise RawDataError(
            f"{table.name}: a raw file of {day} vanished while it was read ({error}). "
            "Deliver it again, or run the day again without it."
        ) from error
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()]


def _map(function: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
    """In threads, because file systems are slow to answer; a single file is not worth one."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(function, items))


def _tasks(file: RawFile, table: Table) -> list[Task]:
    """The file's parts, after a look at its columns."""
    try:
        if file.format != "parquet":
            _check_text_columns(file, table)
            return [whole_file(file)]
        with open_parquet(str(file.path)) as opened:
            _check_columns(file, table, opened.schema_arrow)
            sizes = [opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups)]
    except READ_ERRORS as error:
        raise unreadable(file.name, file.format, error) from error
    parts, start, size = [], 0, 0
    for number, count in enumerate(sizes):
        if size and size + count > _ROWS_PER_TASK:
            parts.append(_task(file, start, number))
            start, size = number, 0
        size += count
    return [*parts, _task(file, start, len(sizes))]


def whole_file(file: RawFile) -> Task:
    return _task(file, 0, -1)


def _task(file: RawFile, start: int, stop: int) -> Task:
    return Task(0, str(file.path.absolute()), file.name, file.format, file.day, start, stop)


def _needed(table: Table, day: date | None) -> list[Column]:
    """Columns that a file must have; the folder stands in for the day column."""
    return [
        c
        for c in table.columns
        if not c.is_optional and not (c.name == table.day_column and day is not None)
    ]


def _check_columns(file: RawFile, table: Table, schema: pa.Schema) -> None:
    found = {field.name: field.type for field in schema}
    _check_names(file, table, schema.names)
    for column in table.columns:
        if column.name not in found or column.name in IGNORED_COLUMNS:
            continue
        if not is_readable(found[column.name], column.type):
            raise SchemaError(
                f"{table.name}.{column.name}: found {_shown([found[column.name]])} in {file.name}; "
                f"expected {column.type}. Deliver the column with that type."
            )


def _check_names(file: RawFile, table: Table, found: list[str]) -> None:
    for column in _needed(table, file.day):
        if column.name not in found:
            raise SchemaError(
                f"{table.name}.{column.name}: the column is missing in {file.name}; expected "
                f"{column.type}, found only {_shown(sorted(found)) or 'no columns'}. "
                "Deliver it under that name."
            )
    for column in table.columns:
        if found.count(column.name) > 1:
            raise SchemaError(
                f"{table.name}.{column.name}: the column stands {found.count(column.name)} times "
                f"in {file.name}; expected it once. Remove or rename the others."
            )


def _shown(parts: Iterable[Any]) -> str:
    """Names or types out of a file, fit for a message whatever they are."""
    texts = (printable(str(part)) for part in islice(parts, _MAX_NAMES))
    return ", ".join(f"{t[:_MAX_SHOWN]}…" if len(t) > _MAX_SHOWN else t for t in texts)


def _check_text_columns(file: RawFile, table: Table) -> None:
    lines = read_lines(str(file.path))
    if file.format == "csv":
        if header := read_header(lines):
            _check_names(file, table, header)
        return
    parse = json_parser()
    needed = {column.name for column in _needed(table, file.day)}
    found: set[str] | None = None
    for line in lines:
        try:
            row = parse(line.decode())
        except ValueError:
            continue
        if isinstance(row, dict):
            found = row.keys() | (found or set())
            if needed <= found:
                return
    # A writer may leave out what is null: only a name that no row has is missing.
    if found is not None:
        _check_names(file, table, sorted(found))
