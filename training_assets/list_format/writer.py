"""Writes Parquet files of rows that carry long lists of small integers, column by column.

A general writer walks through every value of every list. Here the values of a column become
dictionary indices in one go, and where many rows share a list, as the items of a ranking share
their customer's history, it is encoded once (``pages``). What comes out is plain Parquet (data
pages V1, zstd, a checksum in each page): https://parquet.apache.org/docs/file-format/ has the
structures named here.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import pyarrow as pa

from training_assets.list_format.arrays import Ints
from training_assets.list_format.footer import (
    BYTE_ARRAY,
    INT32,
    INT64,
    PLAIN,
    RLE,
    RLE_DICTIONARY,
    Chunk,
    footer,
)
from training_assets.list_format.lists import JaggedLists, SharedLists
from training_assets.list_format.pages import Limits, Page, encoded_pages, packed_run, run, sized
from training_assets.list_format.thrift import BINARY, I32, I64, STRUCT, encode_struct

MAGIC: Final = b"PAR1"
# In the form that other readers take apart: application, version, build.
CREATED_BY: Final = "training_assets version 2.0.0 (build lists)"
DATA_PAGE, DICTIONARY_PAGE = 0, 2

Values: TypeAlias = pa.Array | SharedLists | JaggedLists


class ListParquetWriter:
    """Writes row groups of scalar and list columns; a context manager.

    ``schema`` has int32, int64 and string columns, and lists of int8, int16 or int32. All are
    written as optional, as engines write them; scalars may be null, lists and their values not.
    The sink is not closed; without an end, which an exception takes away, it is no Parquet file.
    """

    def __init__(
        self,
        sink: BinaryIO,
        schema: pa.Schema,
        *,
        compression_level: int = 1,
        limits: Limits = Limits(),  # noqa: B008
    ) -> None:
        self._schema = schema
        self._sink = sink
        self._codec = pa.Codec("zstd", compression_level=compression_level)
        self._limits = limits
        self._groups: list[tuple[int, list[Chunk]]] = []
        self._sink.write(MAGIC)

    def __enter__(self) -> "ListParquetWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            end = footer(self._schema, self._groups, CREATED_BY)
            self._sink.write(end + struct.pack("<I", len(end)) + MAGIC)

    def write_group(self, columns: Sequence[Values]) -> None:
        """One row group; ``columns`` in the order of the schema, all of the same number of rows."""
        chunks = [
            self._write_scalars(field.name, values.cast(field.type))
            if isinstance(values, pa.Array)
            else self._write_lists(field.name, values)
            for field, values in zip(self._schema, columns, strict=True)
        ]
        self._groups.append((len(columns[0]), chunks))

    def _write_scalars(self, name: str, values: pa.Array) -> Chunk:
        kind, plain = _plain(values)
        start = self._sink.tell()
        body = np.frombuffer(_valid_levels(values) + plain, np.uint8)
        total = self._write_page(DATA_PAGE, len(values), PLAIN, self._squeezed(body))
        size = self._sink.tell() - start
        return Chunk(
            (name,), kind, len(values), total, size, start, None, _statistics(kind, values)
        )

    def _write_lists(self, name: str, lists: SharedLists | JaggedLists) -> Chunk:
        dictionary, pages = encoded_pages(lists, self._limits, self._squeezed)
        start, num_values = self._sink.tell(), 0
        plain = self._squeezed(dictionary.astype("<i4").view(np.uint8))
        total = self._write_page(DICTIONARY_PAGE, len(dictionary), PLAIN, plain)
        first_data = self._sink.tell()
        for count, page in pages:
            total += self._write_page(DATA_PAGE, count, RLE_DICTIONARY, page)
            num_values += count
        size = self._sink.tell() - start
        path = (name, "list", "element")
        return Chunk(path, INT32, num_values, total, size, first_data, start, b"")

    def _squeezed(self, body: Ints) -> Page:
        return Page(len(body), self._codec.compress(pa.py_buffer(body), asbytes=True))

    def _write_page(self, kind: int, num_values: int, encoding: int, page: Page) -> int:
        """Append a page; returns its size with the header, uncompressed."""
        if kind == DATA_PAGE:
            detail = encode_struct(
                (1, I32, num_values), (2, I32, encoding), (3, I32, RLE), (4, I32, RLE)
            )
        else:
            detail = encode_struct((1, I32, num_values), (2, I32, encoding))
        header = encode_struct(
            (1, I32, kind),
            (2, I32, page.size),
            (3, I32, len(page.content)),
            (4, I32, _signed(zlib.crc32(page.content))),
            (5 if kind == DATA_PAGE else 7, STRUCT, detail),
        )
        self._sink.write(header)
        self._sink.write(page.content)
        return len(header) + page.size


def _signed(crc: int) -> int:
    """The checksum as the signed number of 32 bits that Thrift has."""
    return crc - 2**32 if crc >= 2**31 else crc


def _valid_levels(values: pa.Array) -> bytes:
    """Definition levels of an optional scalar: 1 where there is a value."""
    if not values.null_count:
        return sized(run(len(values), 1))
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    return sized(packed_run(np.packbits(valid, bitorder="little"), 1))


def _plain(values: pa.Array) -> tuple[int, bytes]:
    """Parquet type and PLAIN encoding of the values that are not null."""
    there = values.drop_null()
    if pa.types.is_string(values.type):
        return BYTE_ARRAY, _plain_texts(there)
    kind, dtype = (INT64, "<i8") if pa.types.is_int64(values.type) else (INT32, "<i4")
    return kind, there.to_numpy().astype(dtype).tobytes()


def _plain_texts(texts: pa.Array) -> bytes:
    """Each text after its size in four bytes."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    sizes = np.diff(ends)
    starts = ends[:-1] - ends[0] + 4 * np.arange(len(texts))
    plain = np.empty(4 * len(texts) + ends[-1] - ends[0], np.uint8)
    is_text = np.ones(len(plain), bool)
    for byte in range(4):
        plain[starts + byte] = sizes >> 8 * byte & 0xFF
        is_text[starts + byte] = False
    plain[is_text] = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]]
    return plain.tobytes()


def _statistics(kind: int, values: pa.Array) -> bytes:
    """Smallest, largest and number of nulls, for readers that skip row groups."""
    fields: list[tuple[int, int, Any]] = [(3, I64, values.null_count)]
    if kind != BYTE_ARRAY and values.null_count < len(values):
        numbers = values.drop_null().to_numpy()
        form = "<q" if kind == INT64 else "<i"
        fields.append((5, BINARY, struct.pack(form, numbers.max())))
        fields.append((6, BINARY, struct.pack(form, numbers.min())))
    return encode_struct(*fields)
