"""The seal of a Parquet file: checksums of all that is read of it.

    PAR1 | row groups | seal | footer | size of the footer | PAR1

    seal = CRC of each column chunk | their number | size of the file | CRC of the footer and what
           comes after it | CRC of the seal up to here | magic

No reader of Parquet looks where the seal lies, so files of any writer can have one. Numbers are
little-endian, those of 64 bits for the size, of 32 bits otherwise. Chunks stand as in the footer:
all columns of the first row group, then of the next.

The hash in the name of a file is that of all that comes after the row groups. So whoever opens a
file knows from its end alone that it is the one that was meant.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.list_format.arrays import Ints
from training_assets.list_format.stores import Bytes, Span

_PARQUET: Final = b"PAR1"
_MAGIC: Final = b"TAseal01"
_COUNTS: Final = "<IQI"
_END: Final = "<I8s"
_FOOTER_END: Final = "<I4s"
_COUNTS_SIZE: Final = struct.calcsize(_COUNTS)
_AROUND: Final = _COUNTS_SIZE + struct.calcsize(_END)
_FOOTER_END_SIZE: Final = struct.calcsize(_FOOTER_END)
_NAME: Final = re.compile(r"part-\d{5}-([0-9a-f]{16})-[0-9a-f]{12}\.(?:parquet|pq)")


def hash_in_name(name: str) -> str | None:
    """What the name of a file says of its hash; such a file must have a seal."""
    found = _NAME.fullmatch(name)
    return found[1] if found else None


class SealedParts(NamedTuple):
    """A sealed file in two parts: its row groups, and all that comes after them."""

    body: memoryview
    end: bytes

    @property
    def hash(self) -> str:
        """16 hexadecimal digits."""
        return _hash(self.end)

    @property
    def size(self) -> int:
        return len(self.body) + len(self.end)


def seal_parts(parquet: Bytes) -> SealedParts:
    """A whole Parquet file with its seal; what it holds is not copied."""
    content = memoryview(parquet)
    footer = FileEnd.of(content).footer()
    body = content[: len(content) - len(footer)]
    return SealedParts(body, _end(body, footer))


def seal(parquet: Bytes) -> bytes:
    """A whole Parquet file with its seal."""
    return b"".join(seal_parts(parquet))


def file_hash(content: Bytes) -> str:
    """16 hexadecimal digits of a whole sealed file, from its bytes and not from what its seal says.

    Raises ``ValueError`` where the end of the file is damaged.
    """
    view = memoryview(content)
    end = FileEnd.of(view)
    num_chunks, footer = len(read_seal(end)), end.footer()
    body = view[: len(view) - len(footer) - _AROUND - 4 * num_chunks]
    return _hash(_end(body, footer))


def _end(body: memoryview, footer: memoryview) -> bytes:
    metadata = pq.read_metadata(pa.BufferReader(pa.py_buffer(footer)))
    checksums = [zlib.crc32(body[span.start : span.stop]) for span in chunk_spans(metadata)]
    size = len(body) + 4 * len(checksums) + _AROUND + len(footer)
    own = np.array(checksums, "<u4").tobytes()
    own += struct.pack(_COUNTS, len(checksums), size, zlib.crc32(footer))
    return b"".join([own, struct.pack(_END, zlib.crc32(own), _MAGIC), footer])


def _hash(end: Bytes) -> str:
    return hashlib.blake2b(end, digest_size=8).hexdigest()


class FileEnd:
    """The last bytes of a file of ``size`` bytes; ``tail`` gives so many of them.

    One call suffices where what is asked for lies within ``guess`` bytes, a second one for most.
    """

    def __init__(self, size: int, tail: Callable[[int], memoryview], guess: int) -> None:
        self.size = size
        self._tail = tail
        self._guess = guess
        self._last = tail(guess)

    @classmethod
    def of(cls, content: memoryview) -> "FileEnd":
        """That of a file that is there as a whole."""
        return cls(len(content), lambda size: content[max(0, len(content) - size) :], 0)

    def last(self, wanted: int) -> memoryview:
        if wanted > self.size:
            raise ValueError(f"it should have {wanted} bytes or more, and has {self.size}")
        if wanted > len(self._last):
            self._last = self._tail(wanted + self._guess)
        return self._last[len(self._last) - wanted :]

    def footer(self) -> memoryview:
        """The footer and the eight bytes after it. Raises ``ValueError``."""
        size, magic = struct.unpack(_FOOTER_END, self.last(_FOOTER_END_SIZE))
        if magic != _PARQUET:
            raise ValueError(f"it ends with {magic!r}, not with {_PARQUET!r}")
        return self.last(size + _FOOTER_END_SIZE)


def read_footer(end: FileEnd) -> pq.FileMetaData:
    """What the footer says. Raises ``ValueError`` or an error of Arrow where it is damaged."""
    return pq.read_metadata(pa.BufferReader(pa.py_buffer(end.footer())))


def read_seal(end: FileEnd, hash_in_name: str | None = None) -> Ints:
    """The [chunks] checksums. Raises ``ValueError`` where the seal or the footer is damaged.

    So does a file whose name gives the hash of another one.
    """
    footer = end.footer()
    around = end.last(len(footer) + _AROUND)
    count, size, footer_crc = struct.unpack_from(_COUNTS, around)
    seal_crc, magic = struct.unpack_from(_END, around, _COUNTS_SIZE)
    if magic != _MAGIC:
        raise ValueError("it has no seal before its footer")
    whole = end.last(len(footer) + _AROUND + 4 * count)
    own = whole[: 4 * count + _COUNTS_SIZE]
    if zlib.crc32(own) != seal_crc:
        raise ValueError("its seal is damaged")
    if size != end.size:
        raise ValueError(f"it has {end.size} bytes, and had {size} when it was written")
    if zlib.crc32(footer) != footer_crc:
        raise ValueError("its footer is damaged")
    if hash_in_name is not None and _hash(whole) != hash_in_name:
        raise ValueError(f"its hash is {_hash(whole)}, and its name says {hash_in_name}")
    return np.frombuffer(own, "<u4", count)


def chunk_spans(metadata: pq.FileMetaData) -> list[Span]:
    """Where the column chunks lie, in the order of the footer."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return [chunk_span(group.column(n)) for group in groups for n in range(group.num_columns)]


def chunk_span(chunk: Any) -> Span:
    # Where there are no rows, Arrow writes a dictionary and no data page.
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    return Span(start, start + chunk.total_compressed_size)
