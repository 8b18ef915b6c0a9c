"""Histories against the actions of their customers: Arrow and NumPy, as the contract says it.

No way is shared with the kernels that build the tables: a history is taken from the actions anew
for each day.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import Batches, Ints, batch_of, ints
from training_assets.checks.history_rows import ACTION, BOTH, unpack_history

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
# Customers times this plus the day: more days than there are.
_SPAN: Final = 2**33


def compare_histories(
    batches: Batches, history_length: int, lookback_days: int | None
) -> Iterator[pa.RecordBatch]:
    """A row for each history: in what it differs from the actions of its customer.

    The batches are rows of ``BOTH_DDL``: histories and actions of the same customers, in any order,
    because an engine may leave out a sort. All are held at once, of a day's actions no more than a
    history can have.
    """
    histories, actions = _apart(batches, history_length)
    histories = histories.sort_by("customer_id").combine_chunks()
    customers, days = ints(histories["customer_id"]), ints(histories["dt"])
    claims = histories["history"].to_pylist()
    by_customer = np.argsort(actions.customer, kind="stable")
    owners = actions.customer[by_customer]
    found = []
    for customer in np.unique(customers):
        theirs = actions.take(by_customer[_places(owners, customer)])
        theirs = theirs.take(np.lexsort(theirs.newest_first()))
        is_by_day = bool((theirs.day[1:] <= theirs.day[:-1]).all())
        of_customer = _places(customers, customer)
        for n in range(of_customer.start, of_customer.stop):
            newest = _newest(theirs.day, is_by_day, days[n], history_length, lookback_days)
            ago = np.minimum(days[n] - theirs.day[newest], _MAX_DAYS_AGO)
            true = [theirs.item[newest], theirs.kind[newest], ago]
            claimed = unpack_history(claims[n])
            is_same = _equal(claimed, true)
            has_same = is_same or _equal(_in_any_order(claimed), _in_any_order(true))
            not_before = np.count_nonzero(claimed[2] < 1)
            too_old = lookback_days is not None and bool((claimed[2] > lookback_days).any())
            found.append(
                (days[n], customer, not has_same, has_same and not is_same, not_before, too_old)
            )
    yield batch_of(found, _COMPARED)


def _newest(
    days: Ints, is_by_day: bool, day: int, history_length: int, lookback_days: int | None
) -> Any:
    """Which of the actions, newest first, count for the day: days before it, within the look-back.

    Mostly the newest first are also those of the latest days, and lie one behind the other.
    """
    if not is_by_day:
        counts = days < day
        if lookback_days is not None:
            counts &= days >= day - lookback_days
        return np.flatnonzero(counts)[:history_length]
    ascending = days[::-1]
    start = len(days) - int(np.searchsorted(ascending, day))
    stop = len(days)
    if lookback_days is not None:
        stop -= int(np.searchsorted(ascending, day - lookback_days))
    return slice(start, min(stop, start + history_length))


def _places(owners: Ints, customer: int) -> slice:
    """Where a customer is among sorted ones."""
    left, right = (int(np.searchsorted(owners, customer, side)) for side in ("left", "right"))
    return slice(left, right)


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
    def concat(cls, parts: "Sequence[_Actions]") -> "_Actions":
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def take(self, rows: Ints) -> "_Actions":
        return _Actions(*(column.take(rows) for column in self))

    def newest_first(self) -> tuple[Ints, ...]:
        """Keys for ``np.lexsort``, the last of which counts most."""
        return -self.day, self.kind, self.item, -self.micros


def _apart(batches: Batches, history_length: int) -> tuple[pa.Table, _Actions]:
    """The histories, and the actions without most of what no history can have."""
    nothing = BOTH.empty_table()
    histories, actions = [nothing], [_Actions.of(nothing)]
    for rows in _in_parts(batches):
        is_history = pc.is_valid(rows["history"])
        histories.append(rows.filter(is_history).cast(BOTH))
        some = rows.drop_columns(["history"]).filter(pc.invert(is_history))
        actions.append(_newest_of_days(_Actions.of(some), history_length))
    return pa.concat_tables(histories), _Actions.concat(actions)


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
    """The newest ``history_length`` of each customer's day; the same object where none has more."""
    days = np.sort(actions.customer * _SPAN + actions.day)
    if (days[history_length:] != days[:-history_length]).all():
        return actions
    newest_first = np.lexsort((*actions.newest_first(), actions.day, actions.customer))
    ordered = actions.take(newest_first)
    is_new = np.ones(len(newest_first), bool)
    is_new[1:] = np.diff(ordered.customer) | np.diff(ordered.day)
    starts = np.flatnonzero(is_new)
    rank = np.arange(len(is_new)) - np.repeat(starts, np.diff(starts, append=len(is_new)))
    return ordered.take(np.flatnonzero(rank < history_length))


def _equal(one: Sequence[Ints], other: Sequence[Ints]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _in_any_order(history: Sequence[Ints]) -> list[Ints]:
    order = np.lexsort(tuple(history))
    return [values[order] for values in history]
