"""How the workers of the checks open the files of a day: by name, as declared, and undamaged.

Nothing here is shared with the kernels that write the files.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path, PurePosixPath
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.errors import SchemaError
from training_assets.list_format import SealedParquet, locate
from training_assets.schemas import Table

FILES_DDL: Final = "number int, dt date, uri string"
# Neither an item nor a type nor a number of days: it equals nothing that is right.
NULL: Final = -1

Batches = Iterable[pa.RecordBatch]
Ints: TypeAlias = np.ndarray[Any, Any]


class File(NamedTuple):
    """A file of a day, and what opens it: an absolute local path, or a URL."""

    day: date
    uri: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.uri).name


def files_in(batches: Batches) -> Iterator[File]:
    """The files of rows of ``FILES_DDL``."""
    for batch in batches:
        for row in batch.to_pylist():
            yield File(row["dt"], row["uri"])


@contextmanager
def open_declared(table: Table, file: File) -> Iterator[SealedParquet]:
    """Raises ``SchemaError`` for other columns than the table's, another error for damage."""
    with SealedParquet(file.uri) as parquet:
        if problems := differences(table, parquet.schema_arrow):
            raise SchemaError(
                f"{table.name}: day {file.day} is not as declared: {file.name}: "
                f"{'; '.join(problems)}. Materialize it again."
            )
        yield parquet


@contextmanager
def local_copy(uri: str) -> Iterator[str]:
    """A local path of the file, of the same name: what is read several times is fetched once."""
    filesystem, path = locate(uri)
    if filesystem is None:
        yield path
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder, PurePosixPath(path).name)
        with filesystem.open_input_stream(path) as source, copy.open("wb") as target:
            copyfileobj(source, target)
        yield str(copy)


def read_columns(
    batches: Batches, table: Table, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Rows of files of ``FILES_DDL``: their day as ``dt``, and some columns."""
    for file in files_in(batches):
        with open_declared(table, file) as parquet:
            for rows in parquet.iter_batches(columns=list(columns), use_threads=False):
                day = pa.repeat(pa.scalar(file.day), len(rows))
                arrays = [day, *(rows[name] for name in columns)]
                yield pa.RecordBatch.from_arrays(arrays, names=["dt", *columns])


def distinct_rows(batches: Batches, table: Table, keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of files of ``FILES_DDL``: their day as ``dt``, and each value of ``keys`` once."""
    for file in files_in(batches):
        with open_declared(table, file) as parquet:
            rows = parquet.read(list(keys), use_threads=False)
        once = rows.group_by(list(keys), use_threads=False).aggregate([]).select(list(keys))
        once = once.add_column(0, "dt", pa.repeat(pa.scalar(file.day), len(once)))
        yield from once.to_batches()


def of_customers(rows: pa.Table, customers: Ints) -> pa.Table:
    """Rows of some customers (ascending); each run of a customer's rows is looked up once."""
    if not len(customers):
        return rows.slice(0, 0)
    ids = ints(rows["customer_id"])
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1]))[: len(ids)])
    some = ids[starts]
    is_theirs = customers.take(np.searchsorted(customers, some), mode="clip") == some
    return rows.filter(pa.array(np.repeat(is_theirs, np.diff(starts, append=len(ids)))))


def differences(table: Table, found: pa.Schema) -> list[str]:
    """How the columns of a file differ from the table's: names, order and types."""
    expected = table.arrow_schema
    if found.names != expected.names:
        return [f"found columns {', '.join(found.names)}; expected {', '.join(expected.names)}"]
    return [
        f"{name} is {_plain(found.field(name).type)}; expected {_plain(expected.field(name).type)}"
        for name in expected.names
        if _plain(found.field(name).type) != _plain(expected.field(name).type)
    ]


def _plain(type_: pa.DataType) -> str:
    # Engines name the elements of lists differently, and nobody reads those names.
    return f"list<{type_.value_type}>" if pa.types.is_list(type_) else str(type_)


def ints(column: pa.ChunkedArray) -> Ints:
    """A column of integers, days or times as integers; ``NULL`` where there is none."""
    array = one_array(column)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz)).view(pa.int64())
    elif pa.types.is_date32(array.type):
        array = array.view(pa.int32())
    return without_nulls(array)


def without_nulls(array: pa.Array) -> Ints:
    values: Ints = (pc.fill_null(array, NULL) if array.null_count else array).to_numpy()
    return values


def one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def batch_of(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows of Python values as a batch."""
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
