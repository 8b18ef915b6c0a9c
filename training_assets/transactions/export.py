"""Detections as files: planned in the database with what they hold, put if none match.

    detections/detections-000000000001-000000000050.csv   and .parquet, the same rows

The name is the numbers of the first and the last detection, so a file that is put again is the same
file. Times are kept in UTC and written in Indian Standard Time.
"""

import csv
import io
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.errors import ChunkError
from training_assets.lake import Store
from training_assets.transactions.database import Connection, Database, sql

DETECTIONS: Final = "detections"
HEADER: Final = (
    "YStartTime(IST)",
    "detectionTime(IST)",
    "patternId",
    "ActionType",
    "customerName",
    "MerchantId",
)
ACTIONS: Final = {"PatId1": "UPGRADE", "PatId2": "CHILD", "PatId3": "DEI-NEEDED"}
ENDED: Final = "-ENDED"
_SCHEMA: Final = pa.schema([pa.field(name, pa.string(), nullable=False) for name in HEADER])
_IST: Final = ZoneInfo("Asia/Kolkata")


def close_file(database: Database) -> None:
    """Plan a file for detections that do not fill one."""
    database.run(lambda connection: connection.execute(sql("close_file.sql")))


def export_files(database: Database, workdir: Store) -> int:
    """Put the files that are planned and not put yet; returns how many.

    Raises ``ChunkError`` where a file of that name holds something else.
    """
    store, done = workdir.child(DETECTIONS), 0
    for first, last, name in database.run(_waiting):
        rows = database.run(lambda c, f=first, n=last: file_rows(c, f, n))  # type: ignore[misc]
        for suffix, data in (("csv", _csv(rows)), ("parquet", _parquet(rows))):
            if not store.put_new(f"{name}.{suffix}", data):
                raise ChunkError(
                    f"{store.url}: {name}.{suffix} holds other detections than the database; "
                    "expected none, or the same. Use the workdir of this database, or run "
                    "'training-assets transactions rebuild', which writes to a new folder."
                )
        database.run(lambda c, f=first: _mark(c, f))  # type: ignore[misc]
        done += 1
    return done


def file_rows(connection: Connection, first: int, last: int) -> pa.Table:
    """Detections ``first`` to ``last`` under the header of a file."""
    found = connection.execute(
        "SELECT started_at, detected_at, pattern_id, is_end, customer_id, merchant_id "
        "FROM detections WHERE detection_id BETWEEN %s AND %s ORDER BY detection_id",
        (first, last),
    ).fetchall()
    records = [
        (in_ist(started), in_ist(detected), pattern, action(pattern, is_end), customer, merchant)
        for started, detected, pattern, is_end, customer, merchant in found
    ]
    columns: list[Any] = list(zip(*records, strict=True)) or [()] * len(HEADER)
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=_SCHEMA)


def action(pattern: str, is_end: bool) -> str:
    return ACTIONS[pattern] + (ENDED if is_end else "")


def in_ist(moment: datetime) -> str:
    """YYYY-MM-DD HH:MM:SS in Indian Standard Time, cut to the second."""
    return moment.astimezone(_IST).strftime("%Y-%m-%d %H:%M:%S")


def _waiting(connection: Connection) -> list[Any]:
    return connection.execute(
        "SELECT first_detection, last_detection, name FROM detection_files "
        "WHERE exported_at IS NULL ORDER BY first_detection"
    ).fetchall()


def _mark(connection: Connection, first: int) -> None:
    connection.execute(
        "UPDATE detection_files SET exported_at = clock_timestamp() "
        "WHERE first_detection = %s AND exported_at IS NULL",
        (first,),
    )


def _csv(rows: pa.Table) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(zip(*rows.to_pydict().values(), strict=True))
    return out.getvalue().encode()


def _parquet(rows: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(rows, out, compression="zstd")
    return out.getvalue()
