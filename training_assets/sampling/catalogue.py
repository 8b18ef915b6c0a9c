"""The catalogue as of a day of samples, as arrays over the items that a task knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.kernels.day_files import ints
from training_assets.list_format import SealedParquet
from training_assets.sampling.rules import Int32Array, Int64Array

_WORDS: Final = ("category", "subcategory", "brand")
_UNKNOWN: Final = "unknown"
_QUARTILES: Final = 4

Uris = tuple[str, ...]


@dataclass(frozen=True)
class Catalogues:
    """Files of snapshots, each of which has all items; a day that none came before is absent.

    as_of: by day of samples the newest snapshot before it; prices: by day of actions the newest
    one of that day or before.
    """

    as_of: Mapping[int, Uris] = field(default_factory=dict)
    prices: Mapping[int, Uris] = field(default_factory=dict)

    def items(self) -> list[Int32Array]:
        """Those of each snapshot that samples are as of."""
        snapshots = sorted(set(self.as_of.values()) - {()})
        return [ints(_read(uris, ["item_id"])["item_id"]).astype(np.int32) for uris in snapshots]


@dataclass(frozen=True)
class CatalogueOfDay:
    """By place in a task's universe of U items; -1 where a value is not known.

    words: int32 [U] for each of category, subcategory, brand and price quartile (of the item's
    category, among active items); sizes: how many values each has. Categories ascend with their
    names. price: int64 [U], in units of 1/10,000; has_price: bool [U].
    """

    words: tuple[Int32Array, ...]
    sizes: tuple[int, ...]
    price: Int64Array
    has_price: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, uris: Uris, universe: Int32Array) -> "CatalogueOfDay":
        table = _read(uris, ["item_id", *_WORDS, "price", "is_active"])
        place = np.searchsorted(universe, ints(table["item_id"]))
        codes, sizes = zip(*(_codes(table[name]) for name in _WORDS), strict=True)
        price, has_price = money(table["price"])
        is_active = np.asarray(pc.fill_null(table["is_active"], True))
        quartile = _quartiles(codes[0], price, is_active & has_price & (codes[0] >= 0))
        words = (_spread(found, place, len(universe), -1) for found in (*codes, quartile))
        return cls(
            tuple(words),
            (*sizes, _QUARTILES),
            _spread(price, place, len(universe), 0),
            _spread(has_price, place, len(universe), False),
        )


class Prices:
    """Prices of items as of days of actions; only the snapshot that was asked last stays."""

    def __init__(self, catalogues: Catalogues) -> None:
        self._catalogues = catalogues
        self._uris: Uris = ()
        self._known: tuple[Any, Any, Any] = (np.zeros(0, np.int64),) * 3

    def of(self, items: Int64Array, day: int) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
        """In units of 1/10,000, and whether it is known."""
        uris = self._catalogues.prices.get(day, ())
        if uris and uris != self._uris:
            table = _read(uris, ["item_id", "price"])
            ids = ints(table["item_id"])
            order = np.argsort(ids, kind="stable")
            price, is_known = money(table["price"])
            self._uris, self._known = uris, (ids[order], price[order], is_known[order])
        ids, price, is_known = self._known
        if not uris or not len(ids):
            return np.zeros(len(items), np.int64), np.zeros(len(items), np.bool_)
        place = np.minimum(np.searchsorted(ids, items), len(ids) - 1)
        return price[place], is_known[place] & (ids[place] == items)


def money(column: pa.ChunkedArray) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
    """decimal(18,4) in units of 1/10,000, and which rows are not null."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    is_known = np.asarray(array.is_valid())
    if not len(array):
        return np.zeros(0, np.int64), is_known
    # 128 bits each, of which 18 digits fill the lower half.
    halves = np.frombuffer(array.buffers()[1], "<i8")
    units = halves[2 * array.offset : 2 * (array.offset + len(array)) : 2]
    return np.where(is_known, units, 0), is_known


def _read(uris: Sequence[str], names: Sequence[str]) -> pa.Table:
    parts = []
    for uri in uris:
        with SealedParquet(uri) as parquet:
            parts.append(parquet.read(names, use_threads=False))
    return pa.concat_tables(parts)


def _codes(column: pa.ChunkedArray) -> tuple[Int32Array, int]:
    """The place of each word among all of them in order, -1 where it is not known."""
    words = sorted({w for w in pc.unique(column).to_pylist() if w is not None} - {_UNKNOWN})
    found = pc.index_in(column.combine_chunks(), value_set=pa.array(words, pa.string()))
    return np.asarray(pc.fill_null(found, -1)), len(words)


def _quartiles(category: Int32Array, price: Int64Array, is_ranked: Any) -> Int32Array:
    """0 to 3 by percent_rank of the price in the category, ties the lowest rank; else -1."""
    rows = np.flatnonzero(is_ranked)
    rows = rows[np.lexsort((price[rows], category[rows]))]
    own, at = category[rows], np.arange(len(rows))
    is_first = np.diff(own, prepend=-1) != 0
    starts = np.flatnonzero(is_first)
    sizes = np.diff(starts, append=len(rows))
    begins = np.repeat(starts, sizes)
    is_dearer = is_first | (np.diff(price[rows], prepend=-1) != 0)
    rank = np.maximum.accumulate(np.where(is_dearer, at, 0)) - begins
    share = rank / np.maximum(np.repeat(sizes, sizes) - 1, 1)
    found = np.full(len(category), -1, np.int32)
    found[rows] = np.minimum(np.floor(share * _QUARTILES), _QUARTILES - 1)
    return found


def _spread(values: npt.NDArray[Any], place: Any, size: int, empty: Any) -> npt.NDArray[Any]:
    found = np.full(size, empty, values.dtype)
    found[place] = values
    return found
