"""Raw tables, from Parquet, JSON lines or CSV, with every row accounted for.

    <root>/raw/<table>/dt=YYYY-MM-DD/…                 all tables
    <root>/raw/previous_orders/<file>                  also flat, days in order_date

Files are listed and their columns checked here, before a job starts; they are parsed on the
workers by one reader (``raw_files.py``) that is the same on every engine. A row that breaks a rule
is never in ``read_valid`` and always in ``read_faults``.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import cloudpickle
from pyspark.sql import DataFrame, SparkSession

from training_assets import errors, raw_files, schemas
from training_assets.errors import RawDataError, SchemaError
from training_assets.raw_files import Task
from training_assets.schemas import PREVIOUS_ORDERS, QUARANTINE, Column, Table

# Workers of a cluster have pyarrow but need not have this package.
for _module in (raw_files, schemas, errors):
    cloudpickle.register_pickle_by_value(_module)

_FORMATS: Final = {
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
}
_TASK_DDL: Final = (
    "task int, path string, name string, format string, day date, start int, stop int"
)
_ROWS_PER_TASK: Final = 2_000_000
_PEEK_LINES: Final = 100


@dataclass(frozen=True)
class RawFile:
    """One raw file. ``day`` is that of its folder, or None for a flat file."""

    path: Path
    name: str
    format: str
    day: date | None


@dataclass(frozen=True)
class RawDays:
    """The raw files of some days of one table, listed and with their columns checked."""

    table: Table
    days: tuple[date, ...]
    tasks: tuple[Task, ...]

    def read_valid(self, spark: SparkSession) -> DataFrame:
        """Valid rows with the table's own columns; of impressions, only the valid items."""
        return self._read(spark, self.table.ddl, wants_faults=False)

    def read_faults(self, spark: SparkSession) -> DataFrame:
        """What ``read_valid`` leaves out, as rows of the quarantine table."""
        return self._read(spark, QUARANTINE.ddl, wants_faults=True)

    def count_rows(self) -> dict[date, int]:
        """Rows in the files by day, good or bad; of impressions, rankings."""
        counts = dict.fromkeys(self.days, 0)
        with ThreadPoolExecutor(8) as pool:
            parts = pool.map(
                lambda task: raw_files.count_rows(task, self.table.name, self.days), self.tasks
            )
            for part in parts:
                for day, rows in part.items():
                    counts[day] += rows
        return counts

    def of_day(self, day: date) -> "RawDays":
        """The same for one of the days."""
        tasks = tuple(task for task in self.tasks if task.day in (day, None))
        return RawDays(self.table, (day,), tasks)

    def fingerprint(self, day: date) -> list[tuple[str, int, int]]:
        """(name, bytes, modification time in ns) of each file that the day is read from."""
        paths = {task.name: Path(task.path) for task in self.of_day(day).tasks}
        return [(n, p.stat().st_size, p.stat().st_mtime_ns) for n, p in sorted(paths.items())]

    def _read(self, spark: SparkSession, ddl: str, *, wants_faults: bool) -> DataFrame:
        if not self.tasks:
            return spark.createDataFrame([], schema=ddl)
        table, days = self.table.name, self.days
        tasks = spark.createDataFrame([tuple(task) for task in self.tasks], schema=_TASK_DDL)

        def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return raw_files.parse(batches, table, days, wants_faults=wants_faults)

        # By key: without one, all tasks are a single batch and so a single partition on Sail.
        spread = tasks.repartition(min(len(self.tasks), 64), "task")
        return spread.mapInArrow(parse, ddl)


def find_raw_days(
    root: Path, table: Table, days: Sequence[date], *, allow_missing: bool = False
) -> RawDays:
    """The files of ``days``, or of all that a flat ``previous_orders`` holds of them.

    Raises ``RawDataError`` for a day that has no folder (unless ``allow_missing``) and for a file
    that cannot be read; ``SchemaError`` for a wrong or missing column.
    """
    files = [file for day in days for file in _files_of_day(root, table, day, allow_missing)]
    if table is PREVIOUS_ORDERS:
        files += _flat_files(root, table)
    with ThreadPoolExecutor(8) as pool:
        tasks = [task for group in pool.map(lambda f: _tasks(f, table), files) for task in group]
    numbered = tuple(task._replace(task=number) for number, task in enumerate(tasks))
    return RawDays(table, tuple(days), numbered)


