"""Writes and reads files of what features fold: any columns, sealed like all files of a lake."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.kernels.day_files import Written, grouped, written_batch
from training_assets.list_format import SealedParquet, seal_parts, write_file

STATE_FILES_DDL = "number int, day int, uri string"
_ROWS_PER_BATCH = 65_536

Batches = Iterable[pa.RecordBatch]


def write_state(
    table: pa.Table, root: str, number: int, part: int, run: str, **options: Any
) -> Written:
    """Write one file under ``root``; ``number`` passes through. ``options`` are of Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **{"compression": "zstd", **options}, write_page_checksum=True)
    sealed = seal_parts(sink.getvalue())
    name = f"part-{part:05d}-{sealed.hash}-{run}.parquet"
    write_file(f"{root}/{name}", *sealed)
    return Written(number, part, name, len(table), sealed.size, None, None)


def write_folds(
    batches: Batches, key: str, roots: Mapping[int, str], run: str
) -> Iterator[pa.RecordBatch]:
    """Rows with ``dt`` (a number that ``roots`` knows) and ``part``, sorted by ``key``."""
    written = []
    for number, part, found in grouped(batches):
        rows = found.drop_columns(["dt", "part"]).sort_by(key)
        written.append(write_state(rows, roots[number], number, part, run))
    yield written_batch(written)


def read_state(batches: Batches, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of the files that ``STATE_FILES_DDL`` names, with the ``day`` of each."""
    for row in (row for batch in batches for row in batch.to_pylist()):
        stored = [name for name in schema.names if name != "day"]
        with SealedParquet(row["uri"]) as file:
            for batch in file.iter_batches(_ROWS_PER_BATCH, columns=stored):
                columns = {name: batch[name] for name in stored}
                columns["day"] = pa.repeat(pa.scalar(row["day"]), len(batch))
                yield pa.RecordBatch.from_arrays(
                    [columns[field.name].cast(field.type) for field in schema], schema=schema
                )
