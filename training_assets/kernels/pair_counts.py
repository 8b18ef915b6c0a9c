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
from training_assets.kernels.timelines import Ints

CUSTOMERS_DDL: Final = (
    "dt long, customer_id long, _pairs long, _purchased long, _favorite string, "
    "_favorite_actions long, _recent array<long>"
)
DAY_ITEMS_DDL: Final = "dt long, item_id long, _pairs long"
# What of a pair says which it is.
_ITEMS: Final = ("customer_id", "item_id")
_NONE: Final = np.empty(0, np.int64)
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


def count_by_customer(
    batches: Batches,
    files: CoreFiles,
    windows: Windows,
    categories: Mapping[int, DayCategories],
    length: int,
) -> Iterator[pa.RecordBatch]:
    """What the pairs of each customer come to on each dt, as ``CUSTOMERS_DDL`` says.

    ``files`` are of the core, which counts for every dt, ``batches`` hold the pairs of the other
    days, by day. The favourite is the known category with most actions, then the newest, then the
    first by name; ``_recent`` are the ``length`` newest items, newest first, then by id.
    """
    for part, day, newer in parts(batches):
        core = _Core(files, part, Pairs(*newer), PAIRS.names)
        lists = _with(core.lists, core.further, length)
        counted: tuple[DayCategories, _ByCategory] | None = None
        for dt, first in windows.items():
            few = core.few(Pairs(*_of_window(day, newer, first, dt)))
            if not len(core.customers):
                continue
            if counted is None or counted[0] is not categories[dt]:
                counted = categories[dt], _ByCategory(core, part, categories[dt])
            num_pairs = core.num_pairs + core.num_new(few)
            here = pa.array(num_pairs > 0)
            columns = {
                "customer_id": pa.array(core.customers),
                "_pairs": pa.array(num_pairs),
                **counted[1].with_favorites(few),
                "_recent": _as_arrays(_with(lists, few, length), len(core.customers)),
            }
            kept = {name: column.filter(here) for name, column in columns.items()}
            dts = np.full(len(kept["_pairs"]), dt)
            yield pa.RecordBatch.from_pydict({"dt": dts, **kept})


def count_by_item(
    batches: Batches, files: CoreFiles, counts: Sequence[str], windows: Windows
) -> Iterator[pa.RecordBatch]:
    """How many customers of a task's parts met an item on each dt, as ``DAY_ITEMS_DDL`` says.

    ``counts`` has how many did in the base, all parts together: the first part brings them in.
    """
    of_core: list[Counted] = []
    added: dict[int, list[Ints]] = {dt: [] for dt in windows}
    for part, day, newer in parts(batches):
        core = _Core(files, part, Pairs(*newer), _ITEMS)
        of_core.append(count_values(core.further.pairs.item[core.further.is_new]))
        if not part:
            of_core.append(read_item_counts(counts))
        of_core = [summed(of_core)]
        for dt, first in windows.items():
            few = core.few(Pairs(*_of_window(day, newer, first, dt)))
            added[dt].append(few.pairs.item[few.is_new])
    if not of_core:
        return
    for dt, found in added.items():
        items, pairs = summed([*of_core, count_values(np.concatenate(found))])
        dts = np.full(len(items), dt)
        yield pa.RecordBatch.from_pydict({"dt": dts, "item_id": items, "_pairs": pairs})


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

    def __init__(self, files: CoreFiles, part: int, newer: Pairs, names: Sequence[str]) -> None:
        """``names``: the columns that are wanted of further pairs; the others are empty."""
        base, lists = files.base.read(part)
        further, is_new = _further(files.further.get(part, ()), names)
        known = Known.of(further)
        found = (base.customers, known.customers, newer.customer)
        self.customers, self.newer = np.unique(np.concatenate(found)), newer
        self._known = base, known
        self.lists = lists._replace(customer=self.rank(lists.customer))
        self.further = _Few(further, self.rank(further.customer), is_new)
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


def _further(files: Sequence[str], names: Sequence[str]) -> tuple[Pairs, Ints]:
    """Pairs that are kept beside a base, and which of them are new there."""
    columns = read_columns(files, (*names, IS_NEW))
    found = dict(zip(names, columns, strict=False))
    return Pairs(*(found.get(name, _NONE) for name in PAIRS.names)), columns[-1].astype(bool)


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

    def with_favorites(self, few: _Few) -> dict[str, pa.Array]:
        """By rank of the customer: the favourite, its actions, and how many were purchased."""
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
        return {
            "_purchased": pa.array(np.add.reduceat(is_bought.astype(int), firsts)),
            "_favorite": names.take(pa.array(found, mask=found < 0)),
            "_favorite_actions": pa.array(most, mask=found < 0),
        }


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
