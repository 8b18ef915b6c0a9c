"""Raw days on disk, as a delivery would leave them."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.lake import Store
from training_assets.schemas import RAW_TABLES, Table

Progress = Callable[[str], None]
Put = Callable[[str, bytes], object]

_THREADS: Final = 4
_MAX_WAITING: Final = 32


@dataclass
class SampleSummary:
    """What was written: rows per raw table, days, files and bytes; and rows of the event stream."""

    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RAW_TABLES, 0))
    days: int = 0
    files: int = 0
    bytes: int = 0
    shop_rows: dict[str, int] = field(default_factory=dict)


@contextmanager
def putting(store: Store) -> Iterator[Put]:
    """``store.put`` by threads: whoever makes the files does not wait for the disk.

    All of them lie there when the block is left; raises what putting one of them raised.
    """
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:

        def put(path: str, data: bytes) -> None:
            waiting.append(pool.submit(store.put, path, data))
            if len(waiting) > _MAX_WAITING:
                waiting.popleft().result()

        yield put
        for each in waiting:
            each.result()


def write_raw_day(
    put: Put, table: Table, day: date, columns: Mapping[str, Any], summary: SampleSummary
) -> None:
    """Put one day of a raw table as one zstd file; add it to ``summary``.

    ``columns`` are arrays of equal length in the table's types; ``order_date`` is filled in.
    """
    schema = pa.schema([(c.name, c.arrow) for c in table.columns if c.name != "dt"])
    rows = len(columns["customer_id"])
    if table.day_column in schema.names:
        columns = {**columns, table.day_column: pa.repeat(pa.scalar(day, pa.date32()), rows)}
    arrays = [
        value if isinstance(value, pa.Array) else pa.array(value).cast(schema.field(name).type)
        for name, value in ((name, columns[name]) for name in schema.names)
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    put(f"{table.name}/dt={day.isoformat()}/part-0.parquet", data)
    summary.bytes += len(data)
    summary.rows[table.name] += rows
    summary.files += 1
