"""Pages of lists that are all equally long, as they lie in a file: repeated rows are seen as such.

A day's training rows carry each history about ten times. Here the rows of a page are compared as
the bytes that they are, and only the first of equal ones that follow each other is looked up in the
dictionary. Parquet as its specification has it, not as ours happens to be written: pages of any
other form are left to Arrow.

    page = repetition levels | definition levels | bits per place | one bit-packed run of places
"""

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from training_assets.checks.files import Ints
from training_assets.list_format import SealedParquet
from training_assets.list_format.thrift import decode_struct, decode_varint, encode_varint

# Of the page header and what is in it; see parquet.thrift.
_TYPE, _UNCOMPRESSED, _COMPRESSED, _DATA, _DICTIONARY = 1, 2, 3, 5, 7
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_PLAIN, _PLAIN_DICTIONARY, _RLE, _RLE_DICTIONARY = 0, 2, 3, 8
# A value of an optional list of optional values that is there.
_PRESENT: Final = 3


class PaddedRows(NamedTuple):
    """Lists of one length: row ``n`` is ``values(...)`` of the place ``of_row[n]``.

    ``is_new`` [rows] is False where a row certainly is the one before it; ``places`` [distinct,
    length] are in the ``dictionary``.
    """

    is_new: Ints
    places: Ints
    dictionary: Ints

    def values(self, rows: Ints) -> Ints:
        """The lists of some rows, as integers [rows, length]."""
        of_row = np.cumsum(self.is_new) - 1
        found: Ints = self.dictionary.take(self.places[of_row[rows]])
        return found


def padded_rows(parquet: SealedParquet, group: int, name: str, length: int) -> PaddedRows | None:
    """A column of a row group, if all of its lists are of that length and without nulls.

    None where that is not so, or cannot be seen in this way.
    """
    chunk, content = parquet.chunk(group, name)
    if not parquet.is_sealed or chunk.compression != "ZSTD" or not length:
        return None
    try:
        pages = _Pages(length)
        for header, body in _bodies(content):
            pages.add(header, body)
        return pages.rows(parquet.metadata.row_group(group).num_rows)
    except (_OtherFormError, LookupError, ValueError, struct.error, OSError):
        return None


class _OtherFormError(Exception):
    """The page is of another form."""


def _require(condition: bool) -> None:
    if not condition:
        raise _OtherFormError


def _bodies(content: memoryview) -> Iterator[tuple[dict[int, Any], pa.Buffer]]:
    codec, at = pa.Codec("zstd"), 0
    while at < len(content):
        header, at = decode_struct(content, at)
        page = content[at : at + header[_COMPRESSED]]
        at += header[_COMPRESSED]
        yield header, codec.decompress(pa.py_buffer(page), header[_UNCOMPRESSED])


class _Pages:
    """What the pages of a column chunk hold, one after the other."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._dictionary: Ints | None = None
        self._is_new: list[Ints] = []
        self._places: list[Ints] = []

    def add(self, header: dict[int, Any], body: pa.Buffer) -> None:
        if header[_TYPE] == _DICTIONARY_PAGE:
            _require(self._dictionary is None and not self._is_new)
            _require(header[_DICTIONARY][2] in (_PLAIN, _PLAIN_DICTIONARY))
            self._dictionary = np.frombuffer(body, "<i4")
            _require(len(self._dictionary) == header[_DICTIONARY][1])
        else:
            _require(header[_TYPE] == _DATA_PAGE)
            about = header[_DATA]
            _require(about[2] in (_PLAIN_DICTIONARY, _RLE_DICTIONARY))
            _require(about[3] == about[4] == _RLE)
            self._add_rows(memoryview(body), about[1])

    def _add_rows(self, body: memoryview, count: int) -> None:
        num_rows, rest = divmod(count, self._length)
        _require(num_rows > 0 and rest == 0)
        repetition, at = _levels(body, 0)
        of_row = _run(1, 0) + (_run(self._length - 1, 1) if self._length > 1 else b"")
        _require(bytes(repetition) == of_row * num_rows)
        definition, at = _levels(body, at)
        _require(bytes(definition) == _run(count, _PRESENT))
        bits = body[at]
        head, at = decode_varint(body, at + 1)
        _require(bits in (2, 8, 16, 32) and self._length * bits % 8 == 0)
        _require(head == -(-count // 8) << 1 | 1)
        packed = np.frombuffer(body, np.uint8, count * bits // 8, at).reshape(num_rows, -1)
        is_new = np.ones(num_rows, bool)
        np.any(packed[1:] != packed[:-1], axis=1, out=is_new[1:])
        self._is_new.append(is_new)
        self._places.append(_unpacked(packed[is_new], bits))

    def rows(self, num_rows: int) -> PaddedRows:
        _require(self._dictionary is not None and bool(self._is_new))
        assert self._dictionary is not None
        is_new = np.concatenate(self._is_new)
        places = np.concatenate(self._places)
        _require(len(is_new) == num_rows and int(places.max()) < len(self._dictionary))
        return PaddedRows(is_new, places, self._dictionary)


def _levels(body: memoryview, at: int) -> tuple[memoryview, int]:
    (size,) = struct.unpack_from("<I", body, at)
    return body[at + 4 : at + 4 + size], at + 4 + size


def _run(count: int, value: int) -> bytes:
    """So often the same level."""
    return encode_varint(count << 1) + bytes([value])


def _unpacked(packed: Ints, bits: int) -> Ints:
    """Numbers of so many bits, the lowest first: 0b11100100 of two bits is 0, 1, 2, 3."""
    if bits == 2:
        quads = packed[:, :, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
        return quads.reshape(len(packed), -1)
    return np.ascontiguousarray(packed).view(f"<u{bits // 8}")
