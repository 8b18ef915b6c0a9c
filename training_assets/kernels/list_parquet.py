"""Parquet files of rows that carry long lists of small integers, written column by column.

A general writer walks through every value of every list. Here the values of a column become
dictionary indices in one go, and where many rows share a list, as the items of a ranking share
their customer's history, it is encoded once. Rows of long lists are not even put together: the
compressed page says how often each is repeated (``zstd_frames``).

    page = levels | bits per index | one bit-packed run of indices

Lists hold no nulls, so their levels follow from their lengths alone. What comes out is plain
Parquet (data pages V1, zstd): https://parquet.apache.org/docs/file-format/ has the structures
named here.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from training_assets.kernels.lists import JaggedLists, SharedLists
from training_assets.kernels.thrift import (
    BINARY,
    BYTE,
    I32,
    I64,
    LIST,
    STRUCT,
    TRUE,
    encode_struct,
    encode_varint,
)
from training_assets.kernels.timelines import Ints
from training_assets.kernels.zstd_frames import (
    MAX_ROW,
    MIN_ROW,
    frame,
    raw,
    repeated,
    repeated_rows,
)

_MAGIC: Final = b"PAR1"
CREATED_BY: Final = "training_assets"
_PAGE_BYTES: Final = 1 << 20
# Bytes that a list has on average for its repetitions not to be searched for.
_LONG_LIST: Final = 512
# A place in a smaller dictionary leaves so much of its two bytes unused that a compressor gains
# more than it costs.
_LARGE_DICTIONARY: Final = 2**14
# Definition levels of an optional list of optional values.
EMPTY, _PRESENT = 1, 3
_INT32, _INT64, _BYTE_ARRAY = 1, 2, 6
_OPTIONAL, _REPEATED = 1, 2
_PLAIN, _RLE, _RLE_DICTIONARY = 0, 3, 8
DATA_PAGE, DICTIONARY_PAGE = 0, 2
_ZSTD: Final = 6
_AS_UTF8, _AS_LIST = 0, 3
_CONVERTED: Final = {8: 15, 16: 16}

Values: TypeAlias = pa.Array | SharedLists | JaggedLists


@dataclass(frozen=True)
class _Chunk:
    """What the footer says of one column of one row group."""

    path: tuple[str, ...]
    type: int
    num_values: int
    uncompressed: int
    compressed: int
    offset: int
    dictionary_offset: int | None
    statistics: bytes


class ListParquetWriter:
    """Writes row groups of scalar and list columns; a context manager.

    ``schema`` has int32, int64 and string columns, and lists of int8, int16 or int32. All are
    written as optional, as engines write them; scalars may be null, lists and their values not.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, compression_level: int = 1) -> None:
        self._schema = schema
        self._file: BinaryIO = path.open("wb")
        self._codec = pa.Codec("zstd", compression_level=compression_level)
        self._groups: list[tuple[int, list[_Chunk]]] = []
        self._file.write(_MAGIC)

    def __enter__(self) -> "ListParquetWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            footer = _footer(self._schema, self._groups)
            self._file.write(footer + struct.pack("<I", len(footer)) + _MAGIC)
        self._file.close()

    def write_group(self, columns: Sequence[Values]) -> None:
        """One row group; ``columns`` in the order of the schema, all of the same number of rows."""
        chunks = [
            self._write_scalars(field.name, values.cast(field.type))
            if isinstance(values, pa.Array)
            else self._write_lists(field.name, values)
            for field, values in zip(self._schema, columns, strict=True)
        ]
        self._groups.append((len(columns[0]), chunks))

    def _write_scalars(self, name: str, values: pa.Array) -> _Chunk:
        kind, plain = _plain(values)
        start = self._file.tell()
        body = np.frombuffer(_valid_levels(values) + plain, np.uint8)
        total = self._write_page(DATA_PAGE, len(values), _PLAIN, self._squeezed(body))
        size = self._file.tell() - start
        return _Chunk(
            (name,), kind, len(values), total, size, start, None, _statistics(kind, values)
        )

    def _write_lists(self, name: str, lists: SharedLists | JaggedLists) -> _Chunk:
        if isinstance(lists, SharedLists):
            shared = lists.encoded()
            dictionary, bits = _dictionary(shared.lists)
            pages = self._shared_pages(shared, bits)
        else:
            jagged = lists.encoded()
            dictionary, bits = _dictionary(jagged)
            pages = ((count, self._squeezed(body)) for count, body in _jagged_pages(jagged, bits))
        start, num_values = self._file.tell(), 0
        plain = self._squeezed(dictionary.astype("<i4").view(np.uint8))
        total = self._write_page(DICTIONARY_PAGE, len(dictionary), _PLAIN, plain)
        first_data = self._file.tell()
        for count, page in pages:
            total += self._write_page(DATA_PAGE, count, _RLE_DICTIONARY, page)
            num_values += count
        size = self._file.tell() - start
        path = (name, "list", "element")
        return _Chunk(path, _INT32, num_values, total, size, first_data, start, b"")

    def _shared_pages(self, shared: SharedLists, bits: int) -> "_Pages":
        if _is_long(shared, bits):
            yield from _framed_pages(shared, bits)
        else:
            for count, body in _gathered_pages(shared, bits):
                yield count, self._squeezed(body)

    def _squeezed(self, body: Ints) -> "_Page":
        return _Page(len(body), self._codec.compress(pa.py_buffer(body), asbytes=True))

    def _write_page(self, kind: int, num_values: int, encoding: int, page: "_Page") -> int:
        """Append a page; returns its size with the header, uncompressed."""
        if kind == DATA_PAGE:
            detail = encode_struct(
                (1, I32, num_values), (2, I32, encoding), (3, I32, _RLE), (4, I32, _RLE)
            )
        else:
            detail = encode_struct((1, I32, num_values), (2, I32, encoding))
        header = encode_struct(
            (1, I32, kind),
            (2, I32, page.size),
            (3, I32, len(page.content)),
            (5 if kind == DATA_PAGE else 7, STRUCT, detail),
        )
        self._file.write(header)
        self._file.write(page.content)
        return len(header) + page.size


