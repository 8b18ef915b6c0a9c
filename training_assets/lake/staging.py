"""A run's private area: days are written and sealed in it, then published from it.

    <root>/_staging/run-<number>/_run.json                   who the run is and what it holds
    <root>/_staging/run-<number>/<table>/dt=YYYY-MM-DD/…     what it will publish

A run holds the lock of its area as long as it lives, so an area whose lock is free is a left-over.
"""

import json
import os
import secrets
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from training_assets.errors import PublishError
from training_assets.lake.lake import MANIFEST, Lake, data_files, quarantine_path, read_days
from training_assets.lake.locks import Locks, hold_days
from training_assets.lake.publishing import DAY_PREFIX, publish_folder, restore_retired
from training_assets.schemas import QUARANTINE, QUARANTINED_BY, SCHEMA_VERSION, Table

_STAGING: Final = "_staging"
_AREA: Final = "run-"
_RUN: Final = "_run.json"
_REMOVAL_SECONDS: Final = 2.0


@contextmanager
def stage_days(
    lake: Lake, days: Sequence[date], *, wait_seconds: float, progress: Callable[[str], None]
) -> Iterator["Staging"]:
    """A private area of a run that alone may publish ``days``; what is not published goes with it.

    Also removes what killed runs left. Raises ``DayLockedError`` where another run holds one of
    the days for longer than ``wait_seconds``, ``PublishError`` where the lake cannot be written.
    """
    root = lake.root
    with (
        _area(root) as area,
        hold_days(
            root,
            days,
            wait_seconds=wait_seconds,
            name_holders=lambda wanted: _name_holders(root, wanted),
            progress=progress,
        ),
    ):
        try:
            _write_run(area, days)
            restore_retired(root, set(days))
        except OSError as error:
            raise _unwritable(root, error) from error
        yield Staging(lake, area)


@contextmanager
def _area(root: Path) -> Iterator[Path]:
    locks = Locks.of_areas(root)
    number = secrets.randbits(48)
    while not (held := locks.try_hold(number)):
        number = secrets.randbits(48)
    with held:
        area = root / _STAGING / f"{_AREA}{number:012x}"
        _remove_leftovers(root)
        try:
            area.mkdir(parents=True)
        except OSError as error:
            raise _unwritable(root, error) from error
        try:
            yield area
        finally:
            _remove(area)


def _remove(area: Path) -> None:
    """Remove an area; an engine that was interrupted may write on for a moment."""
    end = time.monotonic() + _REMOVAL_SECONDS
    shutil.rmtree(area, ignore_errors=True)
    while area.exists() and time.monotonic() < end:
        time.sleep(0.05)
        shutil.rmtree(area, ignore_errors=True)


def _remove_leftovers(root: Path) -> None:
    for area in _areas(root):
        # Held while it is removed, so that no two runs do so at once.
        if held := Locks.of_areas(root).try_hold(_area_number(area)):
            with held:
                shutil.rmtree(area, ignore_errors=True)


def _areas(root: Path) -> list[Path]:
    return sorted((root / _STAGING).glob(f"{_AREA}{'[0-9a-f]' * 12}"))


def _area_number(area: Path) -> int:
    return int(area.name.removeprefix(_AREA), 16)


def _write_run(area: Path, days: Sequence[date]) -> None:
    run = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "days": [str(day) for day in days],
    }
    (area / _RUN).write_text(json.dumps(run))


def _name_holders(root: Path, days: Sequence[date]) -> str:
    """Who holds any of the days, as far as they have said so; for messages only."""
    names = []
    for area in _areas(root):
        try:
            run = json.loads((area / _RUN).read_text())
        except (OSError, ValueError):
            continue
        if {str(day) for day in days} & set(run["days"]):
            names.append(f"process {run['pid']} on {run['host']} since {run['since']}")
    return " and ".join(names) or "another run"


def _unwritable(root: Path, error: OSError) -> PublishError:
    return PublishError(
        f"{root}: the lake cannot be written ({error}); its days stand as they were. "
        "Check space and permissions, then run again."
    )


@dataclass(frozen=True)
class Staging:
    """What a run has staged."""

    lake: Lake
    path: Path

    def table_path(self, table: str) -> Path:
        return self.path / table

    def day_path(self, table: str, day: date) -> Path:
        return self.table_path(table) / f"{DAY_PREFIX}{day.isoformat()}"

    def write_quarantine(self, faults: DataFrame, sources: Sequence[Table]) -> None:
        """Write faults, which have a ``source`` besides the columns of the quarantine table.

        They become a part of the staged days of the table that the sources are for.
        """
        fresh = self._write(faults, "source", "dt")
        for source in sources:
            (table,) = (name for name, used in QUARANTINED_BY.items() if source in used)
            for folder in sorted((fresh / f"source={source.name}").glob(f"{DAY_PREFIX}*")):
                day = self.table_path(table) / folder.name
                if day.is_dir():
                    _move_faults(folder, quarantine_path(day, source))
        shutil.rmtree(fresh)

    def _write(self, frame: DataFrame, *partitions: str) -> Path:
        fresh = self.path / f"write-{uuid.uuid4().hex[:8]}"
        frame.write.partitionBy(*partitions).option("compression", "zstd").parquet(str(fresh))
        # An engine makes no folder for a frame without rows.
        fresh.mkdir(exist_ok=True)
        return fresh

    def read(self, spark: SparkSession, table: Table, days: Iterable[date]) -> DataFrame:
        """Staged days, with the declared schema."""
        return read_days(spark, table, self.table_path(table.name), set(days))

    def publish(self, table: str, day: date, manifest: Mapping[str, Any]) -> bool:
        """Seal the staged day with its manifest and make it the published one, in one rename.

        Returns False, and touches nothing, where the published day already has the same bytes.
        Raises ``PublishError``; the day then stands as it was.
        """
        folder = self.day_path(table, day)
        try:
            _seal(folder, table, day, manifest)
            return publish_folder(folder, self.lake.root, table, folder.name)
        except OSError as error:
            raise PublishError(
                f"{table}: day {day} could not be published ({error}); it stands as it was. "
                "Check space and permissions, then run the day again."
            ) from error


def _seal(folder: Path, table: str, day: date, manifest: Mapping[str, Any]) -> None:
    files = data_files(folder)
    content = {
        "table": table,
        "dt": day.isoformat(),
        "schema_version": SCHEMA_VERSION,
        "rows": sum(pq.read_metadata(file).num_rows for file in files),
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        **manifest,
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def _move_faults(folder: Path, target: Path) -> None:
    """Write the faults anew, since what an engine adds to a file depends on its plan."""
    target.mkdir(parents=True)
    for number, file in enumerate(_written(folder)):
        # Not called .parquet: tools that search a table for such files must not find these.
        path, schema = target / f"part-{number:05d}.pq", QUARANTINE.arrow_schema
        with (
            pq.ParquetFile(file) as faults,
            pq.ParquetWriter(path, schema, compression="zstd") as writer,
        ):
            for batch in faults.iter_batches():
                writer.write_batch(batch.select(schema.names).cast(schema))


def _written(folder: Path) -> list[Path]:
    """Files with rows that an engine has written."""
    files = sorted(f for f in folder.rglob("*.parquet") if not f.name.startswith(("_", ".")))
    return [file for file in files if pq.read_metadata(file).num_rows]
