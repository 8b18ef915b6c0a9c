"""How often each customer met each item over a stretch of days: merged, kept, and counted.

A part is some of the customers, wherever their rows come from: kept files and newer days are merged
by sorting, so nothing depends on how days were cut into stretches. Rows are only ever added up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.kernels.day_files import ints, runs, written_batch
from training_assets.kernels.state_files import write_state
from training_assets.kernels.timelines import Ints
from training_assets.list_format import SealedParquet

# A row of a part without any, so that each part has a task.
PAIRS_DDL: Final = (
    "part int, customer_id long, item_id long, _actions long, _newest long, _purchases long"
)
_PAIRS: Final = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("item_id", pa.int32()),
        ("actions", pa.int32()),
        ("newest", pa.int64()),
        ("purchases", pa.int32()),
    ]
)
# How rows of one pair become one, by number of the column.
_COMBINED: Final = {2: np.add, 3: np.maximum, 4: np.add}
CUSTOMERS_DDL: Final = (
    "customer_id long, _pairs long, _purchased long, _favorite string, _favorite_actions long, "
    "_recent array<long>"
)
ITEMS_DDL: Final = "item_id long, _pairs long"
_MICROS_PER_DAY: Final = 86_400_000_000
# Many customers have their newest items within so few days, and need no look at the others.
_RECENT_DAYS: Final = (30, 7)
# Up to so many places per pair, each customer and category has one to be counted in.
_MAX_PLACES: Final = 4
# Ids up to here are looked up in a table with a place for each.
_MAX_DENSE_ID: Final = 2**23

Batches = Iterable[pa.RecordBatch]
Files = Mapping[int, Sequence[str]]
# The first columns of ``Pairs``, in order.
Columns = tuple[Ints, ...]


class Pairs(NamedTuple):
    """Rows by customer and item, each pair once, as ``_PAIRS``; ``newest`` in microseconds."""

    customer: Ints
    item: Ints
    actions: Ints
    newest: Ints
    purchases: Ints


class Categories(NamedTuple):
    """Of each of the ``items``, which ascend, the place of its name in order, or -1."""

    items: Ints
    places: Ints
    names: tuple[str, ...]

    @classmethod
    def of(cls, table: pa.Table) -> "Categories":
        """From columns item_id and category."""
        table = table.sort_by("item_id")
        known = pc.unique(table["category"].cast(pa.string())).drop_null()
        # As engines order text: by its bytes.
        names = sorted(known.to_pylist())
        places = pc.index_in(table["category"].cast(pa.string()), pa.array(names, pa.string()))
        numbers = ints(pa.chunked_array([pc.fill_null(places.combine_chunks(), -1)]))
        return cls(ints(table["item_id"].cast(pa.int64())), numbers, tuple(names))

    def look_up(self, items: Ints) -> Ints:
        if not len(self.items) or not len(items):
            return np.full(len(items), -1)
        highest = max(int(self.items[-1]), int(items.max()))
        if highest <= _MAX_DENSE_ID:
            table = np.full(highest + 1, -1, np.int64)
            table[self.items] = self.places
            dense: Ints = table[items]
            return dense
        found = np.minimum(np.searchsorted(self.items, items), len(self.items) - 1)
        places: Ints = np.where(self.items[found] == items, self.places[found], -1)
        return places


NO_CATEGORIES: Final = Categories(np.empty(0, np.int64), np.empty(0, np.int64), ())


def write_pairs(batches: Batches, files: Files, root: str, run: str) -> Iterator[pa.RecordBatch]:
    """Write each part, merged with its ``files``, under ``root``; yields ``WRITTEN_DDL``."""
    written = []
    for part, pairs in merged_parts(batches, files):
        table = pa.table([pa.array(column) for column in pairs], _PAIRS.names).cast(_PAIRS)
        written.append(write_state(table, root, 0, part, run, use_dictionary=["customer_id"]))
    yield written_batch(written)


def count_by_customer(
    batches: Batches, files: Files, categories: Categories, length: int
) -> Iterator[pa.RecordBatch]:
    """What the pairs of each customer come to, as ``CUSTOMERS_DDL`` says.

    The favourite is the known category with most actions, then the newest, then the first by name;
    ``_recent`` are the ``length`` newest items, newest first, then by id.
    """
    for _, columns in merged_parts(batches, files):
        pairs = Pairs(*columns)
        if len(pairs.customer):
            yield _of_customers(pairs, categories, length)


def count_by_item(batches: Batches, files: Files) -> Iterator[pa.RecordBatch]:
    """How many customers of each part met an item, as ``ITEMS_DDL`` says."""
    for _, (_, item) in merged_parts(batches, files, names=("customer_id", "item_id")):
        if len(item):
            items, counts = np.unique(item, return_counts=True)
            yield pa.RecordBatch.from_pydict({"item_id": items, "_pairs": counts})


def merged_parts(
    batches: Batches, files: Files, names: Sequence[str] = _PAIRS.names
) -> Iterator[tuple[int, Columns]]:
    """Each part with a row in the batches, which must all be there, merged with its files.

    ``names``: the first columns of a pair that are wanted.
    """
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return
    table = pa.Table.from_batches(found)
    part = ints(table["part"])
    for rows in runs(np.argsort(part, kind="stable"), part):
        number = int(part[rows[0]])
        of_part = table.take(rows).drop_columns(["part"]).drop_null()
        new = [ints(column) for column in of_part.columns[: len(names)]]
        order = np.lexsort((new[1], new[0]))
        kept = [_read(place, names) for place in files.get(number, ())]
        yield number, merge([*kept, tuple(column[order] for column in new)])


def merge(parts: Sequence[Columns]) -> Columns:
    """Rows of the same pair as one; each part is in order and has a pair once."""
    waiting = list(parts)
    while len(waiting) > 1:
        waiting.sort(key=lambda columns: len(columns[0]), reverse=True)
        fewest = waiting.pop()
        waiting[-1] = _inserted(waiting[-1], fewest)
    return waiting[0]


def _inserted(many: Columns, few: Columns) -> Columns:
    """Both in order, without sorting again what is: only rows of ``few`` are looked up."""
    if not len(few[0]):
        return many
    keys, wanted = _keys(many, few)
    place = np.searchsorted(keys, wanted)
    is_known = keys[np.minimum(place, len(keys) - 1)] == wanted
    known, added = place[is_known], np.flatnonzero(~is_known)
    # Where the new rows come to lie; all others keep their order.
    target = place[added] + np.arange(len(added))
    is_old = np.ones(len(keys) + len(added), bool)
    is_old[target] = False
    columns = []
    for number, (column, values) in enumerate(zip(many, few, strict=True)):
        whole = np.empty(len(is_old), np.int64)
        whole[is_old] = column
        whole[target] = values[added]
        if number >= 2:
            at = known + np.searchsorted(place[added], known, side="right")
            whole[at] = _COMBINED[number](whole[at], values[is_known])
        columns.append(whole)
    return tuple(columns)


def _keys(*parts: Columns) -> list[Ints]:
    """Of each part a number per row that ascends with customer and item, the same for the same."""
    starts = [_starts(columns[0]) for columns in parts]
    here = [columns[0][at] for columns, at in zip(parts, starts, strict=True)]
    customers = np.unique(np.concatenate(here))
    keys = []
    for (_, item, *_), at, ids in zip(parts, starts, here, strict=True):
        rank = np.searchsorted(customers, ids)
        keys.append((np.repeat(rank, np.diff(at, append=len(item))) << 32) | item)
    return keys


def _read(place: str, names: Sequence[str]) -> Columns:
    with SealedParquet(place) as file:
        table = file.read(names, None, use_threads=False)
    return tuple(ints(table[name]).astype(np.int64) for name in names)


def _of_customers(pairs: Pairs, categories: Categories, length: int) -> pa.RecordBatch:
    is_new = pairs.customer[1:] != pairs.customer[:-1]
    rank = np.concatenate(([0], np.cumsum(is_new)))
    names, actions, purchased = _favorites(pairs, rank, categories)
    return pa.RecordBatch.from_pydict(
        {
            "customer_id": pairs.customer[np.concatenate(([True], is_new))],
            "_pairs": np.bincount(rank),
            "_purchased": purchased,
            "_favorite": names,
            "_favorite_actions": actions,
            "_recent": _recent(pairs, rank, length),
        }
    )


def _favorites(pairs: Pairs, rank: Ints, categories: Categories) -> tuple[pa.Array, pa.Array, Ints]:
    """By rank of the customer: the favourite's name and actions, and categories purchased."""
    width = len(categories.names) + 1
    key, num_customers = rank * width + categories.look_up(pairs.item) + 1, rank[-1] + 1
    if num_customers * width <= _MAX_PLACES * len(key):
        cells = np.arange(num_customers * width)
    else:
        cells, key = np.unique(key, return_inverse=True)
    owner, place = np.divmod(cells, width)
    place -= 1
    firsts = _starts(owner)
    actions = np.bincount(key, pairs.actions, minlength=len(cells)).astype(np.int64)
    actions[place < 0] = 0
    most = np.maximum.reduceat(actions, firsts)
    is_best = (actions > 0) & (actions == most[owner])
    rows = np.flatnonzero(is_best[key])
    newest = np.full(len(cells), np.iinfo(np.int64).min)
    np.maximum.at(newest, key[rows], pairs.newest[rows])
    best = np.flatnonzero(is_best)
    best = best[np.lexsort((place[best], -newest[best], owner[best]))]
    best = best[_starts(owner[best])]
    found = np.full(num_customers, -1)
    found[owner[best]] = place[best]
    is_bought = (np.bincount(key, pairs.purchases, minlength=len(cells)) > 0) & (place >= 0)
    names = pa.array(categories.names, pa.string()).take(pa.array(found, mask=found < 0))
    return names, pa.array(most, mask=found < 0), np.add.reduceat(is_bought.astype(int), firsts)


def _recent(pairs: Pairs, rank: Ints, length: int) -> pa.ListArray:
    """Of each customer, by rank, the newest items; ties by item."""
    since, newest = np.full(rank[-1] + 1, np.iinfo(np.int64).min), pairs.newest.max()
    for days in _RECENT_DAYS:
        begin = newest - days * _MICROS_PER_DAY
        has_enough = np.bincount(rank[pairs.newest >= begin], minlength=len(since)) >= length
        since[has_enough] = begin
    rows = np.flatnonzero(pairs.newest >= since[rank])
    # Rows are in order of items already, and stay so where they are equally new.
    rows = rows[np.lexsort((-pairs.newest[rows], rank[rows]))]
    starts = _starts(rank[rows])
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    rows = rows[place < length]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(rank[rows], minlength=rank[-1] + 1))))
    items = pa.array(pairs.item[rows], pa.int64())
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), items)


def _starts(ordered: Ints) -> Ints:
    """Where runs of the same value begin."""
    if not len(ordered):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
