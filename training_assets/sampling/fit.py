"""How customers and items of samples fit, as of a day: features of pairs from a task's actions.

The same as ``features.build_pair_features`` gives for these pairs, by arrays: what a customer did
is added up in a table with a column for each value of each attribute, some customers at a time.

    customer 7 clicked (2) a red shoe and ordered (5) a red shirt

                  category         brand            an item: a shoe, brand q
                  shirt  shoe      p    q           dot     2 + 0
    weights         5     2        7    0           length  sqrt(25 + 4 + 49) * sqrt(2)
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.kernels.day_files import ints
from training_assets.sampling.catalogue import CatalogueOfDay, Catalogues, Prices, money
from training_assets.sampling.rules import Int32Array, Int64Array

COLUMNS: Final = ("customer_id", "item_id", "action_type", "occurred_at")
FURTHER: Final = ("is_bot", "price", "quantity", "amount")
FIT: Final = pa.schema(
    [
        ("user_item_affinity", pa.float64()),
        ("category_match", pa.bool_()),
        ("price_match", pa.bool_()),
        ("price_ratio", pa.float64()),
    ]
)
FIT_DDL: Final = (
    "user_item_affinity double, category_match boolean, price_match boolean, price_ratio double"
)
# By kind: click, add-to-cart, order, view, like, and a return, which is of kind order.
_POINTS: Final = np.array([0, 2, 4, 5, 1, 3, 5], np.int8)
_ORDER: Final = 3
# A quantity is rounded to four digits; from here on it is above 0.
_LEAST_QUANTITY: Final = 0.00005
_LARGEST_QUANTITY: Final = 1e14
_THRESHOLD_UNITS: Final = 20 * 10_000
_LARGEST_SUM: Final = 2**62
# Cells of the table of weights of some customers.
_MAX_CELLS: Final = 2**21


class Acts(NamedTuple):
    """Actions that count, by customer: place of the item, points of the kind, microseconds.

    int32, int32, int8 and int64.
    """

    customers: Any
    items: Any
    points: Any
    micros: Any


class Paid(NamedTuple):
    """By customer: sum of the unit prices of purchases, in units of 1/10,000, and their number."""

    units: Any
    purchases: Int64Array


class FittingActions:
    """What the customers of a task did, by bucket of days; files are added one after the other."""

    def __init__(self, catalogues: Catalogues, num_customers: int) -> None:
        self._prices, self._num_customers = Prices(catalogues), num_customers
        self._parts: dict[int, list[Acts]] = defaultdict(list)
        self._acts: dict[int, tuple[Acts, Int64Array]] = {}
        self._paid: dict[int, Paid] = {}

    def add(
        self, bucket: int, day: int, table: pa.Table, customers: Int32Array, places: Int32Array
    ) -> None:
        """Rows of ``COLUMNS`` and, where a file has them, ``FURTHER``; -1 is none of the task's."""
        kind = ints(table["action_type"])
        counts = (customers >= 0) & (kind >= 1) & (kind < len(_POINTS))
        if "is_bot" in table.column_names:
            counts &= ~np.asarray(pc.fill_null(table["is_bot"], False))
        self._add_paid(bucket, day, table, customers, np.flatnonzero(counts & (kind == _ORDER)))
        rows = np.flatnonzero(counts & (places >= 0))
        micros = ints(table["occurred_at"])
        self._parts[bucket].append(
            Acts(customers[rows], places[rows], _POINTS[kind[rows]], micros[rows])
        )

    def _add_paid(
        self, bucket: int, day: int, table: pa.Table, customers: Int32Array, orders: Int64Array
    ) -> None:
        if not len(orders):
            return
        table = table.take(pa.array(orders))
        price, has_price = _money(table, "price")
        amount, _ = _money(table, "amount")
        is_return = (price < 0) | (amount < 0)
        if "quantity" in table.column_names:
            quantity = np.asarray(table["quantity"].fill_null(1.0))
            is_return |= (quantity < _LEAST_QUANTITY) & (quantity > -_LARGEST_QUANTITY)
        found, is_known = self._prices.of(ints(table["item_id"]), day)
        price, is_known = np.where(has_price, price, found), has_price | is_known
        rows = np.flatnonzero(is_known & ~is_return)
        owner, units = customers[orders[rows]], price[rows]
        num = self._num_customers
        before = self._paid.get(bucket, Paid(np.zeros(num, np.int64), np.zeros(num, np.int64)))
        total = before.units
        if np.abs(units.astype(float)).sum() + np.abs(total.astype(float)).max() > _LARGEST_SUM:
            total, units = total.astype(object), units.astype(object)
        np.add.at(total, owner, units)
        self._paid[bucket] = Paid(total, before.purchases + np.bincount(owner, minlength=num))

    def finish(self) -> None:
        """After the last file."""
        for bucket in list(self._parts):
            acts = Acts(*map(np.concatenate, zip(*self._parts.pop(bucket), strict=True)))
            order = np.argsort(acts.customers, kind="stable")
            acts = Acts(*(column[order] for column in acts))
            firsts = np.arange(self._num_customers + 1)
            self._acts[bucket] = acts, np.searchsorted(acts.customers, firsts)

    def of_day(self, customers: Int64Array, counts: Callable[[int], bool]) -> tuple[Acts, Paid]:
        """Of some customers (ascending) in the buckets that count; customers as index into them."""
        parts = [
            _of_customers(acts, starts, customers)
            for bucket, (acts, starts) in self._acts.items()
            if counts(bucket)
        ]
        nothing = Acts(*(np.zeros(0, of) for of in (np.int32, np.int32, np.int8, np.int64)))
        acts = Acts(*map(np.concatenate, zip(nothing, *parts, strict=True)))
        if len(parts) > 1:
            order = np.argsort(acts.customers, kind="stable")
            acts = Acts(*(column[order] for column in acts))
        paid = [paid for bucket, paid in self._paid.items() if counts(bucket)]
        zeros: Any = np.zeros(len(customers), np.int64)
        return acts, Paid(
            sum((p.units[customers] for p in paid), zeros),
            sum((p.purchases[customers] for p in paid), zeros),
        )