def raw_days(root: Path, table: Table) -> list[date]:
    """Days that have a folder, oldest first."""
    folder = root / "raw" / table.name
    found = set()
    for prefix in _prefixes(table):
        for entry in folder.glob(f"{prefix}*"):
            try:
                found.add(date.fromisoformat(entry.name.removeprefix(prefix)))
            except ValueError:
                continue
    return sorted(found)


def _prefixes(table: Table) -> tuple[str, ...]:
    return ("dt=", "order_date=") if table is PREVIOUS_ORDERS else ("dt=",)


def _files_of_day(root: Path, table: Table, day: date, allow_missing: bool) -> Iterator[RawFile]:
    base = root / "raw" / table.name
    folders = [base / f"{prefix}{day.isoformat()}" for prefix in _prefixes(table)]
    present = [folder for folder in folders if folder.is_dir()]
    if not present and not allow_missing and not list(_flat_files(root, table)):
        raise RawDataError(
            f"{table.name}: raw day {day} is missing; expected the folder {folders[0]} "
            "(it may be empty). Deliver the day, or set TRAINING_ASSETS_MISSING_RAW=empty to "
            "take absent days as days without rows."
        )
    for folder in present:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if not _is_hidden(path.relative_to(folder)):
                yield _raw_file(root, path, day)


def _flat_files(root: Path, table: Table) -> Iterator[RawFile]:
    if table is not PREVIOUS_ORDERS:
        return
    base = root / "raw" / table.name
    for path in sorted(base.glob("*")):
        if path.is_file() and not _is_hidden(path.relative_to(base)):
            yield _raw_file(root, path, None)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in path.parts)


def _raw_file(root: Path, path: Path, day: date | None) -> RawFile:
    name = path.relative_to(root).as_posix()
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    kind = _FORMATS.get(plain.suffix.lower())
    if kind is None or (kind == "parquet" and path.suffix == ".gz"):
        raise RawDataError(
            f"{name}: the format is not known by its ending; expected one of "
            f"{', '.join(_FORMATS)}, text also with .gz. Rename or remove the file."
        )
    return RawFile(path, name, kind, day)


def _tasks(file: RawFile, table: Table) -> list[Task]:
    """The file's parts, after a look at its columns."""
    try:
        if file.format != "parquet":
            _check_text_columns(file, table)
            return [_task(file)]
        with pq.ParquetFile(file.path) as parquet:
            _check_columns(file, table, parquet.schema_arrow)
            rows = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    except (OSError, EOFError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RawDataError(
            f"{file.name}: the file cannot be read as {file.format} ({reason}). "
            "Deliver it again, whole."
        ) from error
    parts, start, size = [], 0, 0
    for number, count in enumerate(rows):
        if size and size + count > _ROWS_PER_TASK:
            parts.append(_task(file, start, number))
            start, size = number, 0
        size += count
    return [*parts, _task(file, start, len(rows))]


def _task(file: RawFile, start: int = 0, stop: int = -1) -> Task:
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
    _check_present(file, table, list(found))
    for column in table.columns:
        if column.name in found and not raw_files.is_readable(found[column.name], column.type):
            raise SchemaError(
                f"{table.name}.{column.name}: found {found[column.name]} in {file.name}; expected "
                f"{column.type}. Deliver the column with that type."
            )


def _check_present(file: RawFile, table: Table, found: list[str]) -> None:
    for column in _needed(table, file.day):
        if column.name not in found:
            raise SchemaError(
                f"{table.name}.{column.name}: the column is missing in {file.name}; expected "
                f"{column.type}, found only {', '.join(sorted(found)) or 'no columns'}. "
                "Deliver it under that name."
            )


def _check_text_columns(file: RawFile, table: Table) -> None:
    with open_text(file.path) as lines:
        if file.format == "csv":
            header = lines.readline()
            if header.strip():
                _check_present(file, table, raw_files.csv_header(header))
            return
        keys: set[str] = set()
        objects = 0
        for _, line in zip(range(_PEEK_LINES), lines, strict=False):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                keys |= row.keys()
                objects += 1
        if objects:
            _check_present(file, table, sorted(keys))


def open_text(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
