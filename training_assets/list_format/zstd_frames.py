"""Zstandard frames whose repetitions are known beforehand, put together without any search.

A compressor looks for repetitions byte by byte. Here the frame says itself where they are:

    row, as it is | its padding: the last value again, n times | the whole row again, m times | ...

https://www.rfc-editor.org/rfc/rfc8878 has the structures named here. Rows are not entropy coded.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import numpy as np

from training_assets.list_format.arrays import Ints

_MAGIC: Final = 0xFD2FB528
# Its size in four bytes, which is its window as well.
_SINGLE_SEGMENT: Final = 0xA0
_RAW, _COMPRESSED = 0, 2
_LAST: Final = b"\x01\0\0"
_MAX_BLOCK: Final = 1 << 17
MAX_ROW: Final = _MAX_BLOCK
# From there on each code of a match has a power of two of lengths; what is shorter is written out.
_MIN_MATCH: Final = 131
MIN_ROW: Final = _MIN_MATCH
_FIRST_CODE: Final = 36
# No literals; one sequence, of which each code is given instead of a table; none before the match.
_ONE_SEQUENCE: Final = (0, 1, 0b01010100, 0)


def frame(size: int, blocks: Iterable[bytes | memoryview]) -> bytes:
    """The frame of blocks that hold ``size`` bytes in all, less than 4 GiB."""
    return b"".join([struct.pack("<IBI", _MAGIC, _SINGLE_SEGMENT, size), *blocks, _LAST])


def raw(piece: bytes) -> bytes:
    """Blocks of up to 128 KiB as they are."""
    header, _ = _block_headers(_RAW, np.array([len(piece)]))
    return header.tobytes() + piece


def repeated(piece: bytes, times: int) -> bytes:
    """Blocks of a piece, of up to 128 KiB, that stands there so many times."""
    left = len(piece) * (times - 1)
    if left < _MIN_MATCH:
        return raw(piece * times)
    blocks = [raw(piece)]
    for content, many in _repetitions(len(piece), np.array([left])):
        blocks.append(content[0, : many[0]].tobytes())
    return b"".join(blocks)


def repeated_rows(
    own: Ints, sizes: Ints, padding: bytes, row_size: int, times: Ints
) -> tuple[memoryview, Ints]:
    """Blocks of rows of 131 bytes to 128 KiB, of which row ``n`` stands there ``times[n]`` times.

    A row is its ``sizes[n]`` bytes of ``own``, one after another, and as many times ``padding``, a
    value, as fill it up to ``row_size``. Returns the blocks, and where those of each row end.
    """
    unit, room = len(padding), row_size - sizes
    # The first value of the padding, and that again; all of it where that is not worth a match.
    is_match = room - unit >= _MIN_MATCH
    written = np.where(is_match, unit, room)
    values = np.frombuffer(padding * (_MIN_MATCH // unit + 1), np.uint8)
    between = [
        _block_headers(_RAW, sizes + written),
        (np.broadcast_to(values, (len(sizes), len(values))), written),
        _matches(unit, np.where(is_match, room - unit, 0)),
    ]
    between += _repetitions(row_size, row_size * (times - 1))
    after = np.sum([many for _, many in between[1:]], axis=0)
    counts = np.stack([between[0][1], sizes, after], axis=1)
    is_own = np.repeat(np.tile([False, True, False], len(sizes)), counts.reshape(-1))
    blocks = np.empty(len(is_own), np.uint8)
    blocks[is_own] = own
    is_there = [np.arange(content.shape[1]) < many[:, None] for content, many in between]
    content = np.concatenate([content for content, _ in between], axis=1)
    blocks[~is_own] = content[np.concatenate(is_there, axis=1)]
    return blocks.data, np.cumsum(counts.sum(axis=1))


# (bytes by row, how many of them there are)
_Bytes: TypeAlias = tuple[Ints, Ints]


def _block_headers(kind: int, sizes: Ints) -> _Bytes:
    header = (sizes << 3 | kind << 1).astype("<u4").view(np.uint8).reshape(-1, 4)
    return header[:, :3], np.full(len(sizes), 3)


def _repetitions(offset: int, sizes: Ints) -> Iterator[_Bytes]:
    """Blocks that repeat what lies so far back, of 131 bytes or more in all, or of none."""
    while sizes.any():
        length = np.minimum(sizes, _MAX_BLOCK)
        # What is left then is long enough, too.
        is_short = (sizes > length) & (sizes - length < _MIN_MATCH)
        length -= np.where(is_short, _MIN_MATCH, 0)
        yield _matches(offset, length)
        sizes = sizes - length


def _matches(offset: int, lengths: Ints) -> _Bytes:
    """Blocks that repeat what lies ``offset`` bytes back, of 131 bytes to 128 KiB, or nothing."""
    # Offsets of 1 to 3 stand for ones used before.
    far, long = offset + 3, np.maximum(lengths, _MIN_MATCH) - 3
    far_bits, long_bits = far.bit_length() - 1, np.frexp(long)[1].astype(np.int64) - 1
    # Read from the end: a bit that marks it, the rest of the offset, the rest of the length.
    rest = (1 << far_bits | far - (1 << far_bits)) << long_bits | long - (1 << long_bits)
    num_bytes = (1 + far_bits + long_bits + 7) // 8
    headers, _ = _block_headers(_COMPRESSED, len(_ONE_SEQUENCE) + 2 + num_bytes)
    content = np.zeros((len(lengths), 3 + len(_ONE_SEQUENCE) + 2 + 8), np.uint8)
    content[:, :3] = headers
    content[:, 3:7] = _ONE_SEQUENCE
    content[:, 7], content[:, 8] = far_bits, long_bits + _FIRST_CODE
    content[:, 9:] = rest.astype("<i8").view(np.uint8).reshape(-1, 8)
    return content, np.where(lengths > 0, 9 + num_bytes, 0)
