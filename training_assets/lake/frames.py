"""Published days as a DataFrame, read by the workers: an engine needs no store of its own.

Imported by itself: the rest of this room needs no PySpark, so that a loader can do without it.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from training_assets import list_format
from training_assets.engine.shipping import ship
from training_assets.lake.snapshot import Snapshot
from training_assets.list_format import SealedParquet
from training_assets.schemas import Table

ship(list_format)

_FILES_DDL: Final = "number int, dt string, uri string"
# Small files are read as soon by few tasks, which all are at work at once on Sail.
_MIN_TASKS: Final = 8
_MAX_TASKS: Final = 64
_BYTES_PER_TASK: Final = 1 << 22
_ROWS_PER_BATCH: Final = 16_384


def read_days(
    spark: SparkSession,
    snapshot: Snapshot,
    table: Table,
    days: Iterable[date],
    columns: Sequence[str] | None = None,
    customers: pa.Array | None = None,
) -> DataFrame:
    """Columns (all) of those of the days that are published, as ``schemas`` declares them.

    With ``customers`` (ids), only rows of these: no others reach the engine.

    The files are those of the snapshot, whatever is published meanwhile.
    """
    names = list(columns or table.column_names)
    declared = {column.name: column for column in table.columns}
    ddl = ", ".join(f"`{name}` {declared[name].type}" for name in names)
    wanted = sorted(set(days) & snapshot.files.keys())
    files = [(str(day), uri) for day in wanted for uri in snapshot.uris(day)]
    if not files or (customers is not None and not len(customers)):
        return spark.createDataFrame([], schema=ddl)
    stored = [name for name in names if name != "dt"]
    types = {name: declared[name].arrow for name in names}
    schema = pa.schema(list(types.items()))
    wanted_ids = None if customers is None else np.sort(customers.to_numpy())

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for file in (row for batch in batches for row in batch.to_pylist()):
            parquet = SealedParquet(file["uri"])
            present = set(parquet.schema_arrow.names)
            told = [name for name in stored if name in present] or None
            # Also where no column of the file is asked for, its rows are.
            for batch in parquet.iter_batches(_ROWS_PER_BATCH, told, use_threads=False):
                # A file may be older than a column, which then is null in it.
                found = {
                    name: batch[name] if name in present else pa.nulls(len(batch), types[name])
                    for name in stored
                }
                found["dt"] = pa.repeat(pa.scalar(file["dt"]), len(batch))
                rows = pa.RecordBatch.from_arrays(
                    [found[field.name].cast(field.type) for field in schema], schema=schema
                )
                if wanted_ids is not None:
                    # pyarrow's is_in would make a hash table of them at each call.
                    ids = rows["customer_id"].to_numpy()
                    place = np.minimum(np.searchsorted(wanted_ids, ids), len(wanted_ids) - 1)
                    rows = rows.filter(pa.array(wanted_ids[place] == ids))
                yield rows

    rows = [(number, *file) for number, file in enumerate(files)]
    size = sum(file.size for day in wanted for file in snapshot.files[day])
    num_tasks = min(len(rows), _MIN_TASKS + size // _BYTES_PER_TASK, _MAX_TASKS)
    frame = spark.createDataFrame(rows, _FILES_DDL).repartition(num_tasks, F.col("number"))
    return frame.mapInArrow(read, ddl)
