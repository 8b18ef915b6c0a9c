"""What the customers of a task have acted on: read once, asked by every day of samples.

A pair of customer and item is one integer, ``customer * 2^32 + item_id``, with the place of the
customer among the task's. Pairs of a bucket are ascending and each there once, so those of a
customer lie together, and whether one is there is a search.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from training_assets.kernels.integers import Int64Array, each_once
from training_assets.sampling.rules import Int32Array

# Item ids are of 31 bits.
ITEM_BITS: Final = 32
_ITEM: Final = np.int64(2**ITEM_BITS - 1)

Bools = npt.NDArray[np.bool_]


def pair_codes(customers: Any, items: Any) -> Int64Array:
    """``customers`` (places, int64) and item ids as one integer each."""
    codes: Int64Array = customers << ITEM_BITS
    codes += items
    return codes


@dataclass(frozen=True)
class SeenPairs:
    """Pairs of a bucket. codes: int64, ascending; starts: where those of each customer begin."""

    codes: Int64Array
    starts: Int64Array

    @classmethod
    def of(cls, parts: list[Int64Array], num_customers: int) -> "SeenPairs":
        """From codes in any order, repeats included; the list is emptied."""
        joined = np.concatenate(parts)
        parts.clear()
        codes = each_once(joined)
        firsts = np.arange(num_customers + 1, dtype=np.int64) << ITEM_BITS
        return cls(codes, np.searchsorted(codes, firsts))

    def has(self, codes: Int64Array) -> Bools:
        """Whether each pair is there; quickest where they ascend."""
        if not len(self.codes):
            return np.zeros(len(codes), np.bool_)
        at = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        found: Bools = self.codes[at] == codes
        return found

    def of_customers(self, customers: Int64Array) -> tuple[Int32Array, Int32Array]:
        """Pairs of some customers (ascending), as index into them and item id."""
        starts = self.starts[customers]
        sizes = self.starts[customers + 1] - starts
        rows = np.repeat(np.arange(len(customers), dtype=np.int32), sizes)
        shift = starts - (np.cumsum(sizes) - sizes)
        codes = self.codes.take(np.arange(len(rows)) + np.repeat(shift, sizes))
        codes &= _ITEM
        return rows, codes.astype(np.int32)


class SeenCells:
    """Cells (customer, candidate) of a day that are not to be drawn, by chunk of customers.

    Parts hold customers in ascending order as index into those of the day.
    """

    def __init__(self, width: int, rows_per_chunk: int) -> None:
        self._width, self._rows_per_chunk = width, rows_per_chunk
        self._parts: list[tuple[Int32Array, Int32Array]] = []

    def add(self, rows: Int32Array, places: Int32Array) -> None:
        """``places`` are those of candidates, -1 for any other item."""
        found = np.flatnonzero(places >= 0)
        if len(found) < len(places):
            rows, places = rows.take(found), places.take(found)
        self._parts.append((rows, places))

    def chunks(self, num_customers: int) -> Iterator[tuple[int, Int64Array]]:
        """Where each chunk starts, and its cells ``row * width + place``: ascending, each once."""
        starts = range(0, num_customers, self._rows_per_chunk)
        edges = np.array([*starts, num_customers], np.int32)
        ends = [np.searchsorted(rows, edges).tolist() for rows, _ in self._parts]
        for number, start in enumerate(starts):
            yield start, self._chunk(start, [(e[number], e[number + 1]) for e in ends])

    def _chunk(self, start: int, bounds: Sequence[tuple[int, int]]) -> Int64Array:
        # Small ones are sorted in half the time.
        kind: Any = np.int32 if self._rows_per_chunk * self._width < 2**31 else np.int64
        parts: list[npt.NDArray[Any]] = [np.zeros(0, kind)]
        for (rows, places), (low, high) in zip(self._parts, bounds, strict=True):
            row = (rows[low:high] - np.int32(start)).astype(kind)
            parts.append(row * kind(self._width) + places[low:high])
        return each_once(np.concatenate(parts)).astype(np.int64)
