"""Day-partitioned Parquet tables under one root: read days, stage them, publish each one whole.

    <root>/raw/<table>/dt=YYYY-MM-DD/…            what came in; never written here
    <root>/<table>/dt=YYYY-MM-DD/part-00000.parquet, _day.json
    <root>/_staging/<run>/<table>/dt=…            a run's work, invisible to readers

A day is published exactly when its folder exists; it appears, and is replaced, by one rename.
``_day.json`` in the folder says what is in it and how it was made, and is ignored by every
Parquet reader, as all names are that begin with ``_``.
"""

import ctypes
import errno
import json
import math
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from training_assets.errors import DayNotPublishedError, PublishError
from training_assets.schemas import QUARANTINE, SCHEMA_VERSION, Table

MANIFEST: Final = "_day.json"
_DAY_PREFIX: Final = "dt="
_STAGING: Final = "_staging"
_RETIRED: Final = "_retired"
_PART: Final = "part"
_NUMBER: Final = "_number"
_TIDIED: Final = "_tidied-"
_MAX_TASKS: Final = 1000
_TASKS_PER_FILE: Final = 50


@dataclass(frozen=True)
class Lake:
    """One root of day-partitioned tables; see the module for the layout."""

    root: Path

    def table_path(self, table: str) -> Path:
        return self.root / table

    def day_path(self, table: str, day: date) -> Path:
        return self.table_path(table) / f"{_DAY_PREFIX}{day.isoformat()}"

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

    def staging(self) -> "Staging":
        """A fresh, private area for one run; leave it to remove what was not published."""
        self._restore_retired()
        self._remove_leftovers()
        path = self.root / _STAGING / f"{_host()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        path.mkdir(parents=True)
        return Staging(self, path)

    def publish(self, staged: Path, table: str, day: date) -> bool:
        """Make a staged day folder the published one, in one rename.

        Returns False, and touches nothing, where the published day already has the same bytes.
        Raises ``PublishError``; the day then stands as it was.
        """
        target = self.day_path(table, day)
        if _same_files(staged, target):
            shutil.rmtree(staged)
            return False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.rename(staged, target)
            elif _exchange(staged, target):
                shutil.rmtree(staged)
            else:
                self._replace(staged, target, table, day)
        except OSError as error:
            raise PublishError(
                f"{table}: day {day} could not be published ({error}); it stands as it was. "
                "Check space and permissions, then run the day again."
            ) from error
        return True

    def withdraw(self, table: str, day: date) -> None:
        """Remove a published day, if there is one, so that no reader sees a part of it."""
        target = self.day_path(table, day)
        if target.exists():
            grave = self.root / _STAGING / f"withdrawn-{uuid.uuid4().hex[:12]}"
            grave.parent.mkdir(parents=True, exist_ok=True)
            os.rename(target, grave)
            shutil.rmtree(grave)

    def _replace(self, staged: Path, target: Path, table: str, day: date) -> None:
        # Two renames, for file systems that cannot exchange: a kill between them leaves the old
        # day under _retired, from where the next run puts it back.
        retired = self.root / _RETIRED / table / target.name
        retired.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(retired, ignore_errors=True)
        os.rename(target, retired)
        os.rename(staged, target)
        shutil.rmtree(retired)

    def _remove_leftovers(self) -> None:
        """Remove staging areas of runs on this host that were killed."""
        for path in (self.root / _STAGING).glob(f"{_host()}.*.*"):
            process = path.name.split(".")[1]
            if process.isdigit() and not _is_alive(int(process)):
                shutil.rmtree(path, ignore_errors=True)

    def _restore_retired(self) -> None:
        base = self.root / _RETIRED
        for retired in sorted(base.glob(f"**/{_DAY_PREFIX}*")):
            target = self.root / retired.relative_to(base)
            if target.exists():
                shutil.rmtree(retired)
            else:
                os.rename(retired, target)


