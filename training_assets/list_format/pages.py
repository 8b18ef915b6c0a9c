"""Pages of lists: levels, and the values as places in a dictionary, encoded in one go.

    page = levels | bits per index | one bit-packed run of indices

Lists hold no nulls, so their levels follow from their lengths alone. Where many rows share a list
it is encoded once; rows of long lists are not even put together: the compressed page says how often
each is repeated (``zstd_frames``).
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from training_assets.list_format.arrays import Ints, padding_type
from training_assets.list_format.lists import JaggedLists, SharedLists
from training_assets.list_format.thrift import encode_varint
from training_assets.list_format.zstd_frames import (
    MAX_ROW,
    MIN_ROW,
    frame,
    raw,
    repeated,
    repeated_rows,
)

# Definition levels of an optional list of optional values.
EMPTY: Final = 1
_PRESENT: Final = 3


@dataclass(frozen=True)
class Limits:
    """Sizes at which the writer encodes in another way.

    A place in a dictionary of at most ``large_dictionary`` values leaves so much of its two bytes
    unused that a compressor gains more than it costs. ``long_list`` is the bytes that a list has on
    average for its repetitions not to be searched for.
    """

    page_bytes: int = 1 << 20
    long_list: int = 512
    large_dictionary: int = 2**14


class Page(NamedTuple):
    """The compressed content of a page, and its size without that."""

    size: int
    content: bytes


# (number of values, content) of each page.
Pages: TypeAlias = Iterator[tuple[int, Page]]
_Bodies: TypeAlias = Iterator[tuple[int, Ints]]
# What compresses the body of a page.
Compress: TypeAlias = Callable[[Ints], Page]


def encoded_pages(
    lists: SharedLists | JaggedLists, limits: Limits, compress: Compress
) -> tuple[Ints, Pages]:
    """The dictionary of a column, and its data pages."""
    if isinstance(lists, SharedLists):
        shared = lists.encoded()
        dictionary, bits = _dictionary(shared.lists)
        return dictionary, _shared_pages(shared, bits, limits, compress)
    jagged = lists.encoded()
    dictionary, bits = _dictionary(jagged)
    bodies = _jagged_pages(jagged, bits, limits.page_bytes)
    return dictionary, ((count, compress(body)) for count, body in bodies)


def _shared_pages(shared: SharedLists, bits: int, limits: Limits, compress: Compress) -> Pages:
    if _is_long(shared, bits, limits):
        yield from _framed_pages(shared, bits, limits.page_bytes)
    else:
        for count, body in _gathered_pages(shared, bits, limits.page_bytes):
            yield count, compress(body)


def _dictionary(lists: JaggedLists) -> tuple[Ints, int]:
    """The values of the dictionary, and the bits of a place in it."""
    assert lists.dictionary is not None
    return lists.dictionary, _width(len(lists.dictionary))


def _is_long(shared: SharedLists, bits: int, limits: Limits) -> bool:
    """Whether rows are repeated, and so long that to say so takes little of what they take."""
    dictionary, _ = _dictionary(shared.lists)
    if len(dictionary) <= limits.large_dictionary:
        return False
    num_rows, num_lists = len(shared), len(shared.lists)
    own = len(shared.lists.values) * bits // 8
    fits = bits >= 8 and MIN_ROW <= shared.length * bits // 8 <= MAX_ROW
    return fits and num_rows >= 2 * num_lists and own >= limits.long_list * num_lists


def _framed_pages(shared: SharedLists, bits: int, page_bytes: int) -> Pages:
    """Every list is there once, with how often it is repeated."""
    unit, row_size = bits // 8, shared.length * bits // 8
    starts = _starts(shared.index, at_most=max(1, page_bytes // row_size))
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
    cuts = np.flatnonzero(np.diff(starts * row_size // page_bytes, prepend=-1))
    page_rows = np.add.reduceat(times, cuts).tolist()
    around = {num_rows: _frame_around(num_rows, shared.length, bits) for num_rows in set(page_rows)}
    bounds = np.append(0, ends)[[*cuts, len(starts)]].tolist()
    for num_rows, (start, end) in zip(page_rows, pairwise(bounds), strict=True):
        size, before, after = around[num_rows]
        content = frame(size + row_size * num_rows, [before, blocks[start:end], after])
        yield num_rows * shared.length, Page(size + row_size * num_rows, content)


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


def _gathered_pages(shared: SharedLists, bits: int, page_bytes: int) -> _Bodies:
    """Every list is encoded once."""
    lists, length = shared.lists, shared.length
    if length % (8 // min(bits, 8)):
        # Rows must be whole bytes to be gathered.
        bits = 8
    is_value = np.arange(length) < np.diff(lists.offsets)[:, None]
    padded = np.full(is_value.shape, shared.padding, padding_type(lists.values, shared.padding))
    padded[is_value] = lists.values[lists.offsets[0] : lists.offsets[-1]]
    packed = _pack(padded.reshape(-1), bits).reshape(len(lists), -1)
    step = max(1, page_bytes // max(1, packed.shape[1]))
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
    repetition = run(1, 0) + (run(length - 1, 1) if length > 1 else b"")
    # A bit-packed run is whole groups of eight values.
    groups = -(-count // 8)
    rest = sized(run(count, _PRESENT)) + bytes([bits]) + encode_varint(groups << 1 | 1)
    parts = (struct.pack("<I", len(repetition) * num_rows), repetition, rest)
    return parts, bytes(groups * bits - count * bits // 8)


def _jagged_pages(lists: JaggedLists, bits: int, page_bytes: int) -> _Bodies:
    offsets = lists.offsets
    step = page_bytes * 8 // bits
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
        definition = run(count, _PRESENT)
    else:
        level = np.full(count + -count % 8, _PRESENT, np.uint8)
        level[starts[sizes == 0]] = EMPTY
        definition = packed_run(_pack(level, 2), 2)
    return sized(packed_run(np.packbits(repetition, bitorder="little"), 1)) + sized(
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


def packed_run(packed: Ints, bits: int) -> bytes:
    return encode_varint(-(-packed.size // bits) << 1 | 1) + packed.tobytes()


def run(count: int, value: int) -> bytes:
    """RLE run of a level; levels here are below 256."""
    return encode_varint(count << 1) + bytes([value])


def sized(levels: bytes) -> bytes:
    return struct.pack("<I", len(levels)) + levels
