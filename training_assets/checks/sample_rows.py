"""What customers have acted on, for the checks of samples: read by the workers, file by file."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import (
    Batches,
    Ints,
    files_in,
    ints,
    of_customers,
    open_declared,
)
from training_assets.schemas import RETURN, UNIFIED_ACTIONS

ACTED_DDL: Final = "action_dt date, customer_id long, item_id int"
_PAIR: Final = ("customer_id", "item_id")
# Places for pairs, each a bit of what travels to the workers.
_PLACES: Final = 2**22
_ODD: Final = 0x9E3779B1


class Pairs(NamedTuple):
    """Pairs of a customer and an item: where a place is empty, there is no such pair.

    Several pairs may share a place, so some that are none of them seem to be.
    """

    customers: Ints
    places: Ints

    @classmethod
    def of(cls, rows: pa.Table) -> "Pairs":
        is_taken = np.zeros(_PLACES, bool)
        is_taken[_places_of(rows)] = True
        return cls(np.unique(ints(rows["customer_id"])), np.packbits(is_taken))

    def among(self, rows: pa.Table) -> pa.Table:
        """All rows with one of the pairs, and few others."""
        of_any = of_customers(rows, self.customers)
        places = _places_of(of_any)
        is_taken = self.places[places >> 3] >> (7 - (places & 7)) & 1
        return of_any.filter(pa.array(is_taken.astype(bool)))


def _places_of(rows: pa.Table) -> Ints:
    customers, items = (ints(rows[name]).astype(np.int64) for name in _PAIR)
    mixed = customers * _ODD + items
    mixed ^= mixed >> 21
    mixed &= _PLACES - 1
    return mixed


def acted_on(batches: Batches, pairs: Pairs | None) -> Iterator[pa.RecordBatch]:
    """Which customers have acted on which items, from ``unified_actions``: rows of ``ACTED_DDL``.

    All of a file once, or those of some ``pairs``, among others, however often.
    """
    for file in files_in(batches):
        with open_declared(UNIFIED_ACTIONS, file) as parquet:
            rows = parquet.read([*_PAIR, "action_type"], use_threads=False)
        if pairs is not None:
            rows = pairs.among(rows)
        rows = rows.filter(pc.not_equal(rows["action_type"], RETURN)).select(list(_PAIR))
        if pairs is None:
            rows = rows.group_by(list(_PAIR), use_threads=False).aggregate([]).select(list(_PAIR))
        day = pa.repeat(pa.scalar(file.day), len(rows))
        yield from rows.add_column(0, "action_dt", day).combine_chunks().to_batches()
