"""The seal of a Parquet file: checksums of all that is read of it.

    PAR1 | row groups | seal | footer | size of the footer | PAR1

    seal = CRC of each column chunk | their number | size of the file | CRC of the footer and what
           comes after it | CRC of the seal up to here | magic

No reader of Parquet looks where the seal lies, so files of any writer can have one. Numbers are
little-endian, those of 64 bits for the size, of 32 bits otherwise. Chunks stand as in the footer:
all columns of the first row group, then of the next.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

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
_NAME: Final = re.compile(r"part-\d{5}-[0-9a-f]{16}-[0-9a-f]{12}\.(parquet|pq)")


def is_sealed_name(name: str) -> bool:
    """Whether a file of that name must have a seal."""
    return _NAME.fullmatch(name) is not None


def file_hash(content: Bytes) -> str:
    """16 hexadecimal digits of a whole file."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def seal(parquet: Bytes) -> bytes:
    """A whole Parquet file with its seal."""
    content = memoryview(parquet)
    footer_size, _ = struct.unpack(_FOOTER_END, content[-_FOOTER_END_SIZE:])
    footer_at = len(content) - _FOOTER_END_SIZE - footer_size
    footer = content[footer_at:]
    metadata = pq.read_metadata(pa.BufferReader(pa.py_buffer(footer)))
    checksums = [zlib.crc32(content[span.start : span.stop]) for span in chunk_spans(metadata)]
    size = len(content) + 4 * len(checksums) + _AROUND
    own = np.array(checksums, "<u4").tobytes()
    own += struct.pack(_COUNTS, len(checksums), size, zlib.crc32(footer))
    return b"".join([content[:footer_at], own, struct.pack(_END, zlib.crc32(own), _MAGIC), footer])


class FileEnd:
    """The last bytes of a file of ``size`` bytes; ``tail`` gives so many of them.

    One call suffices where what is asked for lies within ``guess`` bytes, a second one for most.
    """

    def __init__(self, size: int, tail: Callable[[int], memoryview], guess: int) -> None:
        self.size = size
        self._tail = tail
        self._guess = guess
        self._last = tail(guess)

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


def read_seal(end: FileEnd) -> Ints:
    """The [chunks] checksums. Raises ``ValueError`` where the seal or the footer is damaged."""
    footer = end.footer()
    around = end.last(len(footer) + _AROUND)
    count, size, footer_crc = struct.unpack_from(_COUNTS, around)
    seal_crc, magic = struct.unpack_from(_END, around, _COUNTS_SIZE)
    if magic != _MAGIC:
        raise ValueError("it has no seal before its footer")
    own = end.last(len(footer) + _AROUND + 4 * count)[: 4 * count + _COUNTS_SIZE]
    if zlib.crc32(own) != seal_crc:
        raise ValueError("its seal is damaged")
    if size != end.size:
        raise ValueError(f"it has {end.size} bytes, and had {size} when it was written")
    if zlib.crc32(footer) != footer_crc:
        raise ValueError("its footer is damaged")
    return np.frombuffer(own, "<u4", count)


def chunk_spans(metadata: pq.FileMetaData) -> list[Span]:
    """Where the column chunks lie, in the order of the footer."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return [chunk_span(group.column(n)) for group in groups for n in range(group.num_columns)]


def chunk_span(chunk: Any) -> Span:
    # Where there are no rows, Arrow writes a dictionary and no data page.
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    return Span(start, start + chunk.total_compressed_size)
