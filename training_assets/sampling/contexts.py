"""When and in which visit each positive came about: a day's actions by customer and time."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.kernels.day_files import ints
from training_assets.kernels.integers import each_once, finder, order_by
from training_assets.schemas import RETURN

COLUMNS: Final = (
    "customer_id",
    "item_id",
    "action_type",
    "occurred_at",
    "has_time",
    "is_bot",
    "session_id",
)
# A longer pause ends a session that has no id.
_PAUSE_MICROS: Final = 30 * 60 * 1_000_000
_HOUR_MICROS: Final = 3_600_000_000
_DAY_MICROS: Final = 24 * _HOUR_MICROS
_MONDAY: Final = 3

Array = npt.NDArray[Any]


class Contexts(NamedTuple):
    """Of pairs of customer and item: the first positive action with a time of its own.

    columns has occurred_at, session_id, session_position, time_of_day and day_of_week.
    """

    customers: Array
    items: Array
    columns: pa.Table

    def of(self, customers: Array, items: Array) -> pa.Table:
        """Contexts of these pairs, which may come in any order; null where there is none."""
        if not len(self.customers):
            return self.columns.take(pa.nulls(len(customers), pa.int64()))
        known = [each_once(ids.copy()) for ids in (self.customers, self.items)]
        finders = [finder(ids) for ids in known]
        own = _codes(finders, (self.customers, self.items), len(known[1]))
        asked = _codes(finders, (customers, items), len(known[1]))
        place = np.minimum(np.searchsorted(own, asked), len(own) - 1)
        is_missing = own[place] != asked
        return self.columns.take(pa.array(place, mask=is_missing if is_missing.any() else None))


def _codes(finders: Sequence[Any], pair: Sequence[Array], num_items: int) -> Array:
    """One integer for each pair, in the order of pairs; -1 where one of the two is not known."""
    customers, items = (find(ids) for find, ids in zip(finders, pair, strict=True))
    codes = customers.astype(np.int64) * num_items + items
    codes[(customers < 0) | (items < 0)] = -1
    return codes


def contexts(actions: pa.Table, kinds: tuple[int, ...]) -> Contexts:
    """Of the actions of a day, in any order, with ``COLUMNS``; positives are those of ``kinds``.

    A session is (customer, session_id); where that is null, a pause of more than 30 minutes between
    a customer's actions begins one. Places are by time, then item and kind.
    """
    is_timed = pc.fill_null(actions["has_time"], True)
    is_action = pc.not_equal(actions["action_type"], RETURN)
    timed = actions.filter(pc.and_(is_timed, is_action))
    customer, item = (ints(timed[n]).astype(np.int64) for n in ("customer_id", "item_id"))
    kind, micros = ints(timed["action_type"]).astype(np.int64), ints(timed["occurred_at"])
    encoded = timed["session_id"].combine_chunks().dictionary_encode().indices
    session = pc.fill_null(encoded, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    order = order_by(customer, session, micros, item, kind)
    position = _positions(customer[order], session[order], micros[order])
    is_positive = np.isin(kind[order], kinds)
    if timed.num_rows:
        is_positive &= ~np.asarray(pc.fill_null(timed["is_bot"], False))[order]
    rows, position = order[is_positive], position[is_positive]
    first = order_by(customer[rows], item[rows], micros[rows], kind[rows])
    rows, position = rows[first], position[first]
    is_new = np.ones(len(rows), np.bool_)
    is_new[1:] = (np.diff(customer[rows]) != 0) | (np.diff(item[rows]) != 0)
    rows, position = rows[is_new], position[is_new]
    at = micros[rows]
    columns = {
        "occurred_at": pa.array(at).view(pa.timestamp("us", "UTC")),
        "session_id": timed["session_id"].take(pa.array(rows)).combine_chunks(),
        "session_position": pa.array(position.astype(np.int32)),
        "time_of_day": pa.array((at // _HOUR_MICROS % 24).astype(np.int32)),
        "day_of_week": pa.array(((at // _DAY_MICROS + _MONDAY) % 7 + 1).astype(np.int32)),
    }
    return Contexts(customer[rows], item[rows], pa.table(columns))


def _positions(customer: Array, session: Array, micros: Array) -> Array:
    """From 1, of rows by customer, session and time."""
    if not len(customer):
        return np.zeros(0, np.int64)
    is_start = np.ones(len(customer), np.bool_)
    is_start[1:] = (np.diff(customer) != 0) | (np.diff(session) != 0)
    is_start[1:] |= (session[1:] < 0) & (np.diff(micros) > _PAUSE_MICROS)
    starts = np.flatnonzero(is_start)
    sizes = np.diff(starts, append=len(customer))
    found: Array = np.arange(len(customer)) - np.repeat(starts, sizes) + 1
    return found
