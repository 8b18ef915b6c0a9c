"""Pairs of a stretch of days, and what those of a long one come to, so that no day counts them.

Further pairs are kept beside those of a long stretch, their base, and say whether they are new.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from training_assets.kernels.categories import Categories
from training_assets.kernels.category_places import Counts, Places, keys_of
from training_assets.kernels.day_files import Written, ints, written_batch
from training_assets.kernels.integers import count_values, order_by
from training_assets.kernels.known_pairs import LISTS, BaseFiles
from training_assets.kernels.pair_state import (
    PAIRS,
    Batches,
    Columns,
    Files,
    Pairs,
    merge,
    parts,
    read_columns,
    read_pairs,
    starts_of,
)
from training_assets.kernels.state_files import write_state
from training_assets.kernels.timelines import Ints

PARTS_DDL: Final = "part int"
ITEMS_DDL: Final = "item_id long, _pairs long"
_ITEMS: Final = pa.schema([("item_id", pa.int32()), ("pairs", pa.int64())])
_CATEGORIES: Final = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("category", pa.int32()),
        ("actions", pa.int64()),
        ("newest", pa.int64()),
        ("purchases", pa.int64()),
    ]
)
# Whether the base beside which a pair is kept does not have it.
IS_NEW: Final = "is_new"
_STORED: Final = pa.schema([*PAIRS, (IS_NEW, pa.bool_())])
# Every day reads all items of pairs: so they are decoded in half the time, from fewer bytes.
_ENCODED: Final = {
    "compression": "lz4",
    "use_dictionary": ["customer_id"],
    "column_encoding": dict.fromkeys(("item_id", "newest"), "DELTA_BINARY_PACKED"),
}
# Decoded faster than bytes that are packed tighter.
_COMPRESSION: Final = "lz4"
_MICROS_PER_DAY: Final = 86_400_000_000
# Many customers have their newest items within so few days, and need no look at the others.
_RECENT_DAYS: Final = (30, 120, 7)
_NONE: Final = np.empty(0, np.int64)
# Items, and how many pairs each has.
Counted = tuple[Ints, Ints]


class OfCategories(NamedTuple):
    """What customers did by category, each with a number, by customer."""

    customer: Ints
    category: Ints
    counts: Counts


def write_pairs(
    batches: Batches, files: Files, root: str, run: str, base: BaseFiles | None = None
) -> Iterator[pa.RecordBatch]:
    """Write each part, merged with its ``files``, under ``root``; yields ``WRITTEN_DDL``.

    Whether a pair is new is asked of the ``base``; of none, all are.
    """
    written = []
    for part, _, new in parts(batches):
        pairs = Pairs(*merge([*map(read_pairs, files.get(part, ())), new]))
        is_new = np.ones(len(pairs.item), np.bool_)
        if base is not None:
            is_new = ~base.read(part)[0].has(pairs)
        columns = [pa.array(column) for column in (*pairs, is_new)]
        table = pa.table(columns, _STORED.names).cast(_STORED)
        written.append(write_state(table, root, 0, part, run, **_ENCODED))
    yield written_batch(written)


def count_items(batches: Batches, files: Files) -> Iterator[pa.RecordBatch]:
    """How many pairs in a task's parts each item has; ``batches`` as ``PARTS_DDL``."""
    found: list[Counted] = []
    for part in _parts(batches):
        (item,) = read_columns(files.get(part, ()), ("item_id",))
        found = [summed([*found, count_values(item)])]
    for items, counts in found:
        yield pa.RecordBatch.from_pydict({"item_id": items, "_pairs": counts})


def write_item_counts(counted: Sequence[Counted], root: str, run: str) -> Written:
    """Keep how many pairs each item has, in all parts."""
    items, counts = summed([*counted, (_NONE, _NONE)])
    table = pa.table([pa.array(items), pa.array(counts)], _ITEMS.names).cast(_ITEMS)
    return write_state(table, root, 0, 0, run, compression=_COMPRESSION)


