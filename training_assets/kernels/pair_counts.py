"""What pairs of customers and items come to, on each of several days whose windows share a core.

The core is read and counted once. Each day adds the few pairs of its other days to that, so a
further day costs next to nothing. Rows are only ever added up, never taken away.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from training_assets.kernels.categories import Categories
from training_assets.kernels.integers import count_values, order_by
from training_assets.kernels.pair_state import (
    ALL,
    PAIR,
    Batches,
    Columns,
    Files,
    Pairs,
    merge,
    parts,
    read_pairs,
    starts_of,
)
from training_assets.kernels.timelines import Ints

CUSTOMERS_DDL: Final = (
    "dt long, customer_id long, _pairs long, _purchased long, _favorite string, "
    "_favorite_actions long, _recent array<long>"
)
ITEMS_DDL: Final = "dt long, item_id long, _pairs long"
# Up to so many places per pair, each customer and category has one to be counted in.
_MAX_PLACES: Final = 4
_LEAST: Final = np.iinfo(np.int64).min
_NONE: Final = np.empty(0, np.int64)
_MICROS_PER_DAY: Final = 86_400_000_000
# Many customers have their newest items within so few days, and need no look at the others.
_RECENT_DAYS: Final = (30, 120, 7)
# The first day whose pairs count, by dt; they end before it. Days are numbers.
Windows = Mapping[int, int]
# Items, and how many pairs each has.
_Counted = tuple[Ints, Ints]
# Of a task's parts, each counted: the core may be the pairs of a year.
_MAX_HELD: Final = 1 << 22


def count_by_customer(
    batches: Batches,
    files: Files,
    windows: Windows,
    categories: Mapping[int, Categories],
    length: int,
) -> Iterator[pa.RecordBatch]:
    """What the pairs of each customer come to on each dt, as ``CUSTOMERS_DDL`` says.

    ``files`` are of the core, which counts for every dt, ``batches`` hold the pairs of the other
    days, by day. The favourite is the known category with most actions, then the newest, then the
    first by name; ``_recent`` are the ``length`` newest items, newest first, then by id.
    """
    for part, day, newer in parts(batches):
        core = _Core(Pairs(*_merged(files, part)), Pairs(*newer), length)
        for dt, first in windows.items():
            few = core.few(Pairs(*_of_window(day, newer, first, dt)))
            if len(core.pairs.item) or len(few.pairs.item):
                yield _of_customers(core, few, dt, categories[dt])


def count_by_item(batches: Batches, files: Files, windows: Windows) -> Iterator[pa.RecordBatch]:
    """How many customers of a task's parts met an item on each dt, as ``ITEMS_DDL`` says."""
    of_core: list[_Counted] = []
    added: dict[int, list[Ints]] = {dt: [] for dt in windows}
    for part, day, newer in parts(batches):
        customer, item = _merged(files, part, PAIR)
        core = _Core(Pairs(customer, item, _NONE, _NONE, _NONE), Pairs(*newer), 0)
        of_core.append(count_values(core.pairs.item))
        if sum(len(items) for items, _ in of_core) > _MAX_HELD:
            of_core = [_summed(of_core)]
        for dt, first in windows.items():
            few = core.few(Pairs(*_of_window(day, newer, first, dt)))
            added[dt].append(few.pairs.item[~few.is_known])
    if not of_core:
        return
    counted = _summed(of_core)
    for dt, found in added.items():
        further = count_values(np.concatenate(found))
        items, counts = _summed([counted, further])
        yield pa.RecordBatch.from_pydict(
            {"dt": np.full(len(items), dt), "item_id": items, "_pairs": counts}
        )


def _summed(counted: Sequence[_Counted]) -> _Counted:
    """Counts of the same item, which may come several times, added up."""
    items, counts = zip(*counted, strict=True)
    both, place = np.unique(np.concatenate(items), return_inverse=True)
    return both, np.bincount(place, np.concatenate(counts), len(both)).astype(np.int64)


def _merged(files: Files, part: int, names: Sequence[str] = ALL) -> Columns:
    found = read_pairs(files.get(part, ()), names)
    return merge(found) if found else (_NONE,) * len(names)


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
    """The pairs that a day adds to the core; ``at`` is the place of those that it has too."""

    pairs: Pairs
    rank: Ints
    is_known: Ints
    at: Ints


class _Core:
    """The pairs that all days have, by rank of the customer among all that any day has."""

    def __init__(self, pairs: Pairs, newer: Pairs, length: int) -> None:
        self.pairs, self.newer, self.length = pairs, newer, length
        starts = starts_of(pairs.customer)
        here = pairs.customer[starts]
        self.customers = np.unique(np.concatenate((here, newer.customer)))
        self._ranks = np.searchsorted(self.customers, here)
        self._sizes = np.diff(starts, append=len(pairs.customer))
        self._rank: Ints | None = None
        self._keys = np.repeat(self._ranks << 32, self._sizes)
        self._keys |= pairs.item
        self.num_pairs = np.zeros(len(self.customers), np.int64)
        self.num_pairs[self._ranks] = self._sizes
        # No others are among a day's newest. Without a length nobody asks for them.
        self.newest = _NONE
        if length:
            self.newest = _newest(self.rank, pairs.newest, pairs.item, length)
        self._places: tuple[Categories, _Places] | None = None

    @property
    def rank(self) -> Ints:
        """Of each pair; who only counts items asks for none."""
        if self._rank is None:
            self._rank = np.repeat(self._ranks, self._sizes)
        return self._rank

    def few(self, pairs: Pairs) -> _Few:
        rank = np.searchsorted(self.customers, pairs.customer)
        keys = (rank << 32) | pairs.item
        at = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        is_known = self._keys[at] == keys if len(self._keys) else np.zeros(len(keys), bool)
        return _Few(pairs, rank, is_known, at)

    def places(self, categories: Categories) -> "_Places":
        """Made once for days with the same categories."""
        if self._places is None or self._places[0] is not categories:
            self._places = categories, _Places(self, categories)
        return self._places[1]


