"""How often each customer met each item over a stretch of days: merged, kept, and grouped.

A part is some of the customers, wherever their rows come from: kept files and newer days are merged
by sorting, so nothing depends on how days were cut into stretches. Rows are only ever added up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

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
_GROUP_COLUMNS: Final = "category string, _actions long, _newest long, _purchases long, _pairs long"
CUSTOMER_GROUPS_DDL: Final = (
    f"customer_id long, {_GROUP_COLUMNS}, _recent array<struct<age:long,item:long>>"
)
ITEM_GROUPS_DDL: Final = f"item_id long, {_GROUP_COLUMNS}"
_ENTRY: Final = pa.struct([("age", pa.int64()), ("item", pa.int64())])
_MICROS_PER_DAY: Final = 86_400_000_000
# Most customers have their newest items within these days, and need no look at the others.
_RECENT_DAYS: Final = 30

Batches = Iterable[pa.RecordBatch]
Files = Mapping[int, Sequence[str]]


class Pairs(NamedTuple):
    """Rows by customer and item, each pair once; ``newest`` in microseconds."""

    customer: Ints
    item: Ints
    actions: Ints
    newest: Ints
    purchases: Ints


class Categories(NamedTuple):
    """Of each of the ``items``, which ascend, the place of its name, or -1."""

    items: Ints
    places: Ints
    names: tuple[str, ...]

    @classmethod
    def of(cls, table: pa.Table) -> "Categories":
        """From columns item_id and category."""
        table = table.sort_by("item_id")
        encoded = table["category"].combine_chunks().dictionary_encode()
        places = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return cls(ints(table["item_id"]), places, tuple(encoded.dictionary.to_pylist()))

    def look_up(self, items: Ints) -> Ints:
        if not len(self.items):
            return np.full(len(items), -1)
        found = np.minimum(np.searchsorted(self.items, items), len(self.items) - 1)
        places: Ints = np.where(self.items[found] == items, self.places[found], -1)
        return places


def write_pairs(batches: Batches, files: Files, root: str, run: str) -> Iterator[pa.RecordBatch]:
    """Write each part, merged with its ``files``, under ``root``; yields ``WRITTEN_DDL``."""
    written = []
    for part, pairs in merged_parts(batches, files):
        table = pa.table([pa.array(column) for column in pairs], _PAIRS.names).cast(_PAIRS)
        written.append(write_state(table, root, 0, part, run, use_dictionary=["customer_id"]))
    yield written_batch(written)


def group_by_customer(
    batches: Batches, files: Files, categories: Categories, length: int
) -> Iterator[pa.RecordBatch]:
    """Pairs by customer and category, as ``CUSTOMER_GROUPS_DDL`` says.

    The ``length`` newest items of a customer stand with the first of its groups.
    """
    for _, pairs in merged_parts(batches, files):
        if len(pairs.customer):
            yield _customer_groups(pairs, categories, length)


def group_by_item(batches: Batches, files: Files) -> Iterator[pa.RecordBatch]:
    """Pairs by item, as ``ITEM_GROUPS_DDL`` says; an item has a row for each part."""
    for _, pairs in merged_parts(batches, files):
        if len(pairs.item):
            order = np.argsort(pairs.item, kind="stable")
            starts = _starts(pairs.item[order])
            yield _batch(
                {"item_id": pairs.item[order][starts], "category": pa.nulls(len(starts), "string")},
                Pairs(*(column[order] for column in pairs)),
                starts,
            )


def merged_parts(batches: Batches, files: Files) -> Iterator[tuple[int, Pairs]]:
    """Each part with a row in the batches, which must all be there, merged with its files."""
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return
    table = pa.Table.from_batches(found)
    part = ints(table["part"])
    for rows in runs(np.argsort(part, kind="stable"), part):
        number = int(part[rows[0]])
        of_part = table.take(rows).drop_columns(["part"]).drop_null()
        new = Pairs(*(ints(column) for column in of_part.columns))
        yield number, merge([*map(_read, files.get(number, ())), new])


def merge(parts: Sequence[Pairs]) -> Pairs:
    """Rows of the same pair as one."""
    whole = Pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    if not len(whole.customer):
        return whole
    # What is kept is in order already, which a stable sort makes use of.
    customers = np.unique(whole.customer)
    key = (np.searchsorted(customers, whole.customer) << 32) | whole.item.astype(np.int64)
    order = np.argsort(key, kind="stable")
    starts = _starts(key[order])
    ordered = Pairs(*(column[order] for column in whole))
    return Pairs(
        ordered.customer[starts],
        ordered.item[starts],
        np.add.reduceat(ordered.actions, starts),
        np.maximum.reduceat(ordered.newest, starts),
        np.add.reduceat(ordered.purchases, starts),
    )


def _read(place: str) -> Pairs:
    with SealedParquet(place) as file:
        table = file.read(_PAIRS.names, None, use_threads=False)
    return Pairs(*(ints(table[name]).astype(np.int64) for name in _PAIRS.names))


def _customer_groups(pairs: Pairs, categories: Categories, length: int) -> pa.RecordBatch:
    rank = np.cumsum(np.concatenate(([0], pairs.customer[1:] != pairs.customer[:-1])))
    key = rank * (len(categories.names) + 1) + categories.look_up(pairs.item) + 1
    order = np.argsort(key, kind="stable")
    starts = _starts(key[order])
    first = order[starts]
    places = categories.look_up(pairs.item[first])
    names = pa.array(categories.names, pa.string()).take(pa.array(places, mask=places < 0))
    columns: dict[str, Any] = {"customer_id": pairs.customer[first], "category": names}
    listed = _recent(pairs, rank, length)
    # Only the first group of a customer has them.
    is_first = np.concatenate(([True], rank[first][1:] != rank[first][:-1]))
    index = pa.array(rank[first], mask=~is_first)
    grouped = Pairs(*(column[order] for column in pairs))
    return _batch(columns, grouped, starts, {"_recent": listed.take(index)})


def _recent(pairs: Pairs, rank: Ints, length: int) -> pa.ListArray:
    """Of each customer, by rank, the newest items; ties by item."""
    is_recent = pairs.newest >= pairs.newest.max() - _RECENT_DAYS * _MICROS_PER_DAY
    has_few = np.bincount(rank, is_recent) < length
    rows = np.flatnonzero(is_recent | has_few[rank])
    rows = rows[np.lexsort((pairs.item[rows], -pairs.newest[rows], rank[rows]))]
    owners = rank[rows]
    starts = _starts(owners)
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    rows = rows[place < length]
    entries = pa.StructArray.from_arrays(
        [pa.array(-pairs.newest[rows]), pa.array(pairs.item[rows], pa.int64())], ["age", "item"]
    )
    counts = np.bincount(rank[rows], minlength=int(rank[-1]) + 1)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), entries)


def _batch(
    columns: Mapping[str, Any],
    pairs: Pairs,
    starts: Ints,
    further: Mapping[str, pa.Array] | None = None,
) -> pa.RecordBatch:
    """One row per group of pairs that begins at ``starts``."""
    of_groups = {
        "_actions": np.add.reduceat(pairs.actions, starts),
        "_newest": np.maximum.reduceat(pairs.newest, starts),
        "_purchases": np.add.reduceat(pairs.purchases, starts),
        "_pairs": np.diff(starts, append=len(pairs.item)),
    }
    return pa.RecordBatch.from_pydict({**columns, **of_groups, **(further or {})})


def _starts(ordered: Ints) -> Ints:
    """Where runs of the same value begin."""
    if not len(ordered):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
