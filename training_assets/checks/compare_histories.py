"""Histories against the actions of their customers: Arrow and NumPy, as the contract says it.

No way is shared with the kernels that build the tables: a history is taken from the actions anew
for each day.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import Batches, Ints, ints
from training_assets.checks.history_rows import ACTION, BOTH, HISTORY, ranges, unpack_histories

COMPARED_DDL: Final = (
    "dt date, customer_id long, wrong boolean, misordered boolean, not_before long, too_old boolean"
)
_COMPARED: Final = pa.schema(
    [
        ("dt", pa.date32()),
        ("customer_id", pa.int64()),
        ("wrong", pa.bool_()),
        ("misordered", pa.bool_()),
        ("not_before", pa.int64()),
        ("too_old", pa.bool_()),
    ]
)
_MAX_DAYS_AGO: Final = 2**15 - 1
# Actions that are looked through at once for more of a day than a history can have.
_PART: Final = 2**20
# Actions that are looked at together, by each of several tasks.
_PIECE: Final = 2**18
# Customers times this plus the day: more days than there are.
_SPAN: Final = 2**33
# An action that came later than so many days is no usual one.
_MANY_DAYS: Final = 30
# Customers' days are told apart by so many numbers, twice as many as a part has actions.
_NUMBERS: Final = 2**21
_ODD: Final = 0x9E3779B1


def compare_histories(
    batches: Batches, history_length: int, lookback_days: int | None
) -> Iterator[pa.RecordBatch]:
    """A row for each history: in what it differs from the actions of its customer.

    The batches are rows of ``BOTH_DDL``: histories and actions of the same customers, in any order,
    because an engine may leave out a sort. All are held at once, of a day's actions no more than a
    history can have.
    """
    histories, parts = _apart(batches, history_length)
    claims = _Claims.of(histories)
    del histories
    timelines = _Timelines.of(parts, np.unique(claims.customer))
    newest = timelines.newest(claims.customer, claims.day, history_length, lookback_days)
    is_same = _are_equal(claims, timelines.actions, newest)
    has_same = is_same.copy()
    for n in np.flatnonzero(~is_same):
        true = timelines.history(claims.customer[n], claims.day[n], history_length, lookback_days)
        claimed = claims.history(int(n))
        is_same[n] = np.array_equal(claimed, true)
        has_same[n] = is_same[n] or np.array_equal(np.sort(claimed), np.sort(true))
    ago = claims.actions["ago"]
    not_before = claims.spread(np.flatnonzero(ago < 1))
    too_old = np.zeros(len(is_same), bool)
    if lookback_days is not None:
        too_old = claims.spread(np.flatnonzero(ago > lookback_days)) > 0
    columns = [
        pa.array(claims.day.astype(np.int32)).view(pa.date32()),
        pa.array(claims.customer),
        *map(pa.array, (~has_same, has_same & ~is_same, not_before, too_old)),
    ]
    yield pa.RecordBatch.from_arrays(columns, schema=_COMPARED)


class _Claims(NamedTuple):
    """Histories as they were written: the next ``sizes[n]`` of the ``actions`` are history n."""

    customer: Ints
    day: Ints
    actions: Ints
    sizes: Ints
    ends: Ints

    @classmethod
    def of(cls, histories: pa.Table) -> "_Claims":
        actions, sizes = unpack_histories(histories["history"])
        days = ints(histories["dt"]).astype(np.int64)
        return cls(ints(histories["customer_id"]), days, actions, sizes, np.cumsum(sizes))

    def history(self, number: int) -> Ints:
        return self.actions[self.ends[number] - self.sizes[number] : self.ends[number]]

    def spread(self, places: Ints) -> Ints:
        """How many of these places of the actions are in each history."""
        of = np.searchsorted(self.ends, places, side="right")
        found: Ints = np.bincount(of, minlength=len(self.sizes))
        return found


class _Timelines(NamedTuple):
    """Actions by customer (``code`` is the place among ``customers``), newest first.

    ``place`` ascends where each customer's newest first are also those of the latest days. An
    action of a later day than the one before it keeps those of one day from standing side by side:
    of the customer and days (as ``place`` has them) that are ``torn``, and of all days of those
    whose codes are ``mixed``.
    """

    customers: Ints
    code: Ints
    actions: "_Ordered"
    place: Ints
    torn: Ints
    mixed: Ints
    top: int

    @classmethod
    def of(cls, parts: "list[_Actions]", customers: Ints) -> "_Timelines":
        """The list is emptied: actions are most of what is held."""
        actions = _Actions.concat(parts)
        code = np.searchsorted(customers, actions.customer)
        is_known = np.zeros(len(code), bool)
        within = np.flatnonzero(code < len(customers))
        is_known[within] = customers[code[within]] == actions.customer[within]
        if not is_known.all():
            rows = np.flatnonzero(is_known)
            actions, code = actions.take(rows), code[rows]
        # The code says whose they are; once they are in order, nobody asks when they were.
        actions = actions._replace(customer=code)
        order = _newest_first(code, actions)
        ordered = _Ordered(*(c.take(order) for c in (actions.day, actions.item, actions.kind)))
        code = code.take(order)
        del actions, order
        top = int(ordered.day.max(initial=0)) + 1
        place = code * _SPAN
        place += top
        place -= ordered.day
        late = np.flatnonzero((place[1:] < place[:-1]) & (code[1:] == code[:-1])) + 1
        days = place[late - 1] - place[late]
        is_mixed = days > _MANY_DAYS
        torn = ranges(place[late] + 1, np.where(is_mixed, 0, days))
        return cls(
            customers, code, ordered, place, np.unique(torn), np.unique(code[late[is_mixed]]), top
        )

    def newest(
        self, customers: Ints, days: Ints, history_length: int, lookback_days: int | None
    ) -> tuple[Ints, Ints]:
        """Where the actions that count for each (customer, day) begin, and how many they are.

        -1 where they do not stand side by side, or may not.
        """
        code = np.searchsorted(self.customers, customers)
        start = self._key(code, self.top - days + 1)
        oldest = np.full(len(days), _SPAN)
        if lookback_days is not None:
            oldest = np.minimum(self.top - days + lookback_days + 1, _SPAN)
        stop = self._key(code, oldest)
        first = np.searchsorted(self.place, start)
        sizes = np.searchsorted(self.place, stop) - first
        sizes = np.minimum(np.maximum(sizes, 0), history_length)
        is_torn = np.isin(start, self.torn) | np.isin(stop, self.torn)
        sizes[is_torn | np.isin(code, self.mixed)] = -1
        return first, sizes

    def _key(self, code: Ints, ago: Ints) -> Ints:
        """Where actions of the customer would begin that are so many days older than ``top``."""
        found: Ints = code * _SPAN + np.maximum(ago, 0)
        return found

    def history(
        self, customer: int, day: int, history_length: int, lookback_days: int | None
    ) -> Ints:
        """The actions of a customer that count for a day, whatever their order, as ``HISTORY``."""
        code = int(np.searchsorted(self.customers, customer))
        left, right = (int(np.searchsorted(self.code, code, side)) for side in ("left", "right"))
        days = self.actions.day[left:right]
        counts = days < day
        if lookback_days is not None:
            counts &= days >= day - lookback_days
        rows = left + np.flatnonzero(counts)[:history_length]
        found = np.empty(len(rows), HISTORY)
        found["item"], found["kind"] = self.actions.item[rows], self.actions.kind[rows]
        found["ago"] = np.minimum(day - self.actions.day[rows], _MAX_DAYS_AGO)
        return found


def _newest_first(code: Ints, actions: "_Actions") -> Ints:
    """The order by customer and the contract: event time downwards, item, type; then day."""
    age = actions.micros.max(initial=0) - actions.micros
    bits = int(age.max(initial=0)).bit_length()
    if bits + int(code.max(initial=0)).bit_length() > 62 or (len(age) and int(age.min()) < 0):
        return np.lexsort((*actions.newest_first(), code))
    # One number to sort by; what is equal in it is put in order apart.
    keys = code.astype(np.int64, copy=False) << bits
    keys |= age
    del age
    order = np.argsort(keys)
    is_tied = np.zeros(max(0, len(order) - 1), bool)
    for start in range(0, len(is_tied), _PIECE):
        some = keys.take(order[start : start + _PIECE + 1])
        is_tied[start : start + _PIECE] = some[1:] == some[:-1]
    if is_tied.any():
        tied = np.flatnonzero(np.append(is_tied, False) | np.insert(is_tied, 0, False))
        rows = order[tied]
        order[tied] = rows[np.lexsort((*actions.take(rows).newest_first(), code[rows]))]
    return order


def _are_equal(claims: _Claims, actions: "_Ordered", newest: tuple[Ints, Ints]) -> Ints:
    """Which histories certainly are the newest actions of their customer, as they must stand."""
    starts, sizes = newest
    is_equal = sizes == claims.sizes
    rows = np.flatnonzero(is_equal)
    for some in np.array_split(rows, max(1, int(sizes[rows].sum()) // _PIECE + 1)):
        true = ranges(starts[some], sizes[some])
        claimed = claims.actions[ranges(claims.ends[some] - sizes[some], sizes[some])]
        days = np.repeat(claims.day[some], sizes[some])
        differs = claimed["item"] != actions.item[true]
        differs |= claimed["kind"] != actions.kind[true]
        differs |= claimed["ago"] != np.minimum(days - actions.day[true], _MAX_DAYS_AGO)
        wrong = np.searchsorted(np.cumsum(sizes[some]), np.flatnonzero(differs), side="right")
        is_equal[some[wrong]] = False
    return is_equal


class _Ordered(NamedTuple):
    """What a history says of actions; their order says the rest."""

    day: Ints
    item: Ints
    kind: Ints


class _Actions(NamedTuple):
    customer: Ints
    day: Ints
    micros: Ints
    item: Ints
    kind: Ints

    @classmethod
    def of(cls, rows: pa.Table) -> "_Actions":
        return cls(*(ints(rows[name]) for name in ("customer_id", "dt", *ACTION)))

    @classmethod
    def concat(cls, parts: "list[_Actions]") -> "_Actions":
        """The list is emptied, and each column let go of when it is put together."""
        columns = [[part[n] for part in parts] for n in range(len(cls._fields))]
        parts.clear()
        found = []
        while columns:
            found.append(np.concatenate(columns.pop(0)))
        return cls(*found)

    def take(self, rows: Ints) -> "_Actions":
        return _Actions(*(column.take(rows) for column in self))

    def newest_first(self) -> tuple[Ints, ...]:
        """Keys for ``np.lexsort``, the last of which counts most."""
        return -self.day, self.kind, self.item, -self.micros


def _apart(batches: Batches, history_length: int) -> tuple[pa.Table, list[_Actions]]:
    """The histories, and the actions without most of what no history can have."""
    nothing = BOTH.empty_table()
    histories, actions = [nothing], [_Actions.of(nothing)]
    for rows in _in_parts(batches):
        is_history = pc.is_valid(rows["history"])
        histories.append(rows.filter(is_history).cast(BOTH))
        some = rows.drop_columns(["history"]).filter(pc.invert(is_history))
        actions.append(_newest_of_days(_Actions.of(some), history_length))
    return pa.concat_tables(histories), actions


def _in_parts(batches: Batches) -> Iterator[pa.Table]:
    """The rows in fewer and longer pieces."""
    held: list[pa.RecordBatch] = []
    num_held = 0
    for batch in batches:
        held.append(batch)
        num_held += len(batch)
        if num_held >= _PART:
            yield pa.Table.from_batches(held)
            held, num_held = [], 0
    if held:
        yield pa.Table.from_batches(held)


def _newest_of_days(actions: _Actions, history_length: int) -> _Actions:
    """The newest ``history_length`` of each customer's day; the same object where none has more.

    Days are counted by a number that several may share, so only few actions need be sorted.
    """
    number = actions.customer.astype(np.int64) * _ODD + actions.day
    number ^= number >> 21
    number &= _NUMBERS - 1
    is_many = np.bincount(number, minlength=_NUMBERS) > history_length
    rows = np.flatnonzero(is_many[number])
    if not len(rows):
        return actions
    some = actions.take(rows)
    newest_first = np.lexsort((*some.newest_first(), some.day, some.customer))
    rows, some = rows[newest_first], some.take(newest_first)
    is_new = np.ones(len(rows), bool)
    is_new[1:] = (np.diff(some.customer) != 0) | (np.diff(some.day) != 0)
    starts = np.flatnonzero(is_new)
    rank = np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows)))
    is_kept = np.ones(len(number), bool)
    is_kept[rows[rank >= history_length]] = False
    return actions.take(np.flatnonzero(is_kept))