class _Places:
    """A place to count in for each category of a customer, 0 being that of none."""

    def __init__(self, core: _Core, categories: Categories) -> None:
        self._categories, self._width = categories, len(categories.names) + 1
        keys = self._keys(core.rank, core.pairs.item)
        num_customers = len(core.customers)
        if num_customers * self._width <= _MAX_PLACES * len(keys):
            self._known, cells = None, np.arange(num_customers * self._width)
        else:
            newer = np.searchsorted(core.customers, core.newer.customer)
            cells = np.unique(np.concatenate((keys, self._keys(newer, core.newer.item))))
            self._known = cells
        self.of_core = self._at(keys)
        self.owner, self.category = np.divmod(cells, self._width)
        self.category -= 1
        self.actions = self.add(self.of_core, core.pairs.actions)
        self.purchases = self.add(self.of_core, core.pairs.purchases)

    def of(self, few: _Few) -> Ints:
        return self._at(self._keys(few.rank, few.pairs.item))

    def add(self, places: Ints, counts: Ints) -> Ints:
        return np.bincount(places, counts, len(self.owner)).astype(np.int64)

    def _keys(self, rank: Ints, items: Ints) -> Ints:
        keys: Ints = rank * self._width
        keys += self._categories.look_up(items)
        keys += 1
        return keys

    def _at(self, keys: Ints) -> Ints:
        return keys if self._known is None else np.searchsorted(self._known, keys)


def _of_customers(core: _Core, few: _Few, dt: int, categories: Categories) -> pa.RecordBatch:
    further = np.bincount(few.rank[~few.is_known], minlength=len(core.customers))
    num_pairs = core.num_pairs + further
    here = num_pairs > 0
    names, actions, purchased = _favorites(core, few, categories)
    return pa.RecordBatch.from_pydict(
        {
            "dt": np.full(int(here.sum()), dt),
            "customer_id": core.customers[here],
            "_pairs": num_pairs[here],
            "_purchased": purchased[here],
            "_favorite": names.filter(pa.array(here)),
            "_favorite_actions": actions.filter(pa.array(here)),
            "_recent": _recent(core, few).filter(pa.array(here)),
        }
    )


def _favorites(core: _Core, few: _Few, categories: Categories) -> tuple[pa.Array, pa.Array, Ints]:
    """By rank of the customer: the favourite's name and actions, and categories purchased."""
    places = core.places(categories)
    added = places.of(few)
    num_customers, owner, category = len(core.customers), places.owner, places.category
    firsts = starts_of(owner)
    actions = places.actions + places.add(added, few.pairs.actions)
    actions[category < 0] = 0
    most = np.maximum.reduceat(actions, firsts)
    is_best = (actions > 0) & (actions == most[owner])
    is_tied = is_best & (np.bincount(owner, is_best, num_customers) > 1)[owner]
    newest = np.full(len(owner), _LEAST)
    if is_tied.any():
        for place, pairs in ((places.of_core, core.pairs), (added, few.pairs)):
            rows = np.flatnonzero(is_tied[place])
            np.maximum.at(newest, place[rows], pairs.newest[rows])
    best = np.flatnonzero(is_best)
    best = best[np.lexsort((category[best], -newest[best], owner[best]))]
    best = best[starts_of(owner[best])]
    found = np.full(num_customers, -1)
    found[owner[best]] = category[best]
    purchases = places.purchases + places.add(added, few.pairs.purchases)
    is_bought = (purchases > 0) & (category >= 0)
    names = pa.array(categories.names, pa.string()).take(pa.array(found, mask=found < 0))
    most = pa.array(most, mask=found < 0)
    return names, most, np.add.reduceat(is_bought.astype(int), firsts)


def _recent(core: _Core, few: _Few) -> pa.ListArray:
    """Of each customer, by rank, the newest items; ties by item."""
    pairs, known = few.pairs, few.at[few.is_known]
    newest = pairs.newest.copy()
    newest[few.is_known] = np.maximum(newest[few.is_known], core.pairs.newest[known])
    old = np.setdiff1d(core.newest, known, assume_unique=True)
    rank = np.concatenate((core.rank[old], few.rank))
    item = np.concatenate((core.pairs.item[old], pairs.item))
    newest = np.concatenate((core.pairs.newest[old], newest))
    rows = _newest(rank, newest, item, core.length)
    sizes = np.bincount(rank[rows], minlength=len(core.customers))
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(item[rows], pa.int64()))


def _newest(rank: Ints, newest: Ints, item: Ints, length: int) -> Ints:
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
