"""Rows as files of a day each: cut by day, encoded, and held on disk until all rows are judged.

What arrives live is filed under the UTC date of its time while that day is open, and under the day
of its arrival once it is closed, so that no history holds what nobody could have known then.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.service.problems import Problem

ROW_COLUMN: Final = "_row"
UPLOAD_COLUMN: Final = "_upload_id"
# It stands in the path.
DAY_COLUMN: Final = "dt"
ARRIVAL_COLUMN: Final = "ingested_at"
# Rows in memory; a file is written part by part, and of a size that is sent in one piece.
_FLUSH_BYTES: Final = 4 * 2**20
_FILE_BYTES: Final = 8 * 2**20
_MAX_OPEN: Final = 32
_TIME: Final = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class WrittenFile:
    """A file on this machine's disk, not yet in the store."""

    day: date
    path: Path
    rows: int


@dataclass(frozen=True)
class Filing:
    """How rows are given their day: by ``time_column``, or all to the day of arrival."""

    arrived_at: datetime
    closes: timedelta
    time_column: str | None
    is_backfill: bool = False

    def days(self, rows: pa.Table) -> pa.ChunkedArray:
        """Day of each row, as date32."""
        if self.is_backfill and self.time_column is not None:
            return _day_of(rows[self.time_column])
        arrival = pa.repeat(pa.scalar(self.arrived_at, _TIME), len(rows))
        return open_days(rows, arrival, self.closes, self.time_column)


def open_days(
    rows: pa.Table, arrival: pa.Array, closes: timedelta, time_column: str | None
) -> pa.ChunkedArray:
    """The day of each row's time, or of its arrival where that day is closed by then."""
    arrived = _day_of(pa.chunked_array([arrival]))
    if time_column is None:
        return arrived
    days = _day_of(rows[time_column])
    first_open = _day_of(pc.subtract(pa.chunked_array([arrival]), pa.scalar(closes)))
    return pc.if_else(pc.less(days, first_open), arrived, days)


def _day_of(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(pc.floor_temporal(times, unit="day"), pa.date32())


class _Open:
    """A file of a day that is being written."""

    def __init__(self, day: date, path: Path, schema: pa.Schema) -> None:
        self._day, self._path, self._rows = day, path, 0
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)

    @property
    def is_full(self) -> bool:
        return self._path.stat().st_size >= _FILE_BYTES

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows)
        self._rows += len(rows)

    def close(self) -> WrittenFile:
        self._writer.close()
        return WrittenFile(self._day, self._path, self._rows)


class Landing:
    """Collects rows, and appends them to a file of their day whenever there are many."""

    def __init__(self, folder: Path, filing: Filing, upload_id: str, max_days: int) -> None:
        self._folder = folder
        self._filing = filing
        self._upload_id = upload_id
        self._max_days = max_days
        self._waiting: list[pa.Table] = []
        self._bytes = 0
        self._open: dict[date, _Open] = {}
        self._begun = 0
        self._files: list[WrittenFile] = []
        self._days: set[date] = set()

    def add(self, rows: pa.Table, numbers: pa.Array) -> None:
        """Rows with their numbers in the upload, from 1."""
        if not len(rows):
            return
        own = {ARRIVAL_COLUMN, DAY_COLUMN}
        kept = rows.drop_columns([name for name in rows.column_names if name in own])
        self._waiting.append(kept.append_column(ROW_COLUMN, numbers.cast(pa.int64())))
        self._bytes += self._waiting[-1].nbytes
        if self._bytes >= _FLUSH_BYTES:
            self._flush()

    def finish(self) -> list[WrittenFile]:
        """All files, by day."""
        self._flush()
        for day in list(self._open):
            self._close(day)
        return sorted(self._files, key=lambda file: (file.day, file.path.name))

    def _flush(self) -> None:
        if not self._waiting:
            return
        rows = pa.concat_tables(self._waiting)
        self._waiting, self._bytes = [], 0
        for day, own in _by_day(rows, self._filing.days(rows)):
            self._days.add(day)
            if len(self._days) > self._max_days:
                raise Problem(
                    "too_large",
                    f"The rows are of more than {self._max_days} days; send fewer days at a time.",
                )
            self._append(day, self._marked(own))

    def _append(self, day: date, rows: pa.Table) -> None:
        if day not in self._open:
            for other in list(self._open) if len(self._open) >= _MAX_OPEN else ():
                self._close(other)
            path = self._folder / f"{day}-{self._begun:06}.parquet"
            self._open[day] = _Open(day, path, rows.schema)
            self._begun += 1
        self._open[day].write(rows)
        if self._open[day].is_full:
            self._close(day)

    def _close(self, day: date) -> None:
        self._files.append(self._open.pop(day).close())

    def _marked(self, rows: pa.Table) -> pa.Table:
        """With what is the same in all rows; last, since it is more than the rows themselves."""
        arrival = pa.repeat(pa.scalar(self._filing.arrived_at, _TIME), len(rows))
        upload_id = pa.repeat(pa.scalar(self._upload_id), len(rows))
        place = rows.column_names.index(ROW_COLUMN)
        dated = rows.add_column(place, ARRIVAL_COLUMN, arrival)
        return dated.add_column(place + 1, UPLOAD_COLUMN, upload_id)


def _by_day(rows: pa.Table, days: pa.ChunkedArray) -> Iterator[tuple[date, pa.Table]]:
    """Rows of each day, in their order."""
    counts = {d["values"]: d["counts"] for d in pc.value_counts(days).to_pylist()}
    if len(counts) == 1:
        yield next(iter(counts)), rows
        return
    order = pc.sort_indices(days)
    ordered = rows.take(order)
    start = 0
    for day in sorted(counts):
        yield day, ordered.slice(start, counts[day])
        start += counts[day]


def rows_by_day(files: list[WrittenFile]) -> dict[str, int]:
    totals: dict[str, int] = defaultdict(int)
    for file in files:
        totals[str(file.day)] += file.rows
    return dict(totals)
