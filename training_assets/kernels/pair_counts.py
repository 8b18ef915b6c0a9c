"""What pairs of customers and items come to, on each of several days whose windows share a core.

The core is nearly all of a window. What most of it, its base, comes to is kept beside it; to that
are added the further pairs of the core, once, and to both the few pairs of each day's other days.
So of the base a day only asks which of its pairs are there. Rows are only ever added up, never
taken away.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from training_assets.kernels.categories import Categories
from training_assets.kernels.category_places import Counts, Places, keys_of
from training_assets.kernels.day_files import Written, written_batch
from training_assets.kernels.integers import count_values
from training_assets.kernels.known_pairs import BaseFiles, Known, Lists
from training_assets.kernels.pair_state import (
    PAIRS,
    Batches,
    Columns,
    Files,
    Pairs,
    parts,
    read_columns,
    starts_of,
)
from training_assets.kernels.pair_summaries import (
    IS_NEW,
    Counted,
    newest_rows,
    read_categories,
    read_item_counts,
    summed,
)
from training_assets.kernels.state_files import write_state
from training_assets.kernels.timelines import Ints

# Of a day: by customer, and by item.
_OF_CUSTOMERS: Final = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("_pairs", pa.int64()),
        ("_purchased", pa.int64()),
        ("_favorite", pa.string()),
        ("_favorite_actions", pa.int64()),
        ("_recent", pa.list_(pa.int64())),
    ]
)
_OF_ITEMS: Final = pa.schema([("item_id", pa.int64()), ("_pairs", pa.int64())])
# So many rows of customers make a file.
_ROWS_PER_FILE: Final = 131_072
# The first day whose pairs count, by dt; they end before it. Days are numbers.
Windows = Mapping[int, int]


class CoreFiles(NamedTuple):
    """The files of a core: of its base, and by part the pairs of its other days."""

    base: BaseFiles
    further: Files


class DayCategories(NamedTuple):
    """The categories as of a day, and what customers did in those of the base.

    ``files`` number them in another way: number n there is ``places[n]`` here.
    """

    categories: Categories
    files: Files
    places: Ints


class Counting(NamedTuple):
    """How pairs are counted: ``item_counts`` has how many customers met an item of the base.

    The favourite is the known category with most actions, then the newest, then the first by name;
    ``_recent`` are the ``length`` newest items, newest first, then by id.
    """

    files: CoreFiles
    item_counts: Sequence[str]
    windows: Windows
    categories: Mapping[int, DayCategories]
    length: int


def write_counts(
    batches: Batches, counting: Counting, roots: Mapping[int, tuple[str, str]], run: str
) -> Iterator[pa.RecordBatch]:
    """Write what the pairs of a task's parts come to on each dt; yields ``WRITTEN_DDL``.

    ``batches`` hold the pairs of the days that are not in the core, by day. ``roots``: by dt, where
    files of customers go, each of whom is in one of them, and where those of items, in each of
    which an item may be; to be added up. Their ``day`` is 2 dt, or 2 dt + 1 for items.
    """
    written: list[Written] = []
    rows: dict[int, list[pa.RecordBatch]] = {dt: [] for dt in counting.windows}
    items: dict[int, list[Counted]] = {dt: [] for dt in counting.windows}
    of_core: list[Counted] = []
    part = -1

    def write(dt: int) -> None:
        table = pa.Table.from_batches(rows[dt], _OF_CUSTOMERS)
        written.append(write_state(table, roots[dt][0], 2 * dt, part, run))
        rows[dt] = []

    for part, day, newer in parts(batches):
        core = _Core(counting.files, part, Pairs(*newer))
        of_core.append(count_values(core.further.pairs.item[core.further.is_new]))
        if not part:
            of_core.append(read_item_counts(counting.item_counts))
        of_core = [summed(of_core)]
        for dt, few, found in _by_day(core, part, counting, day, newer):
            items[dt] = [summed([*items[dt], count_values(few.pairs.item[few.is_new])])]
            rows[dt].append(found)
            if sum(map(len, rows[dt])) >= _ROWS_PER_FILE:
                write(dt)
    for dt in counting.windows if of_core else ():
        write(dt)
        columns = [pa.array(column) for column in summed([*of_core, *items[dt]])]
        table = pa.table(columns, schema=_OF_ITEMS)
        written.append(write_state(table, roots[dt][1], 2 * dt + 1, part, run))
    yield written_batch(written)


def _by_day(
    core: "_Core", part: int, counting: Counting, day: Ints, newer: Columns
) -> Iterator[tuple[int, "_Few", pa.RecordBatch]]:
    """Of each dt the few pairs that it adds, and the rows of the part's customers."""
    length, num_customers = counting.length, len(core.customers)
    lists = _with(core.lists, core.further, length)
    counted: tuple[DayCategories, _ByCategory] | None = None
    for dt, first in counting.windows.items():
        few = core.few(Pairs(*_of_window(day, newer, first, dt)))
        categories = counting.categories[dt]
        if counted is None or counted[0] is not categories:
            counted = categories, _ByCategory(core, part, categories)
        num_pairs = core.num_pairs + core.num_new(few)
        columns = [
            pa.array(core.customers),
            pa.array(num_pairs),
            *counted[1].favorites(few),
            _as_arrays(_with(lists, few, length), num_customers),
        ]
        found = pa.RecordBatch.from_arrays(columns, schema=_OF_CUSTOMERS)
        yield dt, few, found.filter(pa.array(num_pairs > 0))


