"""How new the newest event of a raw source is."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from training_assets.lake import Lake
from training_assets.schemas import Table
from training_assets.sources import find_raw_days, fingerprint, source_days


@dataclass(frozen=True)
class NewestEvent:
    """Of a source: its newest day, and when the last event of that day was, at the latest."""

    day: date
    at: datetime


def newest_event(
    spark: SparkSession, lake: Lake, table: Table, now: datetime
) -> NewestEvent | None:
    """None for a source without days.

    An event later than ``now`` is none. Where the rows tell no time, the last event was at the end
    of the day, or when its files were written if that was before.
    """
    known = source_days(lake, table)
    days = [day for day in known.near if day <= now.date()]
    if not days:
        return None
    day = days[-1]
    raw = find_raw_days(lake, table, [day], known, allow_missing=True)
    times = [column.name for column in table.columns if column.type == "timestamp"]
    if times:
        rows = raw.read_valid(spark).where(F.col(times[0]) <= F.lit(now))
        # As a number: sessions have time zones.
        (found,) = rows.agg(F.unix_micros(F.max(times[0])).alias("newest")).collect()
        if found["newest"] is not None:
            return NewestEvent(day, datetime.fromtimestamp(found["newest"] / 1e6, UTC))
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    written = [stamp for _, _, stamp in fingerprint(table, day, raw.files())]
    latest = [datetime.fromtimestamp(s / 1e9, UTC) for s in written if isinstance(s, int)]
    return NewestEvent(day, min([end, now, *([max(latest)] if latest else [])]))
