"""Which training rows certainly carry their histories, without looking a value up.

Both are places in dictionaries, so the one dictionary is translated into the other and places are
compared with places. What is not the same in this way is not wrong yet: ``compare_rows`` looks at
the values of those rows.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from training_assets.checks.files import File, Ints, ints, open_declared
from training_assets.checks.history_rows import ranges
from training_assets.checks.list_pages import EncodedLists, encoded_lists
from training_assets.checks.padded_pages import PaddedRows
from training_assets.checks.shape import BOUNDS, LISTS
from training_assets.list_format import SealedParquet
from training_assets.schemas import CUSTOMER_HISTORY, PADDING

_ROWS_AT_ONCE: Final = 512


class EncodedHistories(NamedTuple):
    """Histories of a row group of customer_history, each customer once, none of them broken."""

    customers: Ints
    columns: tuple[EncodedLists, EncodedLists]

    @property
    def sizes(self) -> Ints:
        return self.columns[0].sizes


def encoded_histories(files: Sequence[File], customers: Ints) -> list[EncodedHistories]:
    """The row groups that may hold the customers (sorted) and that can be read in this way."""
    return [
        found
        for file in files
        if len(customers)
        for found in _encoded_groups(file, int(customers[0]), int(customers[-1]))
    ]


def _encoded_groups(file: File, low: int, high: int) -> Iterator[EncodedHistories]:
    with open_declared(CUSTOMER_HISTORY, file) as parquet:
        for group in range(parquet.num_row_groups):
            if may_hold(parquet, group, low, high):
                ids = parquet.read(["customer_id"], [group], use_threads=False)["customer_id"]
                items, types = (encoded_lists(parquet, group, name) for name in LISTS[:2])
                if ids.null_count or items is None or types is None:
                    continue
                own = ints(ids)
                if (own[1:] > own[:-1]).all() and _are_sound(items, types):
                    yield EncodedHistories(own, (items, types))


def may_hold(parquet: SealedParquet, group: int, low: int, high: int) -> bool:
    """Whether customers from ``low`` to ``high`` may be in a row group."""
    found = parquet.metadata.row_group(group).column(0).statistics
    if found is None or not found.has_min_max:
        return True
    return bool(found.min <= high and found.max >= low)


def _are_sound(items: EncodedLists, types: EncodedLists) -> bool:
    """Whether lists are equally long, and all in them are items and known types."""
    return bool((items.sizes == types.sizes).all()) and all(
        column.is_within(*bounds) for column, bounds in zip((items, types), BOUNDS, strict=True)
    )


def certainly_right(
    histories: Sequence[EncodedHistories],
    customers: Ints,
    rows: Ints,
    carried: Sequence[PaddedRows],
    history_length: int,
) -> Ints:
    """Of ``rows`` of the carried columns, whose are ``customers``: which carry their history."""
    is_right = np.zeros(len(rows), bool)
    times = np.zeros(len(rows), np.int64)
    for group in histories:
        place = np.searchsorted(group.customers, customers)
        found = np.flatnonzero(place < len(group.customers))
        found = found[group.customers[place[found]] == customers[found]]
        times[found] += 1
        is_right[found] = _are_carried(group, place[found], rows[found], carried, history_length)
    # Of a customer with two histories it is not said here which is the right one.
    found_once: Ints = is_right & (times == 1)
    return found_once


def _are_carried(
    group: EncodedHistories,
    place: Ints,
    rows: Ints,
    carried: Sequence[PaddedRows],
    history_length: int,
) -> Ints:
    is_right = group.sizes[place] <= history_length
    offsets = group.columns[0].offsets
    for lists, column in zip(group.columns, carried, strict=True):
        translated, padding = _translation(lists.dictionary, column)
        distinct = np.cumsum(column.is_new)[rows] - 1
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            sizes = np.minimum(lists.sizes[place[some]], history_length)
            true = np.full((len(sizes), history_length), padding, translated.dtype)
            values = _gathered(lists.places, offsets[place[some]], sizes)
            true[np.arange(history_length) < sizes[:, None]] = translated.take(values)
            is_right[some] &= (column.places[distinct[some]] == true).all(axis=1)
    return is_right


def _gathered(values: Ints, starts: Ints, sizes: Ints) -> Ints:
    ends = np.cumsum(sizes)
    if len(starts) and (starts[1:] == starts[:-1] + sizes[:-1]).all():
        return values[starts[0] : starts[0] + ends[-1]]
    return values.take(ranges(starts, sizes))


def _translation(values: Ints, column: PaddedRows) -> tuple[Ints, int]:
    """The place of each value in the dictionary of the column, and that of the padding.

    What is not in it gets a place that none of its rows has.
    """
    nowhere, known = len(column.dictionary), column.dictionary
    kind = np.promote_types(column.places.dtype, np.min_scalar_type(nowhere))
    order = np.argsort(known, kind="stable")
    wanted = np.append(values, np.int32(PADDING))
    place = np.searchsorted(known, wanted, sorter=order)
    found = order[np.minimum(place, len(order) - 1)]
    translated = np.where(known[found] == wanted, found, nowhere).astype(kind)
    return translated[:-1], int(translated[-1])
