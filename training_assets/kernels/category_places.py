"""Places to count in by customer and category: a grid, or only those that are used."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from training_assets.kernels.timelines import Ints

# Up to so many places per row, each customer and category has one to be counted in.
_MAX_PLACES: Final = 4
_LEAST: Final = np.iinfo(np.int64).min


class Counts(NamedTuple):
    """By place or by row; ``newest`` in microseconds, the least of all where nothing is counted."""

    actions: Ints
    newest: Ints
    purchases: Ints


class Places:
    """The places by customer, then by category; the first of each customer is of none, -1."""

    def __init__(self, num_customers: int, num_categories: int, keys: Sequence[Ints]) -> None:
        """``keys`` are all of which something will be counted; see ``keys_of``."""
        width = num_categories + 1
        self._known: Ints | None = None
        if num_customers * width <= _MAX_PLACES * sum(map(len, keys)):
            cells = np.arange(num_customers * width)
        else:
            none = np.arange(num_customers) * width
            self._known = cells = np.unique(np.concatenate((none, *keys)))
        self.owner, self.category = np.divmod(cells, width)
        self.category -= 1

    def counts(self, keys: Ints, rows: Counts, before: Counts | None = None) -> Counts:
        """By place: what rows with these keys come to, added to what was counted before."""
        size = len(self.owner)
        at = keys if self._known is None else np.searchsorted(self._known, keys)
        actions = np.bincount(at, rows.actions, size).astype(np.int64)
        purchases = np.bincount(at, rows.purchases, size).astype(np.int64)
        if before is None:
            newest = np.full(size, _LEAST)
        else:
            newest = before.newest.copy()
            actions += before.actions
            purchases += before.purchases
        np.maximum.at(newest, at, rows.newest)
        return Counts(actions, newest, purchases)


def keys_of(rank: Ints, category: Ints, num_categories: int) -> Ints:
    """A number for each rank of a customer and number of a category, -1 being none."""
    keys: Ints = rank * (num_categories + 1)
    keys += category
    keys += 1
    return keys
