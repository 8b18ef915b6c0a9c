"""Large arrays of integers: sorted, found and put in order faster than NumPy does it by itself."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Up to this range of ids a table finds and counts them, which is ten times as fast as a search.
_MAX_TABLE: Final = 2**24
# What one key of an order can hold.
_ROOM: Final = 2**63

Array = npt.NDArray[Any]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


def each_once(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values in ascending order, without repeats; sorts ``values`` in place.

    ``np.unique`` hashes integers, which costs thirty times as much for millions of pairs.
    """
    values.sort()
    is_new = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=is_new[1:])
    return values[is_new]


def count_values(values: Array) -> tuple[Int64Array, Int64Array]:
    """Distinct values, ascending, and how often each is there."""
    low, high = values.min(initial=0), values.max(initial=0)
    if not 0 <= low <= high < _MAX_TABLE:
        return np.unique(values, return_counts=True)
    counts = np.bincount(values)
    distinct = np.flatnonzero(counts)
    return distinct, counts[distinct]


def finder(values: Int64Array) -> Any:
    """What gives the place of each id in ``values`` (ascending, distinct), or -1."""
    if not len(values):
        return lambda ids: np.full(len(ids), -1, np.int32)
    first, last = int(values[0]), int(values[-1])
    if last - first < _MAX_TABLE:
        none = last - first + 1
        table = np.full(none + 1, -1, np.int32)
        table[values - first] = np.arange(len(values))

        def look_up(ids: Array) -> Int32Array:
            # Whoever is below the first wraps around to far above the last.
            place = (ids.astype(np.int64) - first).view(np.uint64)
            return table.take(np.minimum(place, np.uint64(none)).view(np.int64))

        return look_up

    def search(ids: Int64Array) -> Int32Array:
        place = np.minimum(np.searchsorted(values, ids), len(values) - 1).astype(np.int32)
        return np.where(values[place] == ids, place, np.int32(-1))

    return search


def order_by(*columns: Array) -> Array:
    """Where the rows by the first column, then the next, and so on, are; equal ones as they stand.

    Columns are int64. Neighbours whose values fit into one integer together are sorted at once.
    """
    if not len(columns[0]):
        return np.zeros(0, np.int64)
    keys: list[Array] = []
    room = 0
    for column in columns:
        low = int(column.min())
        size = int(column.max()) - low + 1
        if size < room:
            keys[-1] = keys[-1] * size + (column - low)
            room //= size
        else:
            keys.append(column - low if size < _ROOM else column)
            room = _ROOM // size
    return _ordered(keys)


def _ordered(keys: list[Array]) -> Array:
    """The first key says nearly all, and is sorted fastest alone; only its ties ask the others."""
    order = np.argsort(keys[0])
    first = keys[0].take(order)
    is_tied = np.zeros(len(order), np.bool_)
    np.equal(first[1:], first[:-1], out=is_tied[1:])
    is_tied[:-1] |= is_tied[1:]
    if is_tied.any():
        rows = np.sort(order[is_tied])
        order[is_tied] = rows[np.lexsort([key[rows] for key in reversed(keys)])]
    return order
