"""Which pairs a base has: what a day asks of the pairs of a year, of which it reads no more."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training_assets.kernels.pair_state import Files, Pairs, read_columns, read_raw, starts_of
from training_assets.kernels.timelines import Ints

# The newest items of customers, and how many items each has met.
LISTS: Final = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("item_id", pa.int32()),
        ("newest", pa.int64()),
        ("pairs", pa.int32()),
    ]
)


class Known:
    """Pairs by customer, of whom each has ``sizes`` of the items, which ascend."""

    def __init__(self, customers: Ints, sizes: Ints, item: Ints) -> None:
        self.customers, self.sizes, self._item = customers, sizes, item
        self._starts = np.cumsum(sizes) - sizes

    @classmethod
    def of(cls, pairs: Pairs) -> "Known":
        starts = starts_of(pairs.customer)
        sizes = np.diff(starts, append=len(pairs.customer))
        return cls(pairs.customer[starts], sizes, pairs.item)

    def has(self, pairs: Pairs) -> npt.NDArray[np.bool_]:
        """Which of these pairs, in order, are among the known ones.

        Each is looked for among the items of its customer alone, all of them at once.
        """
        if not len(self._item) or not len(pairs.item):
            return np.zeros(len(pairs.item), np.bool_)
        starts = starts_of(pairs.customer)
        here = pairs.customer[starts]
        place = np.minimum(np.searchsorted(self.customers, here), len(self.customers) - 1)
        exists, rows = self.customers[place] == here, np.diff(starts, append=len(pairs.item))
        low = np.repeat(self._starts[place], rows)
        left = np.repeat(np.where(exists, self.sizes[place], 0), rows)
        end = low + left
        # The first item that is not less lies ``left`` or fewer rows from ``low``.
        for _ in range(int(left.max()).bit_length()):
            half = left >> 1
            is_less = self._item.take(low + half - 1, mode="clip") < pairs.item
            low += half * is_less
            left -= half
        low += (left > 0) & (self._item.take(low, mode="clip") < pairs.item)
        found: npt.NDArray[np.bool_] = self._item.take(low, mode="clip") == pairs.item
        return found & (low < end)


class Lists(NamedTuple):
    """The newest items of customers: by customer, newest first, ties by item.

    ``customer`` may be an id or a rank.
    """

    customer: Ints
    item: Ints
    newest: Ints


class BaseFiles(NamedTuple):
    """The files of a base by part: its pairs, and the lists of its customers."""

    pairs: Files
    lists: Files

    def read(self, part: int) -> tuple[Known, Lists]:
        customer, item, newest, sizes = read_columns(self.lists.get(part, ()), LISTS.names)
        starts = starts_of(customer)
        # As they are stored, because they are many.
        items = [read_raw(file, ("item_id",))[0] for file in self.pairs.get(part, ())]
        known = Known(customer[starts], sizes[starts], np.concatenate(items or [sizes[:0]]))
        return known, Lists(customer, item, newest)
