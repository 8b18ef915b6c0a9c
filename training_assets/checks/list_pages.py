"""Columns of lists as they lie in a file: the places of their values in a dictionary stay places.

A general reader walks through the levels of each value and looks each one up. Here a page becomes
arrays as it lies there. Parquet as its specification has it, not as ours happens to be written:
columns of any other form are left to Arrow. Nothing is shared with the reader that the build uses.

    page = repetition levels | definition levels | bits per place | places
"""

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from training_assets.checks.files import Ints
from training_assets.list_format import SealedParquet
from training_assets.list_format.thrift import decode_struct, decode_varint

# Of the page header and what is in it; see parquet.thrift.
TYPE, UNCOMPRESSED, COMPRESSED, DATA, DICTIONARY = 1, 2, 3, 5, 7
DATA_PAGE, DICTIONARY_PAGE = 0, 2
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8
# Definition levels of an optional list of optional values: an empty list, a value that is there.
EMPTY: Final = 1
PRESENT: Final = 3
_WIDTHS: Final = (1, 2, 8, 16, 32)
# A page of more runs is not worth to be taken apart here.
_MAX_RUNS: Final = 64
# The four numbers of two bits that each byte holds, the lowest bits first.
_QUADS: Final = (np.arange(256)[:, None] >> [0, 2, 4, 6] & 3).astype(np.uint8).view("<u4")[:, 0]


class OtherFormError(Exception):
    """The column is of another form."""


def require(condition: bool) -> None:
    if not condition:
        raise OtherFormError


# What a column that is cut short, or that is of another form, may raise.
NOT_READABLE: Final = (OtherFormError, LookupError, ValueError, struct.error, OSError)


class EncodedLists(NamedTuple):
    """Row ``n`` has the next ``sizes[n]`` of the ``places``, which are in the ``dictionary``.

    No list and no value is null.
    """

    sizes: Ints
    places: Ints
    dictionary: Ints

    @property
    def offsets(self) -> Ints:
        """[rows + 1]"""
        found = np.zeros(len(self.sizes) + 1, np.int64)
        np.cumsum(self.sizes, out=found[1:])
        return found

    def is_within(self, low: int, high: int) -> bool:
        """Whether all values are from ``low`` to ``high``; a dictionary may have others besides."""
        outside = np.flatnonzero((self.dictionary < low) | (self.dictionary > high))
        if not len(outside) or not len(self.places) or outside[-1] < self.places.min():
            return True
        return not self.uses()[outside].any()

    def uses(self) -> Ints:
        """How often each value of the dictionary is there."""
        found: Ints = np.bincount(self.places, minlength=len(self.dictionary))
        return found


def encoded_lists(parquet: SealedParquet, group: int, name: str) -> EncodedLists | None:
    """A column of a row group, or None where it is of another form.

    A file without a seal is left to Arrow, which verifies the checksums of its pages.
    """
    chunk, content = parquet.chunk(group, name)
    if not parquet.is_sealed or chunk.compression != "ZSTD" or chunk.physical_type != "INT32":
        return None
    try:
        (at,) = (
            n
            for n in range(parquet.metadata.num_columns)
            if parquet.metadata.schema.column(n).path.partition(".")[0] == name
        )
        levels = parquet.metadata.schema.column(at)
        require((levels.max_definition_level, levels.max_repetition_level) == (PRESENT, 1))
        pages = list(bodies(content))
        dictionary = dictionary_in(*pages[0])
        parts = [_decoded(*page) for page in pages[1:]]
        sizes = np.concatenate([part[0] for part in parts])
        places = np.concatenate([part[1] for part in parts])
        require(len(sizes) == parquet.metadata.row_group(group).num_rows)
        require(not len(places) or int(places.max()) < len(dictionary))
    except NOT_READABLE:
        return None
    return EncodedLists(sizes, places, dictionary)


def bodies(content: memoryview) -> Iterator[tuple[dict[int, Any], pa.Buffer]]:
    """The header of each page, and what is in it without its compression."""
    codec, at = pa.Codec("zstd"), 0
    while at < len(content):
        header, at = decode_struct(content, at)
        page = content[at : at + header[COMPRESSED]]
        at += header[COMPRESSED]
        yield header, codec.decompress(pa.py_buffer(page), header[UNCOMPRESSED])


def dictionary_in(header: dict[int, Any], body: pa.Buffer) -> Ints:
    require(header[TYPE] == DICTIONARY_PAGE)
    require(header[DICTIONARY][2] in (PLAIN, PLAIN_DICTIONARY))
    values = np.frombuffer(body, "<i4")
    require(len(values) == header[DICTIONARY][1])
    return values


def num_values(header: dict[int, Any]) -> int:
    """Of a data page whose places are in a dictionary, with the levels that are read here."""
    require(header[TYPE] == DATA_PAGE)
    about = header[DATA]
    require(about[2] in (PLAIN_DICTIONARY, RLE_DICTIONARY) and about[3] == about[4] == RLE)
    return int(about[1])


def levels_at(body: memoryview, at: int) -> tuple[memoryview, int]:
    """Levels that begin there with their size, and where they end."""
    (size,) = struct.unpack_from("<I", body, at)
    return body[at + 4 : at + 4 + size], at + 4 + size


def _decoded(header: dict[int, Any], page: pa.Buffer) -> tuple[Ints, Ints]:
    """Sizes of the lists of a data page, and the places of their values."""
    body, count = memoryview(page), num_values(header)
    levels, at = levels_at(body, 0)
    starts = np.flatnonzero(_hybrid(levels, 1, count) == 0)
    # A list that goes on from the page before is not looked for.
    require(len(starts) > 0 and starts[0] == 0)
    sizes = np.diff(starts, append=count)
    levels, at = levels_at(body, at)
    definition = _hybrid(levels, 2, count)
    if int(definition.min()) != PRESENT:
        is_empty = definition[starts] == EMPTY
        others = int(np.count_nonzero(definition == PRESENT))
        require(int(np.count_nonzero(is_empty)) + others == count)
        require(bool((sizes[is_empty] == 1).all()))
        sizes[is_empty] = 0
    return sizes, _hybrid(body[at + 1 :], body[at], int(sizes.sum()))


def _hybrid(data: memoryview, bits: int, count: int) -> Ints:
    """``count`` numbers of so many bits: runs of the same one, and bit-packed groups of eight."""
    require(bits in _WIDTHS)
    found: list[Ints] = []
    at = have = 0
    while have < count:
        require(len(found) < _MAX_RUNS)
        head, at = decode_varint(data, at)
        if head & 1:
            size = (head >> 1) * bits
            packed = np.frombuffer(data, np.uint8, min(size, len(data) - at), at)
            values, at = unpacked(packed, bits)[: count - have], at + size
        else:
            width = -(-bits // 8)
            value = int.from_bytes(data[at : at + width], "little")
            times = min(head >> 1, count - have)
            values, at = np.full(times, value, _type_of(bits)), at + width
        require(len(values) > 0)
        found.append(values)
        have += len(values)
    if not found:
        return np.empty(0, _type_of(bits))
    return found[0] if len(found) == 1 else np.concatenate(found)


def unpacked(packed: Ints, bits: int) -> Ints:
    """Numbers of so many bits, the lowest first: 0b11100100 of two bits is 0, 1, 2, 3."""
    if bits == 1:
        return np.unpackbits(packed, bitorder="little")
    if bits == 2:
        return _QUADS.take(packed).view(np.uint8)
    return np.ascontiguousarray(packed).view(_type_of(bits))


def _type_of(bits: int) -> str:
    return f"<u{max(1, bits // 8)}"
