"""Small days as workers write them, for tests of what is published; importable by child processes.

All rows of a run carry its number as ``customer_id``, so that a day tells whose it is.
"""

import hashlib
import io
import secrets
from collections.abc import Iterable
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
from deltalake import DeltaTable

from training_assets.lake import DataFile, NewDay, Snapshot, Store, open_snapshot, publish
from training_assets.lake.log import delta_uri
from training_assets.schemas import UNIFIED_ACTIONS, Table

TABLE = UNIFIED_ACTIONS
DAYS = [date(2026, 3, 1) + timedelta(days=n) for n in range(14)]


def write_day(
    store: Store,
    day: date,
    *,
    number: int = 1,
    inputs: str = "inputs",
    rows: int = 3,
    files: int = 2,
    run: str | None = None,
    table: Table = TABLE,
) -> NewDay:
    """Files of a day at their place, committed by nobody; each of ``rows`` rows."""
    run = run or secrets.token_hex(6)
    written = [_write_file(store, day, part, number, rows, run, table) for part in range(files)]
    manifest = {"inputs": inputs, "rows": rows * files, "number": number}
    return NewDay(tuple(written), ((number, number),) * files, manifest)


def _write_file(
    store: Store, day: date, part: int, number: int, rows: int, run: str, table: Table
) -> DataFile:
    values = {"customer_id": number, "item_id": part + 1}
    columns = {
        column.name: pa.array([values.get(column.name)] * rows).cast(column.arrow)
        for column in table.stored_columns
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    data = buffer.getvalue()
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    name = f"dt={day}/part-{part:05d}-{digest}-{run}.parquet"
    store.put(name, data)
    return DataFile(name, len(data), rows)


def write_days(store: Store, days: Iterable[date], **options: object) -> dict[date, NewDay]:
    run = secrets.token_hex(6)
    return {day: write_day(store, day, run=run, **options) for day in days}  # type: ignore[arg-type]


def publish_days(store: Store, days: Iterable[date], **options: object) -> dict[date, str]:
    """A whole run: look, write, publish."""
    before = look(store)
    return publish(store, TABLE, write_days(store, days, **options), before, {"run": "test"})


def look(store: Store) -> Snapshot:
    return open_snapshot(store, TABLE.name)


def numbers_of(snapshot: Snapshot, day: date) -> list[int]:
    """The run number in each row of a day, from its files."""
    system: pyarrow.fs.FileSystem = pyarrow.fs.LocalFileSystem()
    found: list[int] = []
    for uri in snapshot.uris(day):
        path = uri
        if not snapshot.store.is_local:
            system, path = pyarrow.fs.FileSystem.from_uri(uri)
        with system.open_input_file(path) as file:
            found += pq.read_table(file, columns=["customer_id"])["customer_id"].to_pylist()
    return found


def rows_by_delta(store: Store) -> dict[date, int]:
    """How many rows any reader of Delta tables finds by day."""
    days = DeltaTable(delta_uri(store)).to_pyarrow_dataset().to_table(["dt"])["dt"].to_pylist()
    return {day: days.count(day) for day in sorted(set(days))}


def data_names(store: Store) -> set[str]:
    """All data files that lie there, published or not."""
    return {entry.path for entry in store.list() if entry.path.startswith("dt=")}


def published_names(snapshot: Snapshot) -> set[str]:
    return {file.name for files in snapshot.files.values() for file in files}