class _Page(NamedTuple):
    """The compressed content of a page, and its size without that."""

    size: int
    content: bytes


# (number of values, content) of each page.
_Pages: TypeAlias = Iterator[tuple[int, _Page]]
_Bodies: TypeAlias = Iterator[tuple[int, Ints]]


def _dictionary(lists: JaggedLists) -> tuple[Ints, int]:
    """The values of the dictionary, and the bits of a place in it."""
    assert lists.dictionary is not None
    return lists.dictionary, _width(len(lists.dictionary))


def _is_long(shared: SharedLists, bits: int) -> bool:
    """Whether rows are repeated, and so long that to say so takes little of what they take."""
    dictionary, _ = _dictionary(shared.lists)
    if len(dictionary) <= _LARGE_DICTIONARY:
        return False
    num_rows, num_lists = len(shared), len(shared.lists)
    own = len(shared.lists.values) * bits // 8
    fits = bits >= 8 and MIN_ROW <= shared.length * bits // 8 <= MAX_ROW
    return fits and num_rows >= 2 * num_lists and own >= _LONG_LIST * num_lists


def _framed_pages(shared: SharedLists, bits: int) -> _Pages:
    """Every list is there once, with how often it is repeated."""
    unit, row_size = bits // 8, shared.length * bits // 8
    starts = _starts(shared.index, at_most=max(1, _PAGE_BYTES // row_size))
    times = np.diff(starts, append=len(shared))
    own = shared.lists.take(shared.index[starts], at_most=shared.length)
    blocks, ends = repeated_rows(
        _pack(own.values[own.offsets[0] : own.offsets[-1]], bits),
        np.diff(own.offsets) * unit,
        shared.padding.to_bytes(unit, "little"),
        row_size,
        times,
    )
    # No list is cut but those that are longer than a page.
    cuts = np.flatnonzero(np.diff(starts * row_size // _PAGE_BYTES, prepend=-1))
    page_rows = np.add.reduceat(times, cuts).tolist()
    around = {num_rows: _frame_around(num_rows, shared.length, bits) for num_rows in set(page_rows)}
    bounds = np.append(0, ends)[[*cuts, len(starts)]].tolist()
    for num_rows, (start, end) in zip(page_rows, pairwise(bounds), strict=True):
        size, before, after = around[num_rows]
        content = frame(size + row_size * num_rows, [before, blocks[start:end], after])
        yield num_rows * shared.length, _Page(size + row_size * num_rows, content)


def _frame_around(num_rows: int, length: int, bits: int) -> tuple[int, bytes, bytes]:
    """What stands around the rows of a page: its bytes, and the blocks before and after them."""
    (size, repetition, rest), tail = _shared_levels(num_rows, length, bits)
    total = len(size + rest + tail) + len(repetition) * num_rows
    return total, raw(size) + repeated(repetition, num_rows) + raw(rest), raw(tail)


def _starts(index: Ints, *, at_most: int) -> Ints:
    """The first rows of each list; of one with more rows than that, some of them."""
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    is_long = np.diff(starts, append=len(index)) > at_most
    if not is_long.any():
        return starts
    rows = np.arange(0, len(index), at_most)
    return np.union1d(starts, rows[is_long[np.searchsorted(starts, rows, side="right") - 1]])


def _gathered_pages(shared: SharedLists, bits: int) -> _Bodies:
    """Every list is encoded once."""
    lists, length = shared.lists, shared.length
    if length % (8 // min(bits, 8)):
        # Rows must be whole bytes to be gathered.
        bits = 8
    is_value = np.arange(length) < np.diff(lists.offsets)[:, None]
    padded = np.full(is_value.shape, shared.padding, lists.values.dtype)
    padded[is_value] = lists.values[lists.offsets[0] : lists.offsets[-1]]
    packed = _pack(padded.reshape(-1), bits).reshape(len(lists), -1)
    step = max(1, _PAGE_BYTES // max(1, packed.shape[1]))
    for low in range(0, len(shared), step):
        index = shared.index[low : low + step]
        (size, repetition, rest), tail = _shared_levels(len(index), length, bits)
        head = size + repetition * len(index) + rest
        body = np.zeros(len(head) + packed.shape[1] * len(index) + len(tail), np.uint8)
        body[: len(head)] = np.frombuffer(head, np.uint8)
        rows = body[len(head) : len(body) - len(tail)].reshape(len(index), -1)
        np.take(packed, index, axis=0, out=rows, mode="clip")
        yield len(index) * length, body


def _shared_levels(
    num_rows: int, length: int, bits: int
) -> tuple[tuple[bytes, bytes, bytes], bytes]:
    """What stands before the rows of a page, its second part once per row; and what after them."""
    count = num_rows * length
    repetition = _run(1, 0) + (_run(length - 1, 1) if length > 1 else b"")
    # A bit-packed run is whole groups of eight values.
    groups = -(-count // 8)
    rest = _sized(_run(count, _PRESENT)) + bytes([bits]) + encode_varint(groups << 1 | 1)
    parts = (struct.pack("<I", len(repetition) * num_rows), repetition, rest)
    return parts, bytes(groups * bits - count * bits // 8)


def _jagged_pages(lists: JaggedLists, bits: int) -> _Bodies:
    offsets = lists.offsets
    step = _PAGE_BYTES * 8 // bits
    cuts = np.flatnonzero(np.diff((offsets[:-1] - offsets[0]) // step, prepend=-1))
    for low, high in zip(cuts, [*cuts[1:], len(lists)], strict=True):
        own = lists.values[offsets[low] : offsets[high]]
        packed = _pack(np.append(own, np.zeros(-len(own) % 8, own.dtype)), bits)
        levels, count = _jagged_levels(np.diff(offsets[low : high + 1]))
        head = levels + bytes([bits]) + encode_varint(len(packed) // bits << 1 | 1)
        yield count, np.concatenate([np.frombuffer(head, np.uint8), packed])


def _jagged_levels(sizes: Ints) -> tuple[bytes, int]:
    """Repetition and definition levels, and their number: an empty list takes one, too."""
    slots = np.maximum(sizes, 1)
    count = int(slots.sum())
    starts = np.cumsum(slots) - slots
    repetition = np.ones(count, np.uint8)
    repetition[starts] = 0
    if (sizes > 0).all():
        definition = _run(count, _PRESENT)
    else:
        level = np.full(count + -count % 8, _PRESENT, np.uint8)
        level[starts[sizes == 0]] = EMPTY
        definition = _packed_run(_pack(level, 2), 2)
    return _sized(_packed_run(np.packbits(repetition, bitorder="little"), 1)) + _sized(
        definition
    ), count


def _width(distinct: int) -> int:
    """Bits per index. Whole bytes where two do not do; zstd takes back what that wastes."""
    return 2 if distinct <= 4 else 8 if distinct <= 2**8 else 16 if distinct <= 2**16 else 32


def _pack(index: Ints, bits: int) -> Ints:
    """Indices as bytes; there are whole groups of eight."""
    if bits == 2:
        quads = index.astype(np.uint8, copy=False).reshape(-1, 4)
        packed: Ints = quads[:, 0] | quads[:, 1] << 2 | quads[:, 2] << 4 | quads[:, 3] << 6
        return packed
    return np.ascontiguousarray(index.astype(f"<u{bits // 8}", copy=False)).view(np.uint8)


def _packed_run(packed: Ints, bits: int) -> bytes:
    return encode_varint(-(-packed.size // bits) << 1 | 1) + packed.tobytes()


def _valid_levels(values: pa.Array) -> bytes:
    """Definition levels of an optional scalar: 1 where there is a value."""
    if not values.null_count:
        return _sized(_run(len(values), 1))
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    return _sized(_packed_run(np.packbits(valid, bitorder="little"), 1))


def _plain(values: pa.Array) -> tuple[int, bytes]:
    """Parquet type and PLAIN encoding of the values that are not null."""
    there = values.drop_null()
    if pa.types.is_string(values.type):
        return _BYTE_ARRAY, _plain_texts(there)
    kind, dtype = (_INT64, "<i8") if pa.types.is_int64(values.type) else (_INT32, "<i4")
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
    if kind != _BYTE_ARRAY and values.null_count < len(values):
        numbers = values.drop_null().to_numpy()
        form = "<q" if kind == _INT64 else "<i"
        fields.append((5, BINARY, struct.pack(form, numbers.max())))
        fields.append((6, BINARY, struct.pack(form, numbers.min())))
    return encode_struct(*fields)


def _footer(schema: pa.Schema, groups: Sequence[tuple[int, list[_Chunk]]]) -> bytes:
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
        (6, BINARY, CREATED_BY.encode()),
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
                (1, I32, _BYTE_ARRAY),
                (3, I32, _OPTIONAL),
                (4, BINARY, name),
                (6, I32, _AS_UTF8),
                (10, STRUCT, logical),
            )
        ]
    return [_number_element(name, field.type)]


def _number_element(name: bytes, kind: pa.DataType) -> bytes:
    """A number; those of less than 32 bits are stored as 32 and say what they are."""
    physical = _INT64 if pa.types.is_int64(kind) else _INT32
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


def _row_group(rows: int, chunks: Sequence[_Chunk]) -> bytes:
    columns = []
    for chunk in chunks:
        encodings = [_PLAIN, _RLE] + ([_RLE_DICTIONARY] if chunk.dictionary_offset else [])
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


def _run(count: int, value: int) -> bytes:
    """RLE run of a level; levels here are below 256."""
    return encode_varint(count << 1) + bytes([value])


def _sized(levels: bytes) -> bytes:
    return struct.pack("<I", len(levels)) + levels
