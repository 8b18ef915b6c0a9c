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
_FLUSH_BYTES: Final = 48 * 2**20
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


class Landing:
    """Collects rows, and writes a file a day whenever there are many."""

    def __init__(self, folder: Path, filing: Filing, upload_id: str, max_days: int) -> None:
        self._folder = folder
        self._filing = filing
        self._upload_id = upload_id
        self._max_days = max_days
        self._waiting: list[pa.Table] = []
        self._bytes = 0
        self._files: list[WrittenFile] = []
        self._days: set[date] = set()

    def add(self, rows: pa.Table, numbers: pa.Array) -> None:
        """Rows with their numbers in the upload, from 1."""
        if not len(rows):
            return
        arrival = pa.scalar(self._filing.arrived_at, _TIME)
        own = {ARRIVAL_COLUMN, DAY_COLUMN}
        marked = rows.drop_columns([name for name in rows.column_names if name in own])
        marked = marked.append_column(ARRIVAL_COLUMN, pa.repeat(arrival, len(rows)))
        marked = marked.append_column(
            UPLOAD_COLUMN, pa.repeat(pa.scalar(self._upload_id), len(rows))
        )
        self._waiting.append(marked.append_column(ROW_COLUMN, numbers.cast(pa.int64())))
        self._bytes += marked.nbytes
        if self._bytes >= _FLUSH_BYTES:
            self._flush()

    def finish(self) -> list[WrittenFile]:
        """All files, by day."""
        self._flush()
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
            path = self._folder / f"{day}-{len(self._files):06}.parquet"
            pq.write_table(own, path, compression="zstd", write_page_checksum=True)
            self._files.append(WrittenFile(day, path, len(own)))


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