def _of_window(day: Ints, newer: Columns, first: int, dt: int) -> Columns:
    """Pairs of the days from ``first`` to before ``dt``, each once and in order."""
    inside = (day >= first) & (day < dt)
    pairs = Pairs(*(column[inside] for column in newer))
    if not len(pairs.item):
        return pairs
    is_new = (pairs.customer[1:] != pairs.customer[:-1]) | (pairs.item[1:] != pairs.item[:-1])
    starts = np.flatnonzero(np.concatenate(([True], is_new)))
    return (
        pairs.customer[starts],
        pairs.item[starts],
        np.add.reduceat(pairs.actions, starts),
        np.maximum.reduceat(pairs.newest, starts),
        np.add.reduceat(pairs.purchases, starts),
    )


class _Few(NamedTuple):
    """Pairs that are added to others, with the rank of each customer, and whether they are new."""

    pairs: Pairs
    rank: Ints
    is_new: Ints


class _Core:
    """The pairs that all days have, by rank of the customer among all that any day has."""

    def __init__(self, files: CoreFiles, part: int, newer: Pairs) -> None:
        base, lists = files.base.read(part)
        *columns, is_new = read_columns(files.further.get(part, ()), (*PAIRS.names, IS_NEW))
        further = Pairs(*columns)
        known = Known.of(further)
        found = (base.customers, known.customers, newer.customer)
        self.customers, self.newer = np.unique(np.concatenate(found)), newer
        self._known = base, known
        self.lists = lists._replace(customer=self.rank(lists.customer))
        self.further = _Few(further, self.rank(further.customer), is_new.astype(bool))
        self.num_pairs = self.num_new(self.further)
        self.num_pairs[np.searchsorted(self.customers, base.customers)] += base.sizes

    def rank(self, customers: Ints) -> Ints:
        """Of customers in order, each of which some day has."""
        starts = starts_of(customers)
        sizes = np.diff(starts, append=len(customers))
        return np.repeat(np.searchsorted(self.customers, customers[starts]), sizes)

    def few(self, pairs: Pairs) -> _Few:
        base, further = self._known
        return _Few(pairs, self.rank(pairs.customer), ~(base.has(pairs) | further.has(pairs)))

    def num_new(self, few: _Few) -> Ints:
        """How many pairs each customer has more by these."""
        return np.bincount(few.rank[few.is_new], minlength=len(self.customers))


class _ByCategory:
    """What customers did by category in the core, with the categories as of a day."""

    def __init__(self, core: _Core, part: int, day: DayCategories) -> None:
        self._categories, self._num_customers = day.categories, len(core.customers)
        base = read_categories(day.files.get(part, ()))
        num_categories = len(day.categories.names)
        of_base = keys_of(core.rank(base.customer), day.places[base.category], num_categories)
        further = self._keys(core.further.rank, core.further.pairs)
        keys = np.concatenate((of_base, further))
        newer = self._keys(core.rank(core.newer.customer), core.newer)
        self._places = Places(self._num_customers, num_categories, [keys, newer])
        both = zip(base.counts, _counts_of(core.further.pairs), strict=True)
        self._counts = self._places.counts(keys, Counts(*map(np.concatenate, both)))

    def _keys(self, rank: Ints, pairs: Pairs) -> Ints:
        return keys_of(rank, self._categories.look_up(pairs.item), len(self._categories.names))

    def favorites(self, few: _Few) -> tuple[pa.Array, pa.Array, pa.Array]:
        """By rank of the customer: categories purchased, the favourite, and its actions."""
        places, names = self._places, pa.array(self._categories.names, pa.string())
        keys = self._keys(few.rank, few.pairs)
        actions, newest, purchases = places.counts(keys, _counts_of(few.pairs), self._counts)
        owner, category = places.owner, places.category
        firsts = starts_of(owner)
        actions[firsts] = 0
        most = np.maximum.reduceat(actions, firsts)
        best = np.flatnonzero((actions > 0) & (actions == most[owner]))
        best = best[np.lexsort((category[best], -newest[best], owner[best]))]
        best = best[starts_of(owner[best])]
        found = np.full(self._num_customers, -1)
        found[owner[best]] = category[best]
        is_bought = (purchases > 0) & (category >= 0)
        purchased = np.add.reduceat(is_bought.astype(int), firsts)
        has_none = found < 0
        favorite = names.take(pa.array(found, mask=has_none))
        return pa.array(purchased), favorite, pa.array(most, mask=has_none)


def _counts_of(pairs: Pairs) -> Counts:
    return Counts(pairs.actions, pairs.newest, pairs.purchases)


def _with(lists: Lists, few: _Few, length: int) -> Lists:
    """The newest items of each rank once the pairs are added.

    What is known of a pair but is not in a list is older than all that is: with it or without,
    the pair comes into the list by what is added alone.
    """
    keys = (lists.customer << 32) | lists.item
    order, wanted = np.argsort(keys), (few.rank << 32) | few.pairs.item
    ordered, at = keys[order], np.zeros(len(wanted), np.int64)
    is_listed = np.zeros(len(wanted), np.bool_)
    if len(keys):
        at = np.minimum(np.searchsorted(ordered, wanted), len(keys) - 1)
        is_listed = ordered[at] == wanted
    row, newest = order[at[is_listed]], lists.newest.copy()
    newest[row] = np.maximum(newest[row], few.pairs.newest[is_listed])
    rank = np.concatenate((lists.customer, few.rank[~is_listed]))
    item = np.concatenate((lists.item, few.pairs.item[~is_listed]))
    newest = np.concatenate((newest, few.pairs.newest[~is_listed]))
    rows = newest_rows(rank, newest, item, length)
    return Lists(rank[rows], item[rows], newest[rows])


def _as_arrays(lists: Lists, num_customers: int) -> pa.ListArray:
    sizes = np.bincount(lists.customer, minlength=num_customers)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(lists.item, pa.int64()))
