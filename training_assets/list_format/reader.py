"""Reads back the jagged lists that ``ListParquetWriter`` wrote, column by column.

A general reader walks through the levels of each value and looks each one up in the dictionary.
Here a page becomes arrays as it lies there, and its dictionary indices stay indices:

    page = levels | bits per index | one bit-packed run of indices

What another writer has written, or another version of this one, is left to Arrow.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

from training_assets.list_format.arrays import Ints, as_list
from training_assets.list_format.errors import DamagedFileError
from training_assets.list_format.lists import JaggedLists
from training_assets.list_format.pages import EMPTY
from training_assets.list_format.sealed import SealedParquet
from training_assets.list_format.thrift import decode_struct, decode_varint
from training_assets.list_format.writer import CREATED_BY, DATA_PAGE, DICTIONARY_PAGE

# The four numbers of two bits that each byte holds.
_QUADS: Final = (np.arange(256)[:, None] >> [0, 2, 4, 6] & 3).astype(np.uint8).view("<u4")[:, 0]
_TYPE, _UNCOMPRESSED, _COMPRESSED, _CRC, _DATA = 1, 2, 3, 4, 5


class ListParquetReader:
    """Row groups of scalar columns and of columns of lists, of a sealed file or another one."""

    def __init__(self, place: str | Path, filesystem: pafs.FileSystem | None = None) -> None:
        self._place = str(place)
        self._file = SealedParquet(place, filesystem)
        self.metadata = self._file.metadata
        # A version that is not known may write pages in another way.
        self._is_ours = self.metadata.created_by == CREATED_BY

    def load(self, group: int, *names: str) -> None:
        """Fetch columns that are read next, all at once where it takes a request."""
        self._file.load([group], names)

    def scalars(self, group: int, name: str) -> pa.ChunkedArray:
        return self._file.read([name], [group], use_threads=False)[name]

    def lists(self, group: int, name: str) -> JaggedLists:
        """A column of lists without nulls; what Arrow had to read has no dictionary.

        Raises ``DamagedFileError`` where a page is damaged.
        """
        chunk, content = self._file.chunk(group, name)
        if not self._is_ours or not chunk.has_dictionary_page:
            return self._by_arrow(group, name)
        try:
            # In a sealed file every byte of it has been verified.
            pages = _pages(content, chunk.total_uncompressed_size, verify=not self._file.is_sealed)
            dictionary, *data = pages
            if data and all(page.is_jagged for page in data):
                return _joined(np.frombuffer(dictionary.body, "<i4"), data)
        except (ValueError, LookupError, OSError, struct.error) as error:
            raise DamagedFileError.of(
                self._place,
                f"column {name} of row group {group} is damaged ({error})",
                "lists as they were written",
            ) from error
        return self._by_arrow(group, name)

    def _by_arrow(self, group: int, name: str) -> JaggedLists:
        column = as_list(self.scalars(group, name))
        offsets = column.offsets.to_numpy().astype(np.int64)
        return JaggedLists(column.values.to_numpy()[offsets[0] : offsets[-1]], offsets - offsets[0])


class _Page(NamedTuple):
    """A page without its compression; ``num_values`` counts an empty list as one."""

    body: memoryview
    num_values: int

    @property
    def is_jagged(self) -> bool:
        """Whether the repetition levels are one run of bits, as ours writes them."""
        return bool(self.body[4] & 1)


def _pages(chunk: memoryview, uncompressed: int, *, verify: bool) -> Iterator[_Page]:
    """The dictionary page and the data pages after it, ``uncompressed`` bytes at most."""
    codec, at = pa.Codec("zstd"), 0
    while at < len(chunk):
        header, at = decode_struct(chunk, at)
        kind, size = header[_TYPE], header[_COMPRESSED]
        if kind not in (DATA_PAGE, DICTIONARY_PAGE) or header[_UNCOMPRESSED] > uncompressed:
            raise ValueError(f"a page of type {kind} and {header[_UNCOMPRESSED]} bytes")
        content = chunk[at : at + size]
        if verify and zlib.crc32(content) != header[_CRC] % 2**32:
            raise ValueError(f"CRC {zlib.crc32(content):08x} of a page of CRC {header[_CRC]:08x}")
        body = codec.decompress(pa.py_buffer(content), header[_UNCOMPRESSED])
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
