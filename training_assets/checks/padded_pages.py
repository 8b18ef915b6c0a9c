"""Pages of lists that are all equally long, as they lie in a file: repeated rows are seen as such.

A day's training rows carry each history about ten times. Here the rows of a page are compared as
the bytes that they are, and only the first of equal ones that follow each other is looked up in the
dictionary. Parquet as its specification has it, not as ours happens to be written: pages of any
other form are left to Arrow.

    page = repetition levels | definition levels | bits per place | one bit-packed run of places
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from training_assets.checks.files import Ints
from training_assets.checks.list_pages import (
    DICTIONARY_PAGE,
    NOT_READABLE,
    PRESENT,
    TYPE,
    bodies,
    dictionary_in,
    levels_at,
    num_values,
    require,
    unpacked,
)
from training_assets.list_format import SealedParquet
from training_assets.list_format.thrift import decode_varint, encode_varint


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
        for header, body in bodies(content):
            pages.add(header, body)
        return pages.rows(parquet.metadata.row_group(group).num_rows)
    except NOT_READABLE:
        return None


class _Pages:
    """What the pages of a column chunk hold, one after the other."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._dictionary: Ints | None = None
        self._is_new: list[Ints] = []
        self._places: list[Ints] = []

    def add(self, header: dict[int, Any], body: pa.Buffer) -> None:
        if header[TYPE] == DICTIONARY_PAGE:
            require(self._dictionary is None and not self._is_new)
            self._dictionary = dictionary_in(header, body)
        else:
            self._add_rows(memoryview(body), num_values(header))

    def _add_rows(self, body: memoryview, count: int) -> None:
        num_rows, rest = divmod(count, self._length)
        require(num_rows > 0 and rest == 0)
        repetition, at = levels_at(body, 0)
        of_row = _run(1, 0) + (_run(self._length - 1, 1) if self._length > 1 else b"")
        require(bytes(repetition) == of_row * num_rows)
        definition, at = levels_at(body, at)
        require(bytes(definition) == _run(count, PRESENT))
        bits = body[at]
        head, at = decode_varint(body, at + 1)
        require(bits in (2, 8, 16, 32) and self._length * bits % 8 == 0)
        require(head == -(-count // 8) << 1 | 1)
        packed = np.frombuffer(body, np.uint8, count * bits // 8, at).reshape(num_rows, -1)
        is_new = np.ones(num_rows, bool)
        # As numbers as wide as they fit into a row: a few to compare instead of many bytes.
        wide = packed.view(next(t for t in ("<u8", "<u4", "<u2", "u1") if _fits(packed, t)))
        np.any(wide[1:] != wide[:-1], axis=1, out=is_new[1:])
        self._is_new.append(is_new)
        new = packed[is_new]
        self._places.append(unpacked(new.reshape(-1), bits).reshape(len(new), self._length))

    def rows(self, num_rows: int) -> PaddedRows:
        require(self._dictionary is not None and bool(self._is_new))
        assert self._dictionary is not None
        is_new = np.concatenate(self._is_new)
        places = np.concatenate(self._places)
        require(len(is_new) == num_rows and int(places.max()) < len(self._dictionary))
        return PaddedRows(is_new, places, self._dictionary)


def _run(count: int, value: int) -> bytes:
    """So often the same level."""
    return encode_varint(count << 1) + bytes([value])


def _fits(packed: Ints, kind: str) -> bool:
    return packed.shape[1] % np.dtype(kind).itemsize == 0