def fit(
    rows: Int64Array, places: Int64Array, acts: Acts, paid: Paid, catalogue: CatalogueOfDay
) -> list[pa.Array]:
    """Columns of ``FIT`` for pairs, by index of the customer and place of the item."""
    num_customers = len(paid.purchases)
    affinity = np.zeros(len(rows))
    favorite = np.full(num_customers, -1, np.int32)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    size = max(1, _MAX_CELLS // max(sum(catalogue.sizes), 1))
    for start in range(0, num_customers, size):
        low, high = np.searchsorted(acts.customers, [start, start + size])
        some = Acts(*(column[low:high] for column in acts))
        some = some._replace(customers=some.customers - start)
        num = min(size, num_customers - start)
        favorite[start : start + num] = _favorites(some, catalogue, num)
        low, high = np.searchsorted(ordered, [start, start + size])
        asked = order[low:high]
        affinity[asked] = _affinity(rows[asked] - start, places[asked], some, catalogue, num)
    category = catalogue.words[0][places]
    is_match = (category >= 0) & (category == favorite[rows])
    return [pa.array(affinity), pa.array(is_match), *_prices(rows, places, paid, catalogue)]


def _affinity(
    rows: Int64Array, places: Int64Array, acts: Acts, catalogue: CatalogueOfDay, num: int
) -> Any:
    squares, dot, known = np.zeros(num), np.zeros(len(rows)), np.zeros(len(rows))
    for words, size in zip(catalogue.words, catalogue.sizes, strict=True):
        if not size:
            continue
        value = words[acts.items]
        has_value = value >= 0
        cells = acts.customers[has_value].astype(np.int64) * size + value[has_value]
        weights = np.bincount(cells, acts.points[has_value], num * size).reshape(num, size)
        squares += np.einsum("rv,rv->r", weights, weights)
        asked = words[places]
        is_known = asked >= 0
        dot += np.where(is_known, weights[rows, asked], 0.0)
        known += is_known
    length = np.sqrt(squares)[rows] * np.sqrt(known)
    return np.where(dot > 0, np.where(dot <= length, dot / np.maximum(length, 1e-300), 1.0), 0.0)


def _favorites(acts: Acts, catalogue: CatalogueOfDay, num: int) -> Int32Array:
    """The category with most actions, then the newest one, then the first by name; -1 for none."""
    size = catalogue.sizes[0]
    favorite = np.full(num, -1, np.int32)
    if not size or not num:
        return favorite
    value = catalogue.words[0][acts.items]
    has_value = value >= 0
    cells = acts.customers[has_value].astype(np.int64) * size + value[has_value]
    counts = np.bincount(cells, minlength=num * size).reshape(num, size)
    most = counts.max(axis=1)
    is_best = (counts == most[:, None]) & (most > 0)[:, None]
    has_any = most > 0
    favorite[has_any] = counts.argmax(axis=1)[has_any]
    tied = np.flatnonzero(is_best.sum(axis=1) > 1)
    if len(tied):
        best = is_best.ravel()[cells] & np.isin(cells // size, tied)
        of, micros = cells[best], acts.micros[has_value][best]
        # Of each customer the newest, and of several the first by name, comes first.
        newest = np.lexsort((of, -micros, of // size))
        customer, first = np.unique(of[newest] // size, return_index=True)
        favorite[customer] = of[newest][first] % size
    return favorite


def _prices(
    rows: Int64Array, places: Int64Array, paid: Paid, catalogue: CatalogueOfDay
) -> Iterator[pa.Array]:
    units, purchases = paid.units[rows], paid.purchases[rows]
    price = catalogue.price[places]
    is_known = (price > 0) & catalogue.has_price[places] & np.asarray(units > 0, np.bool_)
    units, purchases, price = units[is_known], purchases[is_known], price[is_known]
    if len(price) and float(price.max()) * float(purchases.max()) > _LARGEST_SUM:
        units, price = units.astype(object), price.astype(object)
    distance = np.abs(units - price * purchases)
    is_near = np.asarray(distance < purchases * _THRESHOLD_UNITS, np.bool_)
    usual = units.astype(float) / 1e4 / purchases
    ratio = np.log(price.astype(float) / 1e4 / usual)
    for found in (is_near, ratio):
        whole = np.zeros(len(rows), found.dtype)
        whole[is_known] = found
        yield pa.array(whole, mask=~is_known)


def no_fit(size: int) -> list[pa.Array]:
    """The columns of a day that no catalogue came before."""
    return [pa.nulls(size, of) for of in FIT.types]


def _of_customers(acts: Acts, starts: Int64Array, customers: Int64Array) -> Acts:
    begins = starts[customers]
    sizes = starts[customers + 1] - begins
    rows = np.repeat(np.arange(len(customers), dtype=np.int32), sizes)
    take = np.arange(len(rows)) + np.repeat(begins - (np.cumsum(sizes) - sizes), sizes)
    return Acts(rows, *(column[take] for column in acts[1:]))


def _money(table: pa.Table, name: str) -> tuple[Int64Array, Any]:
    if name not in table.column_names:
        return np.zeros(len(table), np.int64), np.zeros(len(table), np.bool_)
    return money(table[name])