@dataclass(frozen=True)
class Staging:
    """A run's private area; a context manager that removes itself."""

    lake: Lake
    path: Path

    def __enter__(self) -> "Staging":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def table_path(self, table: str) -> Path:
        return self.path / table

    def day_path(self, table: str, day: date) -> Path:
        return self.table_path(table) / f"{_DAY_PREFIX}{day.isoformat()}"

    def write(self, frame: DataFrame, table: Table, days: Sequence[date], layout: "Layout") -> None:
        """Write the rows of a frame that ``arrange`` has put in order.

        Each of ``days`` gets a folder with at least one file, also when it has no rows.
        """
        # A folder of its own for each file-to-be: some engines send all rows of a folder through
        # one writer, where those of several partitions would mix and lose their order.
        fresh = self._write(frame.withColumn(_PART, _part(layout)), "dt", _PART)
        for day in days:
            target = self.day_path(table.name, day)
            _tidy(fresh / target.name, table)
            self._move(fresh / target.name, target)
        shutil.rmtree(fresh)

    def write_quarantine(self, faults: DataFrame, sources: Sequence[Table]) -> None:
        """Write faults, which have a ``source`` besides the columns of the quarantine table."""
        fresh = self._write(faults, "source", "dt")
        for source in sources:
            name = quarantine_name(source.name)
            for folder in sorted((fresh / Path(name).name).glob(f"{_DAY_PREFIX}*")):
                _tidy(folder, QUARANTINE)
                self._move(folder, self.table_path(name) / folder.name)
        shutil.rmtree(fresh)

    def _write(self, frame: DataFrame, *partitions: str) -> Path:
        fresh = self.path / f"write-{uuid.uuid4().hex[:8]}"
        frame.write.partitionBy(*partitions).option("compression", "zstd").parquet(str(fresh))
        # An engine makes no folder for a frame without rows.
        fresh.mkdir(exist_ok=True)
        return fresh

    def _move(self, folder: Path, target: Path) -> None:
        # A folder may be left there by a pass over the range that failed later on.
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder, target)

    def read(self, spark: SparkSession, table: Table, days: Iterable[date]) -> DataFrame:
        """Staged days, with the declared schema."""
        return read_days(spark, table, self.table_path(table.name), set(days))

    def rows(self, name: str, day: date) -> int:
        return sum(pq.read_metadata(file).num_rows for file in data_files(self.day_path(name, day)))

    def publish(self, table: str, day: date, manifest: Mapping[str, Any]) -> bool:
        """Seal the staged day with its manifest and make it visible; see ``Lake.publish``."""
        folder = self.day_path(table, day)
        files = data_files(folder)
        content = {
            "table": table,
            "dt": day.isoformat(),
            "schema_version": SCHEMA_VERSION,
            "rows": self.rows(table, day),
            "files": len(files),
            "bytes": sum(file.stat().st_size for file in files),
            **manifest,
        }
        (folder / MANIFEST).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        return self.lake.publish(folder, table, day)


@dataclass(frozen=True)
class Layout:
    """How a range of days is spread over tasks while it is computed, and over files at rest."""

    files_per_day: int
    num_tasks: int

    @classmethod
    def of(cls, rows_by_day: Mapping[date, int], *, rows_per_file: int) -> "Layout":
        """Files of about ``rows_per_file`` rows in the largest day, and tasks of a 50th of it."""
        files = max(1, round(max(rows_by_day.values()) / rows_per_file))
        tasks = math.ceil(sum(rows_by_day.values()) / rows_per_file * _TASKS_PER_FILE)
        return cls(files, min(max(1, tasks), len(rows_by_day) * files, _MAX_TASKS))


def arrange(frame: DataFrame, layout: Layout, *order: str) -> DataFrame:
    """Rows spread over tasks by day and part of the customers, and ordered within each.

    To be done before rows get wide, and in any case before ``Staging.write``.
    """
    part = _part(layout)
    spread = frame.repartition(layout.num_tasks, "dt", part)
    # Numbered, because an optimizer may drop a sort that nothing above it asks for.
    numbered = F.row_number().over(Window.partitionBy("dt", part).orderBy("customer_id", *order))
    return spread.withColumn(_NUMBER, numbered).where(F.col(_NUMBER) > 0).drop(_NUMBER)


def _part(layout: Layout) -> Column:
    return F.pmod(F.xxhash64("customer_id"), F.lit(layout.files_per_day)).cast("int")


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


def quarantine_name(raw_table: str) -> str:
    """Folder of a raw table's quarantine: one Hive table with partitions source and dt."""
    return f"quarantine/source={raw_table}"


def day_range(first: date, last: date) -> list[date]:
    """All days from ``first`` to ``last``, both included."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def data_files(folder: Path) -> list[Path]:
    """The Parquet files of a day folder, in name order."""
    return sorted(f for f in folder.glob("*.parquet") if not f.name.startswith(("_", ".")))


def _days_in(folder: Path) -> Iterable[date]:
    for entry in folder.glob(f"{_DAY_PREFIX}*"):
        try:
            yield date.fromisoformat(entry.name.removeprefix(_DAY_PREFIX))
        except ValueError:
            continue


def _tidy(folder: Path, table: Table) -> None:
    """Give the files of a staged day stable names, and an empty file to a day without rows."""
    written = sorted(
        (file for file in folder.rglob("*.parquet") if not file.name.startswith(("_", "."))),
        key=lambda file: (_part_number(file.parent.name), file.name),
    )
    tidied = folder.with_name(f"{_TIDIED}{folder.name}")
    tidied.mkdir(parents=True)
    for file in written:
        if pq.read_metadata(file).num_rows:
            os.rename(file, tidied / f"part-{sum(1 for _ in tidied.iterdir()):05d}.parquet")
    if not data_files(tidied):
        empty = table.arrow_schema.empty_table()
        pq.write_table(empty, tidied / "part-00000.parquet", compression="zstd")
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(tidied, folder)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _part_number(folder: str) -> int:
    return int(folder.removeprefix(f"{_PART}=")) if folder.startswith(f"{_PART}=") else 0


def _same_files(one: Path, other: Path) -> bool:
    if not other.is_dir():
        return False
    names = sorted(f.name for f in one.iterdir())
    if names != sorted(f.name for f in other.iterdir()):
        return False
    return all(
        (one / name).stat().st_size == (other / name).stat().st_size
        and (one / name).read_bytes() == (other / name).read_bytes()
        for name in names
    )


@cache
def _renameat2() -> Any:
    try:
        return ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system or the file system cannot."""
    call = _renameat2()
    at_cwd, exchange = -100, 2
    if call is None:
        return False
    if call(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))
