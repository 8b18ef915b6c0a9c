"""The same rows through Arrow's own Parquet writer: to switch the encoding of lists off.

It is what the other writer is held against, too.
"""

from collections.abc import Sequence
from typing import BinaryIO, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.list_format.lists import JaggedLists, SharedLists
from training_assets.list_format.writer import ListParquetWriter, Values

ListFormat: TypeAlias = Literal["lists", "parquet"]
LIST_FORMATS: Final[tuple[ListFormat, ...]] = ("lists", "parquet")


class ArrowListWriter:
    """What ``ListParquetWriter`` does, value by value."""

    def __init__(self, sink: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        self._sink = sink
        # Arrow's writer ends a file even where it is given up.
        self._content = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(
            self._content,
            schema,
            compression="zstd",
            compression_level=1,
            store_schema=False,
            write_page_checksum=True,
        )

    def __enter__(self) -> "ArrowListWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._writer.close()
            self._sink.write(self._content.getvalue())

    def write_group(self, columns: Sequence[Values]) -> None:
        """One row group; ``columns`` in the order of the schema, all of the same number of rows."""
        arrays = [
            _array(values).cast(t) for values, t in zip(columns, self._schema.types, strict=True)
        ]
        table = pa.table(arrays, schema=self._schema)
        self._writer.write_table(table, row_group_size=max(1, len(table)))


def open_writer(
    sink: BinaryIO, schema: pa.Schema, list_format: ListFormat
) -> ListParquetWriter | ArrowListWriter:
    """A writer of row groups; ``parquet`` leaves lists to Arrow."""
    if list_format == "parquet":
        return ArrowListWriter(sink, schema)
    return ListParquetWriter(sink, schema)


def _array(values: Values) -> pa.Array:
    if isinstance(values, SharedLists):
        return _padded(values)
    if isinstance(values, JaggedLists):
        plain = values.plain()
        start, end = plain.offsets[0], plain.offsets[-1]
        offsets = (plain.offsets - start).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(plain.values[start:end]))
    return values


def _padded(shared: SharedLists) -> pa.Array:
    encoded = shared.encoded()
    lists, dictionary = encoded.lists, encoded.lists.dictionary
    assert dictionary is not None
    is_value = np.arange(shared.length) < np.diff(lists.offsets)[:, None]
    rows = np.full(is_value.shape, dictionary[encoded.padding], dictionary.dtype)
    rows[is_value] = dictionary.take(lists.values[lists.offsets[0] : lists.offsets[-1]])
    offsets = np.arange(len(shared) + 1, dtype=np.int32) * shared.length
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(rows.take(shared.index, axis=0).reshape(-1))
    )