def read_item_counts(files: Sequence[str]) -> Counted:
    """Items, ascending, and how many pairs each has."""
    items, counts = read_columns(files, _ITEMS.names)
    return items, counts


def summed(counted: Sequence[Counted]) -> Counted:
    """Counts of the same item, which may come several times, added up."""
    items, counts = zip(*counted, strict=True)
    both, place = np.unique(np.concatenate(items), return_inverse=True)
    return both, np.bincount(place, np.concatenate(counts), len(both)).astype(np.int64)


def write_lists(
    batches: Batches, files: Files, length: int, root: str, run: str
) -> Iterator[pa.RecordBatch]:
    """Keep the ``length`` newest items of each customer, at least one, and how many it met."""
    written = []
    for part in _parts(batches):
        customer, item, newest = read_columns(
            files.get(part, ()), ("customer_id", "item_id", "newest")
        )
        starts = starts_of(customer)
        sizes = np.diff(starts, append=len(customer))
        rank = np.repeat(np.arange(len(starts)), sizes)
        rows = newest_rows(rank, newest, item, max(length, 1))
        columns = customer[rows], item[rows], newest[rows], sizes[rank[rows]]
        written.append(_written(columns, LISTS, part, root, run))
    yield written_batch(written)


def write_categories(
    batches: Batches, files: Files, categories: Categories, root: str, run: str
) -> Iterator[pa.RecordBatch]:
    """Keep what each customer did in each category that it met; in those that are known."""
    written, num_categories = [], len(categories.names)
    for part in _parts(batches):
        customer, item, actions, newest, purchases = read_columns(
            files.get(part, ()), ("customer_id", "item_id", "actions", "newest", "purchases")
        )
        starts = starts_of(customer)
        rank = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(customer)))
        keys = keys_of(rank, categories.look_up(item), num_categories)
        places = Places(len(starts), num_categories, [keys])
        counts = places.counts(keys, Counts(actions, newest, purchases))
        met = np.flatnonzero((counts.actions > 0) & (places.category >= 0))
        columns = customer[starts][places.owner[met]], places.category[met]
        of_met = (column[met] for column in counts)
        written.append(_written((*columns, *of_met), _CATEGORIES, part, root, run))
    yield written_batch(written)


def read_categories(files: Sequence[str]) -> OfCategories:
    """What was kept of the parts with these files."""
    customer, category, *counts = read_columns(files, _CATEGORIES.names)
    return OfCategories(customer, category, Counts(*counts))


def newest_rows(rank: Ints, newest: Ints, item: Ints, length: int) -> Ints:
    """Rows of the ``length`` newest of each rank, in order; ties by item."""
    first, *others = (newest.max(initial=0) - days * _MICROS_PER_DAY for days in _RECENT_DAYS)
    rows = _since(first, rank, newest, length)
    for since in others:
        rows = rows.take(_since(since, rank.take(rows), newest.take(rows), length))
    rows = rows.take(order_by(rank.take(rows), -newest.take(rows), item.take(rows)))
    starts = starts_of(rank.take(rows))
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    found: Ints = rows[place < length]
    return found


def _since(since: int, rank: Ints, newest: Ints, length: int) -> Ints:
    """Rows from then on, and those of ranks that have fewer than ``length`` of these."""
    is_recent = newest >= since
    recent = rank.take(np.flatnonzero(is_recent))
    has_enough = np.bincount(recent, minlength=rank.max(initial=-1) + 1) >= length
    return np.flatnonzero(is_recent | ~has_enough.take(rank))


def _parts(batches: Batches) -> Iterator[int]:
    for batch in batches:
        yield from map(int, ints(pa.chunked_array([batch["part"]])))


def _written(columns: Columns, schema: pa.Schema, part: int, root: str, run: str) -> Written:
    table = pa.table([pa.array(column) for column in columns], schema.names).cast(schema)
    delta = {"newest": "DELTA_BINARY_PACKED"}
    dictionary = [name for name in schema.names if name not in delta]
    options = {"compression": _COMPRESSION, "use_dictionary": dictionary, "column_encoding": delta}
    return write_state(table, root, 0, part, run, **options)
