"""Reads back the jagged lists that ``list_parquet`` wrote, column by column.

A general reader walks through the levels of each value and looks each one up in the dictionary.
Here a page becomes arrays as it lies there, and its dictionary indices stay indices:

    page = levels | bits per index | one bit-packed run of indices

What another writer has written is left to Arrow.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.errors import SchemaError
from training_assets.kernels.day_files import as_list
from training_assets.kernels.list_parquet import (
    CREATED_BY,
    DATA_PAGE,
    DICTIONARY_PAGE,
    EMPTY,
)
from training_assets.kernels.lists import JaggedLists
from training_assets.kernels.thrift import decode_struct, decode_varint
from training_assets.kernels.timelines import Ints

# The four numbers of two bits that each byte holds.
_QUADS: Final = (np.arange(256)[:, None] >> [0, 2, 4, 6] & 3).astype(np.uint8).view("<u4")[:, 0]
_TYPE, _UNCOMPRESSED, _COMPRESSED, _DATA = 1, 2, 3, 5


class ListParquetReader:
    """Row groups of scalar columns and of columns of lists."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file = pq.ParquetFile(path)
        self.metadata = self._file.metadata

    def scalars(self, group: int, name: str) -> pa.ChunkedArray:
        return self._file.read_row_group(group, columns=[name], use_threads=False)[name]

    def lists(self, group: int, name: str) -> JaggedLists:
        """A column of lists without nulls; what Arrow had to read has no dictionary.

        Raises ``SchemaError`` where a page is damaged.
        """
        try:
            found = self._as_written(group, name)
            return self._by_arrow(group, name) if found is None else found
        except (ValueError, LookupError, OSError, struct.error) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise SchemaError(
                f"{self._path}: {name} of row group {group} is damaged ({error}); expected lists "
                "as they were written. Publish the day again."
            ) from error

    def _as_written(self, group: int, name: str) -> JaggedLists | None:
        chunk = self._chunk(group, name)
        if self.metadata.created_by != CREATED_BY or not chunk.has_dictionary_page:
            return None
        dictionary, *pages = _pages(self._bytes(chunk), chunk.total_uncompressed_size)
        if not pages or not all(page.is_jagged for page in pages):
            return None
        return _joined(np.frombuffer(dictionary.body, "<i4"), pages)

    def _by_arrow(self, group: int, name: str) -> JaggedLists:
        column = as_list(self.scalars(group, name))
        offsets = column.offsets.to_numpy().astype(np.int64)
        return JaggedLists(column.values.to_numpy()[offsets[0] : offsets[-1]], offsets - offsets[0])

    def _bytes(self, chunk: pq.ColumnChunkMetaData) -> memoryview:
        with self._path.open("rb") as file:
            file.seek(chunk.dictionary_page_offset)
            return memoryview(file.read(chunk.total_compressed_size))

    def _chunk(self, group: int, name: str) -> pq.ColumnChunkMetaData:
        columns = self.metadata.row_group(group)
        paths = [columns.column(n).path_in_schema for n in range(columns.num_columns)]
        return columns.column(next(n for n, p in enumerate(paths) if p.split(".")[0] == name))


class _Page(NamedTuple):
    """A page without its compression; ``num_values`` counts an empty list as one."""

    body: memoryview
    num_values: int

    @property
    def is_jagged(self) -> bool:
        """Whether the repetition levels are one run of bits, as ``list_parquet`` writes them."""
        return bool(self.body[4] & 1)


def _pages(chunk: memoryview, uncompressed: int) -> Iterator[_Page]:
    """The dictionary page and the data pages after it, ``uncompressed`` bytes at most."""
    codec, at = pa.Codec("zstd"), 0
    while at < len(chunk):
        header, at = decode_struct(chunk, at)
        kind, size = header[_TYPE], header[_COMPRESSED]
        if kind not in (DATA_PAGE, DICTIONARY_PAGE) or header[_UNCOMPRESSED] > uncompressed:
            raise ValueError(f"a page of type {kind} and {header[_UNCOMPRESSED]} bytes")
        body = codec.decompress(pa.py_buffer(chunk[at : at + size]), header[_UNCOMPRESSED])
        at += size
        yield _Page(memoryview(body), header[_DATA][1] if kind == DATA_PAGE else 0)


def _joined(dictionary: Ints, pages: list[_Page]) -> JaggedLists:
    sizes, values = zip(*map(_decoded, pages), strict=True)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
    index = np.concatenate(values)
    if len(index) and int(index.max()) >= len(dictionary):
        raise ValueError(f"a value is place {index.max()} of a dictionary of {len(dictionary)}")
    return JaggedLists(index, offsets, dictionary)


def _decoded(page: _Page) -> tuple[Ints, Ints]:
    """Sizes of the lists of a data page, and the dictionary indices of their values."""
    body, count = page.body, page.num_values
    repetition, at = _levels(body, 0)
    levels = np.unpackbits(_run(repetition), bitorder="little")[:count]
    starts = np.flatnonzero(levels == 0)
    if len(levels) < count or not len(starts) or starts[0]:
        raise ValueError(f"{len(levels)} levels of {count} values")
    sizes = np.diff(starts, append=count)
    definition, at = _levels(body, at)
    if definition[0] & 1:
        is_empty = _twos(_run(definition), count).take(starts) == EMPTY
        sizes[is_empty] = 0
    bits = body[at]
    packed, num_values = _run(body[at + 1 :]), int(sizes.sum())
    if bits == 2:
        return sizes, _twos(packed, num_values)
    return sizes, packed.view(f"<u{bits // 8}")[:num_values]


def _levels(body: memoryview, at: int) -> tuple[memoryview, int]:
    """Levels that begin there with their size, and where they end."""
    (size,) = struct.unpack_from("<I", body, at)
    return body[at + 4 : at + 4 + size], at + 4 + size


def _run(run: memoryview) -> Ints:
    """The bytes of a bit-packed run after its header."""
    _, at = decode_varint(run, 0)
    return np.frombuffer(run, np.uint8, offset=at)


def _twos(packed: Ints, count: int) -> Ints:
    """Numbers of two bits, the lowest bits first."""
    return _QUADS.take(packed).view(np.uint8)[:count]
