"""The footer of a Parquet file: its schema, and where each column of each row group lies.

https://parquet.apache.org/docs/file-format/metadata/ has the structures named here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from training_assets.list_format.thrift import (
    BINARY,
    BYTE,
    I32,
    I64,
    LIST,
    STRUCT,
    TRUE,
    encode_struct,
)

INT32, INT64, BYTE_ARRAY = 1, 2, 6
PLAIN, RLE, RLE_DICTIONARY = 0, 3, 8
_OPTIONAL, _REPEATED = 1, 2
_ZSTD: Final = 6
_AS_UTF8, _AS_LIST = 0, 3
_CONVERTED: Final = {8: 15, 16: 16}


@dataclass(frozen=True)
class Chunk:
    """What the footer says of one column of one row group."""

    path: tuple[str, ...]
    type: int
    num_values: int
    uncompressed: int
    compressed: int
    offset: int
    dictionary_offset: int | None
    statistics: bytes


def footer(schema: pa.Schema, groups: Sequence[tuple[int, list[Chunk]]], created_by: str) -> bytes:
    elements = [encode_struct((4, BINARY, b"schema"), (5, I32, len(schema)))]
    for field in schema:
        elements += _schema_elements(field)
    columns = len(groups[0][1]) if groups else len(schema)
    type_order = encode_struct((1, STRUCT, encode_struct()))
    return encode_struct(
        (1, I32, 2),
        (2, LIST, (STRUCT, elements)),
        (3, I64, sum(rows for rows, _ in groups)),
        (4, LIST, (STRUCT, [_row_group(rows, chunks) for rows, chunks in groups])),
        (6, BINARY, created_by.encode()),
        (7, LIST, (STRUCT, [type_order] * columns)),
    )


def _schema_elements(field: pa.Field) -> list[bytes]:
    name = field.name.encode()
    if pa.types.is_list(field.type):
        logical = encode_struct((3, STRUCT, encode_struct()))
        return [
            encode_struct(
                (3, I32, _OPTIONAL),
                (4, BINARY, name),
                (5, I32, 1),
                (6, I32, _AS_LIST),
                (10, STRUCT, logical),
            ),
            encode_struct((3, I32, _REPEATED), (4, BINARY, b"list"), (5, I32, 1)),
            _number_element(b"element", field.type.value_type),
        ]
    if pa.types.is_string(field.type):
        logical = encode_struct((1, STRUCT, encode_struct()))
        return [
            encode_struct(
                (1, I32, BYTE_ARRAY),
                (3, I32, _OPTIONAL),
                (4, BINARY, name),
                (6, I32, _AS_UTF8),
                (10, STRUCT, logical),
            )
        ]
    return [_number_element(name, field.type)]


def _number_element(name: bytes, kind: pa.DataType) -> bytes:
    """A number; those of less than 32 bits are stored as 32 and say what they are."""
    physical = INT64 if pa.types.is_int64(kind) else INT32
    fields: list[tuple[int, int, Any]] = [
        (1, I32, physical),
        (3, I32, _OPTIONAL),
        (4, BINARY, name),
    ]
    if kind.bit_width < 32:
        width = encode_struct((1, BYTE, kind.bit_width), (2, TRUE, None))
        fields.append((6, I32, _CONVERTED[kind.bit_width]))
        fields.append((10, STRUCT, encode_struct((10, STRUCT, width))))
    return encode_struct(*fields)


def _row_group(rows: int, chunks: Sequence[Chunk]) -> bytes:
    columns = []
    for chunk in chunks:
        encodings = [PLAIN, RLE] + ([RLE_DICTIONARY] if chunk.dictionary_offset else [])
        fields: list[tuple[int, int, Any]] = [
            (1, I32, chunk.type),
            (2, LIST, (I32, encodings)),
            (3, LIST, (BINARY, [part.encode() for part in chunk.path])),
            (4, I32, _ZSTD),
            (5, I64, chunk.num_values),
            (6, I64, chunk.uncompressed),
            (7, I64, chunk.compressed),
            (9, I64, chunk.offset),
        ]
        if chunk.dictionary_offset is not None:
            fields.append((11, I64, chunk.dictionary_offset))
        if chunk.statistics:
            fields.append((12, STRUCT, chunk.statistics))
        columns.append(encode_struct((2, I64, chunk.offset), (3, STRUCT, encode_struct(*fields))))
    total = sum(chunk.uncompressed for chunk in chunks)
    return encode_struct((1, LIST, (STRUCT, columns)), (2, I64, total), (3, I64, rows))
