"""Arrays that the room passes around, and the few operations on them that NumPy lacks."""

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

Ints: TypeAlias = np.ndarray[Any, Any]


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Positions of all ranges, one after another."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    positions = np.repeat(starts - (ends - counts), counts)
    positions += np.arange(total)
    return positions


def as_list(column: pa.ChunkedArray) -> pa.ListArray:
    """A column of lists as one array with 32-bit offsets."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_large_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    return array


def padding_type(values: Ints, padding: int) -> np.dtype[Any]:
    """A type of integers for both: the place of a padding may be the first that does not fit."""
    return np.promote_types(values.dtype, np.min_scalar_type(padding))
