"""The shape of histories, row by row on whole columns: lengths, zeros, nulls, unknown types."""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import Ints, one_array, without_nulls
from training_assets.schemas import ACTION_TYPES, MAX_ITEM_ID, MIN_ITEM_ID, PADDING

LISTS: Final = ("action_items", "action_types", "action_days_ago")
# Of items, and of types.
BOUNDS: Final = ((MIN_ITEM_ID, MAX_ITEM_ID), (min(ACTION_TYPES), max(ACTION_TYPES)))


class Lists(NamedTuple):
    """A column of lists: ``values[offsets[n]:offsets[n + 1]]`` is row n.

    ``sizes`` is ``NULL`` where a list is null; so is a value that is null.
    """

    offsets: Ints
    values: Ints
    sizes: Ints


class Shape(NamedTuple):
    """Rows with arrays of a wrong length, and rows of the others with a hole in them."""

    has_wrong_length: Ints
    has_holes: Ints

    @property
    def is_sound(self) -> Ints:
        found: Ints = ~(self.has_wrong_length | self.has_holes)
        return found


def lists(column: pa.ChunkedArray) -> Lists:
    array = one_array(column)
    if pa.types.is_large_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    sizes = without_nulls(pc.list_value_length(array))
    return Lists(array.offsets.to_numpy(), without_nulls(array.values), sizes)


def shape_of(columns: "tuple[Lists, Lists, Lists]", history_length: int) -> Shape:
    """Of items, types and days ago: arrays are equally long, 0..history_length, without holes.

    A hole is a null or what is no item id, or no known type: items [5, 0], types [1, 4].
    """
    items, types, days_ago = columns
    is_right = (items.sizes == types.sizes) & (items.sizes == days_ago.sizes)
    is_right &= (items.sizes >= 0) & (items.sizes <= history_length)
    has_holes = np.zeros(len(is_right), bool)
    for column, (low, high) in zip((items, types), BOUNDS, strict=True):
        has_holes |= _has_outside(column, low, high)
    return Shape(~is_right, is_right & has_holes)


def _has_outside(column: Lists, low: int, high: int) -> Ints:
    values = column.values
    is_outside = np.zeros(len(column.sizes), bool)
    # Mostly there is none, and the smallest and the largest say so soonest.
    if len(values) and (values.min() < low or values.max() > high):
        counts = np.concatenate(([0], np.cumsum((values < low) | (values > high))))
        is_outside = counts[column.offsets[1:]] > counts[column.offsets[:-1]]
    return is_outside


def are_padded_actions(items: Ints, types: Ints) -> Ints:
    """Of training rows [rows, history_length]: hold actions, then zeros, and nothing else.

    Items [5, 7, 0] with types [1, 3, 0] do; [5, 0, 7] does not.
    """
    has_ended = np.logical_or.accumulate(items == PADDING, axis=1)
    is_right: Ints = np.ones(items.shape, bool)
    for values, (low, high) in zip((items, types), BOUNDS, strict=True):
        is_right &= np.where(has_ended, values == PADDING, (values >= low) & (values <= high))
    return np.all(is_right, axis=1)
