"""Parquet files of rows that carry long lists of small integers, written column by column.

A general writer walks through every value of every list. Here the values of a column become
dictionary indices in one go, and where many rows share a list, as the items of a ranking share
their customer's history, it is encoded once and its bytes are gathered:

    page = levels | bits per index | one bit-packed run of indices

Lists hold no nulls, so their levels follow from their lengths alone. What comes out is plain
Parquet (data pages V1, zstd): https://parquet.apache.org/docs/file-format/ has the structures
named here.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import pyarrow as pa

from training_assets.kernels.timelines import Ints, ranges

_MAGIC: Final = b"PAR1"
CREATED_BY: Final = "training_assets"
_PAGE_BYTES: Final = 1 << 20
_IDENTITY: Final = 2**12
# Definition levels of an optional list of optional values.
EMPTY, _PRESENT = 1, 3
_INT32, _INT64, _BYTE_ARRAY = 1, 2, 6
_OPTIONAL, _REPEATED = 1, 2
_PLAIN, _RLE, _RLE_DICTIONARY = 0, 3, 8
DATA_PAGE, DICTIONARY_PAGE = 0, 2
_ZSTD: Final = 6
_UTF8, _LIST = 0, 3
_CONVERTED: Final = {8: 15, 16: 16}

# Thrift's compact protocol: the type codes of fields.
_T_TRUE, _T_BYTE, _T_I32, _T_I64, _T_BINARY, _T_LIST, _T_STRUCT = 1, 3, 5, 6, 8, 9, 12


@dataclass(frozen=True)
class SharedLists:
    """Lists of one length: row ``n`` holds ``values[index[n]]``.

    ``values`` is [lists, length] of non-negative integers, ``index`` [rows]. With a ``dictionary``
    the values are places in it.
    """

    values: Ints
    index: Ints
    dictionary: Ints | None = None

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class JaggedLists:
    """Lists of any length: row ``n`` holds ``values[offsets[n]:offsets[n + 1]]``.

    ``values`` are non-negative integers, ``offsets`` [rows + 1]. With a ``dictionary`` the values
    are places in it.
    """

    values: Ints
    offsets: Ints
    dictionary: Ints | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slice(self, start: int, count: int) -> "JaggedLists":
        """Up to ``count`` rows from ``start``; nothing is copied."""
        offsets = self.offsets[start : start + count + 1]
        values = self.values[offsets[0] : offsets[-1]]
        return JaggedLists(values, offsets - offsets[0], self.dictionary)

    def take(self, rows: Ints, *, at_most: int) -> "JaggedLists":
        """Some rows, each cut to its first ``at_most`` values."""
        whole = np.diff(self.offsets).take(rows)
        sizes = np.minimum(whole, at_most)
        if len(rows) and (np.diff(rows) == 1).all() and (sizes == whole).all():
            return self.slice(int(rows[0]), len(rows))
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        values = self.values.take(ranges(self.offsets.take(rows), sizes))
        return JaggedLists(values, offsets, self.dictionary)

    def plain(self) -> "JaggedLists":
        """The same without a dictionary."""
        if self.dictionary is None:
            return self
        return JaggedLists(self.dictionary.take(self.values), self.offsets)

    def encoded(self) -> "JaggedLists":
        """The same with a dictionary."""
        if self.dictionary is not None:
            return self
        dictionary, values = _dictionary(self.values)
        return JaggedLists(values, self.offsets, dictionary)

    @classmethod
    def concat(cls, parts: "Sequence[JaggedLists]") -> "JaggedLists":
        """One after another. Of dictionaries, what the values use is left, the most used first.

        So most of the places are small numbers, which take less room than any other order.
        """
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        if parts[0].dictionary is None:
            plain = [part.values for part in parts]
            return cls(plain[0] if len(parts) == 1 else np.concatenate(plain), offsets)
        columns = [(part.dictionary, part.values) for part in parts if part.dictionary is not None]
        uses = [np.bincount(own, minlength=len(entries)) for entries, own in columns]
        used = [entries[use > 0] for (entries, _), use in zip(columns, uses, strict=True)]
        distinct = _distinct(np.concatenate(used))
        if not len(distinct):
            return cls(np.zeros(0, np.uint16), offsets, np.zeros(1, np.int32))
        # Entries that no value uses get a place that is not theirs, and nobody asks for it.
        places = [np.searchsorted(distinct, entries) for entries, _ in columns]
        total = np.zeros(len(distinct) + 1, np.int64)
        for place, use in zip(places, uses, strict=True):
            np.add.at(total, place, use)
        order = np.argsort(-total[:-1], kind="stable")
        rank = np.zeros(len(total), np.uint16 if len(distinct) <= 2**16 else np.uint32)
        rank[order] = np.arange(len(order))
        values = np.empty(offsets[-1], rank.dtype)
        end = 0
        for place, (_, own) in zip(places, columns, strict=True):
            start, end = end, end + len(own)
            np.take(rank.take(place), own, out=values[start:end], mode="clip")
        return cls(values, offsets, distinct.take(order))


def _distinct(values: Ints) -> Ints:
    """Ascending; quicker than by hashing where the values are a few ascending runs."""
    values = np.sort(values, kind="stable")
    is_new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=is_new[1:])
    return values[is_new]


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
        self._buffer = np.empty(0, np.uint8)
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
        start, total = self._file.tell(), 0
        body = np.frombuffer(_valid_levels(values) + plain, np.uint8)
        total += self._write_page(DATA_PAGE, len(values), _PLAIN, body)
        size = self._file.tell() - start
        return _Chunk(
            (name,), kind, len(values), total, size, start, None, _statistics(kind, values)
        )

    def _write_lists(self, name: str, lists: SharedLists | JaggedLists) -> _Chunk:
        dictionary, index = lists.dictionary, lists.values
        if dictionary is None:
            dictionary, index = _dictionary(lists.values)
        start = self._file.tell()
        plain = np.frombuffer(dictionary.astype("<i4").tobytes(), np.uint8)
        total = self._write_page(DICTIONARY_PAGE, len(dictionary), _PLAIN, plain)
        first_data, num_values = self._file.tell(), 0
        bits = _width(len(dictionary))
        if isinstance(lists, SharedLists):
            if index.shape[1] % (8 // min(bits, 8)):
                # Encoded rows must be whole bytes to be gathered.
                bits = 8
            pages = _shared_pages(lists, index, bits)
        else:
            pages = _jagged_pages(lists, index, bits)
        for levels, count, packed, rows in pages:
            body = self._page_body(levels, packed, rows, bits)
            total += self._write_page(DATA_PAGE, count, _RLE_DICTIONARY, body)
            num_values += count
        size = self._file.tell() - start
        path = (name, "list", "element")
        return _Chunk(path, _INT32, num_values, total, size, first_data, start, b"")

    def _page_body(self, levels: bytes, packed: Ints, rows: Ints | None, bits: int) -> Ints:
        """Levels, then one bit-packed run of the packed bytes, or of those rows of them."""
        size = packed.size if rows is None else packed.shape[1] * len(rows)
        # A bit-packed run is whole groups of eight values.
        groups = -(-size // bits)
        head = levels + bytes([bits]) + _varint(groups << 1 | 1)
        # The same memory for every page: fresh memory costs more than what is written to it.
        if len(self._buffer) < len(head) + groups * bits:
            self._buffer = np.empty(2 * (len(head) + groups * bits), np.uint8)
        body = self._buffer[: len(head) + groups * bits]
        body[: len(head)] = np.frombuffer(head, np.uint8)
        run = body[len(head) : len(head) + size]
        if rows is None:
            run[:] = packed.reshape(-1)
        else:
            np.take(packed, rows, axis=0, out=run.reshape(len(rows), -1), mode="clip")
        body[len(head) + size :] = 0
        return body

    def _write_page(self, kind: int, num_values: int, encoding: int, body: Ints) -> int:
        """Append a page; returns its size with the header, uncompressed."""
        squeezed = self._codec.compress(pa.py_buffer(body))
        if kind == DATA_PAGE:
            detail = _struct(
                (1, _T_I32, num_values), (2, _T_I32, encoding), (3, _T_I32, _RLE), (4, _T_I32, _RLE)
            )
        else:
            detail = _struct((1, _T_I32, num_values), (2, _T_I32, encoding))
        header = _struct(
            (1, _T_I32, kind),
            (2, _T_I32, len(body)),
            (3, _T_I32, squeezed.size),
            (5 if kind == DATA_PAGE else 7, _T_STRUCT, detail),
        )
        self._file.write(header)
        self._file.write(squeezed)
        return len(header) + len(body)


_Pages: TypeAlias = Iterator[tuple[bytes, int, Ints, Ints | None]]


def _shared_pages(lists: SharedLists, index: Ints, bits: int) -> _Pages:
    """(levels, number of values, packed lists, rows) of each page; every list is packed once."""
    length = index.shape[1]
    packed = _pack(index, bits)
    step = max(1, _PAGE_BYTES // max(1, packed.shape[1]))
    for low in range(0, len(lists), step):
        rows = lists.index[low : low + step]
        repetition = _run(1, 0) + (_run(length - 1, 1) if length > 1 else b"")
        count = len(rows) * length
        levels = _sized(repetition * len(rows)) + _sized(_run(count, _PRESENT))
        yield levels, count, packed, rows


def _jagged_pages(lists: JaggedLists, index: Ints, bits: int) -> _Pages:
    offsets = lists.offsets
    step = _PAGE_BYTES * 8 // bits
    cuts = np.flatnonzero(np.diff((offsets[:-1] - offsets[0]) // step, prepend=-1))
    for low, high in zip(cuts, [*cuts[1:], len(lists)], strict=True):
        own = index[offsets[low] : offsets[high]]
        room = -len(own) % 8
        packed = _pack(np.concatenate((own, np.zeros(room, own.dtype))).reshape(1, -1), bits)
        sizes = np.diff(offsets[low : high + 1])
        levels, count = _jagged_levels(sizes)
        yield levels, count, packed, None


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
        definition = _packed_run(_pack(level.reshape(1, -1), 2), 2)
    return _sized(_packed_run(np.packbits(repetition, bitorder="little"), 1)) + _sized(
        definition
    ), count


def _dictionary(values: Ints) -> tuple[Ints, Ints]:
    """(distinct values, indices of the shape of ``values``)."""
    if not values.size:
        return np.zeros(1, np.int32), values
    if (top := int(values.max())) < _IDENTITY:
        # Small numbers are their own index.
        return np.arange(top + 1, dtype=np.int32), values
    flat = pa.array(values.reshape(-1)).dictionary_encode()
    return flat.dictionary.to_numpy(), flat.indices.to_numpy().reshape(values.shape)


def _width(distinct: int) -> int:
    """Bits per index. Whole bytes where two do not do; zstd takes back what that wastes."""
    return 2 if distinct <= 4 else 8 if distinct <= 2**8 else 16 if distinct <= 2**16 else 32


def _pack(index: Ints, bits: int) -> Ints:
    """Rows of indices as rows of bytes; the rows of 2-bit indices are multiples of 4 long."""
    if bits == 2:
        quads = index.astype(np.uint8, copy=False).reshape(len(index), -1, 4)
        packed: Ints = quads[..., 0] | quads[..., 1] << 2 | quads[..., 2] << 4 | quads[..., 3] << 6
        return packed
    whole = np.ascontiguousarray(index.astype(f"<u{bits // 8}", copy=False))
    return whole.view(np.uint8).reshape(len(index), -1)


def _packed_run(packed: Ints, bits: int) -> bytes:
    return _varint(-(-packed.size // bits) << 1 | 1) + packed.tobytes()


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
    fields: list[tuple[int, int, Any]] = [(3, _T_I64, values.null_count)]
    if kind != _BYTE_ARRAY and values.null_count < len(values):
        numbers = values.drop_null().to_numpy()
        form = "<q" if kind == _INT64 else "<i"
        fields.append((5, _T_BINARY, struct.pack(form, numbers.max())))
        fields.append((6, _T_BINARY, struct.pack(form, numbers.min())))
    return _struct(*fields)


def _footer(schema: pa.Schema, groups: Sequence[tuple[int, list[_Chunk]]]) -> bytes:
    elements = [_struct((4, _T_BINARY, b"schema"), (5, _T_I32, len(schema)))]
    for field in schema:
        elements += _schema_elements(field)
    columns = len(groups[0][1]) if groups else len(schema)
    type_order = _struct((1, _T_STRUCT, _struct()))
    return _struct(
        (1, _T_I32, 2),
        (2, _T_LIST, (_T_STRUCT, elements)),
        (3, _T_I64, sum(rows for rows, _ in groups)),
        (4, _T_LIST, (_T_STRUCT, [_row_group(rows, chunks) for rows, chunks in groups])),
        (6, _T_BINARY, CREATED_BY.encode()),
        (7, _T_LIST, (_T_STRUCT, [type_order] * columns)),
    )


def _schema_elements(field: pa.Field) -> list[bytes]:
    name = field.name.encode()
    if pa.types.is_list(field.type):
        logical = _struct((3, _T_STRUCT, _struct()))
        return [
            _struct(
                (3, _T_I32, _OPTIONAL),
                (4, _T_BINARY, name),
                (5, _T_I32, 1),
                (6, _T_I32, _LIST),
                (10, _T_STRUCT, logical),
            ),
            _struct((3, _T_I32, _REPEATED), (4, _T_BINARY, b"list"), (5, _T_I32, 1)),
            _number_element(b"element", field.type.value_type),
        ]
    if pa.types.is_string(field.type):
        logical = _struct((1, _T_STRUCT, _struct()))
        return [
            _struct(
                (1, _T_I32, _BYTE_ARRAY),
                (3, _T_I32, _OPTIONAL),
                (4, _T_BINARY, name),
                (6, _T_I32, _UTF8),
                (10, _T_STRUCT, logical),
            )
        ]
    return [_number_element(name, field.type)]


def _number_element(name: bytes, kind: pa.DataType) -> bytes:
    """A number; those of less than 32 bits are stored as 32 and say what they are."""
    physical = _INT64 if pa.types.is_int64(kind) else _INT32
    fields: list[tuple[int, int, Any]] = [
        (1, _T_I32, physical),
        (3, _T_I32, _OPTIONAL),
        (4, _T_BINARY, name),
    ]
    if kind.bit_width < 32:
        width = _struct((1, _T_BYTE, kind.bit_width), (2, _T_TRUE, None))
        fields.append((6, _T_I32, _CONVERTED[kind.bit_width]))
        fields.append((10, _T_STRUCT, _struct((10, _T_STRUCT, width))))
    return _struct(*fields)


def _row_group(rows: int, chunks: Sequence[_Chunk]) -> bytes:
    columns = []
    for chunk in chunks:
        encodings = [_PLAIN, _RLE] + ([_RLE_DICTIONARY] if chunk.dictionary_offset else [])
        fields: list[tuple[int, int, Any]] = [
            (1, _T_I32, chunk.type),
            (2, _T_LIST, (_T_I32, encodings)),
            (3, _T_LIST, (_T_BINARY, [part.encode() for part in chunk.path])),
            (4, _T_I32, _ZSTD),
            (5, _T_I64, chunk.num_values),
            (6, _T_I64, chunk.uncompressed),
            (7, _T_I64, chunk.compressed),
            (9, _T_I64, chunk.offset),
        ]
        if chunk.dictionary_offset is not None:
            fields.append((11, _T_I64, chunk.dictionary_offset))
        if chunk.statistics:
            fields.append((12, _T_STRUCT, chunk.statistics))
        columns.append(_struct((2, _T_I64, chunk.offset), (3, _T_STRUCT, _struct(*fields))))
    total = sum(chunk.uncompressed for chunk in chunks)
    return _struct((1, _T_LIST, (_T_STRUCT, columns)), (2, _T_I64, total), (3, _T_I64, rows))


def _run(count: int, value: int) -> bytes:
    """RLE run of a level; levels here are below 256."""
    return _varint(count << 1) + bytes([value])


def _sized(levels: bytes) -> bytes:
    return struct.pack("<I", len(levels)) + levels


def _struct(*fields: tuple[int, int, Any]) -> bytes:
    """Thrift compact struct of (id, type, value), ids ascending; structs are given encoded."""
    out, last = bytearray(), 0
    for number, kind, value in fields:
        out.append((number - last) << 4 | kind)
        out += _value(kind, value)
        last = number
    out.append(0)
    return bytes(out)


def _value(kind: int, value: Any) -> bytes:
    if kind in (_T_I32, _T_I64):
        return _varint(value << 1 if value >= 0 else (-value << 1) - 1)
    if kind == _T_TRUE:
        return b""
    if kind == _T_BYTE:
        return bytes([value])
    if kind == _T_BINARY:
        return _varint(len(value)) + bytes(value)
    if kind == _T_LIST:
        element, values = value
        size = len(values)
        head = bytes([size << 4 | element]) if size < 15 else bytes([0xF0 | element])
        head += b"" if size < 15 else _varint(size)
        return head + b"".join(_value(element, item) for item in values)
    return bytes(value)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
