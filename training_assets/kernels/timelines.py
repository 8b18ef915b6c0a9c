"""Actions in the order of the contract, and the newest that count for each impression day.

actions (any order) ──order──> one timeline per customer, newest first
                                [ 9:day 7 | 4:day 7 | 2:day 5 | 8:day 1 ]
request (customer, day 7, look-back 4)      └────────────────┘ days 3..6, of these the first N
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from training_assets.list_format.arrays import Ints, ranges

_MAX_DAYS_AGO: Final = 2**15 - 1
# From that size on a range is copied faster as a whole than value by value.
_LONG: Final = 64
# NumPy sorts numbers of so many by their digits.
_DIGIT_BITS: Final = 16
# A rank and a time in one number that is not below zero.
_KEY_BITS: Final = 63
# More days than there are between any two.
_SPAN: Final = 2**33


@dataclass(frozen=True)
class Actions:
    """Columns of equal length: ids, event time in microseconds, day since 1970-01-01."""

    customer: Ints
    item: Ints
    kind: Ints
    micros: Ints
    day: Ints

    def __len__(self) -> int:
        return len(self.customer)

    def take(self, rows: Ints) -> "Actions":
        """The rows at these positions, or those that a mask marks."""
        picked = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Actions(*(column.take(picked) for column in self.columns()))

    def slice(self, start: int, end: int) -> "Actions":
        """The rows from ``start`` to before ``end``; nothing is copied."""
        return Actions(*(column[start:end] for column in self.columns()))

    def columns(self) -> tuple[Ints, ...]:
        return self.customer, self.item, self.kind, self.micros, self.day

    @classmethod
    def concat(cls, parts: "list[Actions]") -> "Actions":
        if not parts:
            none = np.empty(0, np.int64)
            return cls(
                none, none.astype(np.int32), none.astype(np.int8), none, none.astype(np.int32)
            )
        columns = zip(*(part.columns() for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class Histories:
    """Row ``n`` has the actions from ``offsets[n]`` to ``offsets[n + 1]``, newest first."""

    offsets: Ints
    items: Ints
    kinds: Ints
    days_ago: Ints


def in_order(actions: Actions) -> Actions:
    """By customer, then event time descending, item, type, and at last the newest day."""
    return actions.take(order_of(actions)) if len(actions) else actions


def order_of(actions: Actions) -> Ints:
    """The places of the actions in that order; equal ones stay in theirs."""
    if not len(actions):
        return np.empty(0, np.int64)
    ids = actions.customer
    low, high = int(ids.min()), int(ids.max())
    # Customers that do not lie far apart need not be numbered to fit beside a time.
    is_near = (high - low).bit_length() + _bits_of_age(actions) <= _KEY_BITS
    return _ordered(ids - low if is_near else _rank(ids)[1], actions)[1]


def _timelines(actions: Actions) -> tuple[Ints, Ints, Ints]:
    """(distinct customers, for each place in order whose it is among them, rows in order)."""
    distinct, rank = _rank(actions.customer)
    return distinct, *_ordered(rank, actions)


def _bits_of_age(actions: Actions) -> int:
    """Bits that tell event times apart."""
    return (int(actions.micros.max()) - int(actions.micros.min())).bit_length()


def _ordered(rank: Ints, actions: Actions) -> tuple[Ints, Ints]:
    """The ranks in order, and the rows; customers ascend as their ranks, from 0 on."""
    bits = _bits_of_age(actions)
    if bits + int(rank.max()).bit_length() > _KEY_BITS:
        # Event times so far apart that they do not fit beside the customer.
        order = _sort(rank, actions)
        return rank.take(order), order
    key = (rank << bits) | (actions.micros.max() - actions.micros)
    order = _stable_order(key)
    key = key.take(order)
    where = _to_sort_further(key, order, actions)
    if len(where):
        among = order.take(where)
        # The key has the customer and the time in it.
        kind = actions.kind.take(among)
        rest = actions.item.take(among).astype(np.int64) << 8 | kind
        late = ~actions.day.take(among)
        order[where] = among.take(np.lexsort((late, rest, key.take(where))))
    return key >> bits, order


def _stable_order(key: Ints) -> Ints:
    """The places of numbers from 0 on, ascending; equal ones stay in their order."""
    bits = int(key.max()).bit_length()
    num_runs = np.count_nonzero(key[1:] < key[:-1])
    if bits <= 2 * _DIGIT_BITS or num_runs * _LONG < len(key):
        # Files are in order already, and a stable sort merges what is.
        return np.argsort(key, kind="stable")
    # By their first digits, which takes no comparisons; so they are nearly in order.
    order = np.argsort(_digit(key, bits - 2 * _DIGIT_BITS), kind="stable")
    digit = _digit(key, bits - _DIGIT_BITS).take(order)
    order = order.take(np.argsort(digit, kind="stable"))
    return order.take(np.argsort(key.take(order), kind="stable"))


def _digit(key: Ints, shift: int) -> Ints:
    """16 bits of each number."""
    return (key >> shift).astype(np.uint16)


def _to_sort_further(key: Ints, order: Ints, actions: Actions) -> Ints:
    """Places of rows that share a key with a row that is not equal in all else."""
    tied = np.flatnonzero(key[1:] == key[:-1])
    first, second = order.take(tied), order.take(tied + 1)
    is_other = np.zeros(len(tied), bool)
    for column in (actions.item, actions.kind, actions.day):
        is_other |= column.take(first) != column.take(second)
    keys = key.take(tied[is_other])
    # Each once, the last time: before the first, the largest key would be too far from -1.
    keys = keys[np.diff(keys, append=-1) != 0]
    starts = np.searchsorted(key, keys, side="left")
    return ranges(starts, np.searchsorted(key, keys, side="right") - starts)


def newest_per_group(actions: Actions, limit: int, *, by_day: bool) -> Actions:
    """At most ``limit`` actions of each customer, or of each customer's day; the newest.

    Actions of one group must stand together. What is kept stays in its order.
    """
    if len(actions) <= limit:
        return actions
    # A group that is too long has the same value at both ends of ``limit + 1`` actions.
    is_long = actions.customer[limit:] == actions.customer[:-limit]
    if by_day:
        is_long &= actions.day[limit:] == actions.day[:-limit]
    if not is_long.any():
        return actions
    starts = _starts(actions.customer, *([actions.day] if by_day else []))
    sizes = np.diff(starts, append=len(actions))
    long = np.flatnonzero(sizes > limit)
    rows = ranges(starts[long], sizes[long])
    group = np.repeat(np.arange(len(long)), sizes[long])
    rank = ranges(np.zeros(len(long), np.int64), sizes[long])
    order = rows[_sort(group, actions.take(rows))]
    is_kept = np.ones(len(actions), bool)
    is_kept[order[rank >= limit]] = False
    return actions.take(is_kept)


@dataclass(frozen=True)
class Timelines:
    """Each customer's actions, newest first, one customer after another; see ``Timelines.of``.

    ``age`` is by how many days an action's day is older than ``top``, the newest of all.
    """

    customers: Ints
    bounds: Ints
    item: Ints
    kind: Ints
    age: Ints
    top: int
    # By customer, whether days fall all the way down, because nothing was filed late.
    is_falling: Ints
    # By action, the place of its customer and within that its age, as one number: the least from
    # the action on downwards, and the greatest up to it. Where days fall, both are its own.
    greatest_so_far: Ints
    least_from_here: Ints

    @classmethod
    def of(cls, actions: Actions) -> "Timelines":
        """The timelines of all customers that have actions."""
        if not len(actions):
            none = np.empty(0, np.int64)
            bounds = np.zeros(1, np.int64)
            kind = actions.kind
            return cls(none, bounds, actions.item, kind, none, 0, none.astype(bool), none, none)
        customers, owner, order = _timelines(actions)
        bounds = np.searchsorted(owner, np.arange(len(customers) + 1))
        top = int(actions.day.max())
        age = top - actions.day.take(order).astype(np.int64)
        key = owner * _SPAN + age
        is_falling = np.ones(len(customers), bool)
        is_falling[owner[1:][key[1:] < key[:-1]]] = False
        greatest, least = key, key
        if not is_falling.all():
            sizes = np.diff(bounds)
            mixed = ranges(bounds[:-1][~is_falling], sizes[~is_falling])
            greatest, least, some = key.copy(), key.copy(), key.take(mixed)
            # Customers ascend in the key, so neither runs over from one customer to the next.
            greatest[mixed] = np.maximum.accumulate(some)
            least[mixed] = np.minimum.accumulate(some[::-1])[::-1]
        return cls(
            customers,
            bounds,
            actions.item.take(order),
            actions.kind.take(order),
            age.astype(np.int16 if age.max() <= _MAX_DAYS_AGO else np.int64),
            top,
            is_falling,
            greatest,
            least,
        )

    def histories(
        self, customers: Ints, days: Ints, *, history_length: int, lookback_days: int | None
    ) -> Histories:
        """A history for each request (``customers[n]``, ``days[n]``).

        Of the customer's actions those with ``day - lookback_days <= action day < day``, newest
        first, cut at the old end to ``history_length``. ``days_ago`` stops at 32767.
        """
        offsets = np.zeros(len(days) + 1, np.int64)
        if not len(self.age):
            return Histories(offsets, self.item, self.kind, np.empty(0, np.int16))
        # As 64 bits: a look-back may be longer than any calendar.
        later = days.astype(np.int64) - self.top
        # An action counts from the first age to before the second.
        youngest = 1 - later
        expired = youngest + min(_SPAN if lookback_days is None else lookback_days, _SPAN)
        zones = self._zones(customers, youngest, expired)
        starts, sizes, counts = _newest(self.age, zones, youngest, expired, history_length)
        np.cumsum(counts, out=offsets[1:])
        return Histories(
            offsets,
            _gather(self.item, starts, sizes),
            _gather(self.kind, starts, sizes),
            _days_ago(_gather(self.age, starts, sizes), later, counts),
        )

    def _zones(
        self, customers: Ints, youngest: Ints, expired: Ints
    ) -> tuple[Ints, Ints, Ints, Ints]:
        """Four positions per request, ascending: a mixed zone, one that counts whole, a mixed one.

        Down a timeline the days fall, but for actions that were filed late. Before the first
        position no action counts and after the last none; between the inner two every one does.
        """
        owner = np.minimum(np.searchsorted(self.customers, customers), len(self.customers) - 1)
        exists = self.customers[owner] == customers
        first = np.where(exists, self.bounds[owner], 0)
        last = np.where(exists, self.bounds[owner + 1], 0)
        mixed = np.flatnonzero(~self.is_falling[owner])
        zones = []
        for age in (youngest, expired):
            wanted = owner * _SPAN + np.clip(age, 0, _SPAN - 1)
            low = np.searchsorted(self.greatest_so_far, wanted)
            high = low.copy()
            high[mixed] = np.searchsorted(self.least_from_here, wanted[mixed])
            zones += [np.clip(low, first, last), np.clip(high, first, last)]
        a, b, c, d = zones
        return a, b, np.maximum(b, c), np.maximum(b, d)


def _days_ago(age: Ints, later: Ints, counts: Ints) -> Ints:
    """Days from the day of each action to that of its request, ``later`` than the newest."""
    if not len(age):
        return np.empty(0, np.int16)
    greatest = int(age.max()) + int(later.max())
    if (later == later[0]).all() and max(greatest, abs(int(later[0]))) <= _MAX_DAYS_AGO:
        return (age + age.dtype.type(later[0])).astype(np.int16, copy=False)
    ago = age + np.repeat(later, counts)
    return np.minimum(ago, _MAX_DAYS_AGO, out=ago).astype(np.int16)


def _starts(*columns: Ints) -> Ints:
    """Positions at which one of the columns has another value than before."""
    is_new = np.zeros(len(columns[0]), bool)
    is_new[:1] = True
    for column in columns:
        is_new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(is_new)


def _rank(customers: Ints) -> tuple[Ints, Ints]:
    """The distinct customers, ascending, and for each row the place of its own among them."""
    # By runs of the same customer, of which there are far fewer than rows.
    starts = _starts(customers)
    distinct, place = np.unique(customers[starts], return_inverse=True)
    return distinct, np.repeat(place, np.diff(starts, append=len(customers)))


def _sort(group: Ints, actions: Actions) -> Ints:
    """Rows by group and then in the order of the contract, the newest day last of all."""
    # The complement turns the order around and, unlike the negative, cannot overflow.
    return np.lexsort((~actions.day, actions.kind, actions.item, ~actions.micros, group))


def _newest(
    age: Ints,
    zones: tuple[Ints, Ints, Ints, Ints],
    youngest: Ints,
    expired: Ints,
    limit: int,
) -> tuple[Ints, Ints, Ints]:
    """Ranges (starts, sizes) of the actions that count, and how many; ``limit`` per request."""
    a, b, c, d = zones
    requests = np.arange(len(youngest))
    counts_for = []
    for low, high in ((a, b), (c, d)):
        request = np.repeat(requests, high - low)
        position = ranges(low, high - low)
        of_action = age.take(position)
        counts = of_action >= youngest.take(request)
        counts &= of_action < expired.take(request)
        counts_for.append((request[counts], position[counts]))
    (early_request, early), (late_request, late) = counts_for
    # One range per action of the mixed zones, one for all between them, in order of the timeline.
    request = np.concatenate((early_request, requests, late_request))
    start = np.concatenate((early, b, late))
    size = np.ones(len(start), np.int64)
    size[len(early) : len(early) + len(requests)] = c - b
    order = np.argsort(request, kind="stable")
    request, start, size = request.take(order), start.take(order), size.take(order)
    before = np.cumsum(size) - size
    heads = np.searchsorted(request, requests, side="left")
    before -= before.take(heads).take(request) if len(requests) else 0
    size = np.clip(limit - before, 0, size)
    return start, size, np.bincount(request, size, len(requests)).astype(np.int64)


def _gather(column: Ints, starts: Ints, sizes: Ints) -> Ints:
    """The values of all ranges, one after another."""
    if sizes.sum() < _LONG * len(starts):
        return column.take(ranges(starts, sizes))
    # Arrow copies ranges as a whole, and lets other threads run meanwhile.
    views = pa.LargeListViewArray.from_arrays(pa.array(starts), pa.array(sizes), pa.array(column))
    gathered: Ints = views.flatten().to_numpy()
    return gathered
