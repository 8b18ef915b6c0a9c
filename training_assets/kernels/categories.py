"""The categories of items, as numbers that are looked up by item."""

import hashlib
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.kernels.day_files import ints
from training_assets.kernels.timelines import Ints

# Ids up to here are looked up in a table with a place for each.
_MAX_DENSE_ID: Final = 2**23


class Categories(NamedTuple):
    """Of each of the ``items``, which ascend, the place of its name in order, or -1."""

    items: Ints
    places: Ints
    names: tuple[str, ...]

    @classmethod
    def of(cls, table: pa.Table) -> "Categories":
        """From columns item_id and category."""
        table = table.sort_by("item_id")
        known = pc.unique(table["category"].cast(pa.string())).drop_null()
        # As engines order text: by its bytes.
        names = sorted(known.to_pylist())
        places = pc.index_in(table["category"].cast(pa.string()), pa.array(names, pa.string()))
        numbers = ints(pa.chunked_array([pc.fill_null(places.combine_chunks(), -1)]))
        return cls(ints(table["item_id"].cast(pa.int64())), numbers, tuple(names))

    def is_same(self, other: "Categories") -> bool:
        return self.names == other.names and all(map(np.array_equal, self[:2], other[:2]))

    def only(self, items: Ints) -> tuple["Categories", Ints]:
        """Those of ``items``, which ascend, with names that these have; and their places here."""
        places = self.look_up(items)
        is_known = places >= 0
        used, numbers = np.unique(places[is_known], return_inverse=True)
        names = tuple(self.names[place] for place in used)
        return Categories(items[is_known], numbers, names), used

    @property
    def hash(self) -> str:
        """The same for the same categories of the same items."""
        told = hashlib.blake2b(repr(self.names).encode(), digest_size=16)
        for column in self[:2]:
            told.update(column.astype(np.int64).tobytes())
        return told.hexdigest()

    def look_up(self, items: Ints) -> Ints:
        if not len(self.items) or not len(items):
            return np.full(len(items), -1)
        highest = max(int(self.items[-1]), int(items.max()))
        if highest <= _MAX_DENSE_ID:
            table = np.full(highest + 1, -1, np.int64)
            table[self.items] = self.places
            dense: Ints = table[items]
            return dense
        found = np.minimum(np.searchsorted(self.items, items), len(self.items) - 1)
        places: Ints = np.where(self.items[found] == items, self.places[found], -1)
        return places


NO_CATEGORIES: Final = Categories(np.empty(0, np.int64), np.empty(0, np.int64), ())
