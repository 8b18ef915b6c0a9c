"""Actions of some customers as far as their histories may hold them, read by the workers.

A customer of whom a worker has seen as many actions as a history can have needs none that were
before all of these: of those who act often, most actions of a year are left out where they are
read. Days are read from the newest one on, so that this comes soon.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import Batches, File, Ints, files_in, ints, open_declared
from training_assets.checks.history_rows import ACTION, BOTH
from training_assets.schemas import UNIFIED_ACTIONS

_ACTIONS_PER_BATCH: Final = 2**16
_ANY_TIME: Final = np.iinfo(np.int64).min
_NEVER: Final = np.iinfo(np.int64).max


class Wanted(NamedTuple):
    """Histories of some ``customers``: which actions count, and how many of them.

    Actions of ``common`` days count for every history of a customer, those of others for some.
    """

    customers: Ints
    types: Sequence[int]
    with_bots: bool
    length: int
    common: frozenset[date]


def actions_of(batches: Batches, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    """Rows of ``BOTH_DDL`` from files of ``unified_actions``, among them all that can matter."""
    if not len(wanted.customers):
        return
    seen = _Seen.of(wanted)
    held: list[pa.Table] = []
    num_held = 0
    for file in sorted(files_in(batches), key=lambda file: file.day, reverse=True):
        held.append(_actions_of(file, wanted, seen))
        num_held += len(held[-1])
        if num_held >= _ACTIONS_PER_BATCH:
            yield from pa.concat_tables(held).combine_chunks().to_batches()
            held, num_held = [], 0
    if num_held:
        yield from pa.concat_tables(held).combine_chunks().to_batches()


class _Seen(NamedTuple):
    """By customer (ascending): how many actions of common days were seen, and the first of them.

    ``matters_from`` is the time before which an action can be in no history any more: there are
    enough, none of which was earlier than that.
    """

    customers: Ints
    seen: Ints
    first: Ints
    matters_from: Ints

    @classmethod
    def of(cls, wanted: Wanted) -> "_Seen":
        customers = np.unique(wanted.customers)
        size = len(customers)
        return cls(
            customers,
            np.zeros(size, np.int64),
            np.full(size, _NEVER),
            np.full(size, _ANY_TIME),
        )

    def add(self, codes: Ints, times: Ints, length: int) -> None:
        """Actions of a common day; ``codes`` are places among the customers."""
        self.seen[:] += np.bincount(codes, minlength=len(self.seen))
        np.minimum.at(self.first, codes, times)
        is_enough = (self.seen >= length) & (self.matters_from == _ANY_TIME)
        self.matters_from[is_enough] = self.first[is_enough]


def _actions_of(file: File, wanted: Wanted, seen: _Seen) -> pa.Table:
    columns = ["customer_id", *ACTION]
    with open_declared(UNIFIED_ACTIONS, file) as parquet:
        rows = parquet.read([*columns, "is_bot"], use_threads=False)
    # Each run of a customer's rows is looked up once.
    ids, times = ints(rows["customer_id"]), ints(rows["occurred_at"])
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1]))[: len(ids)])
    sizes, some = np.diff(starts, append=len(ids)), ids[starts]
    codes = np.searchsorted(seen.customers, some)
    is_theirs = seen.customers.take(codes, mode="clip") == some
    since = np.where(is_theirs, seen.matters_from.take(codes, mode="clip"), _NEVER)
    matters = times >= np.repeat(since, sizes)
    counts = pc.is_in(rows["action_type"], pa.array(wanted.types, pa.int8()))
    if not wanted.with_bots:
        counts = pc.and_not(counts, pc.fill_null(rows["is_bot"], False))
    matters &= counts.to_numpy()
    if file.day in wanted.common:
        seen.add(np.repeat(codes, sizes)[matters], times[matters], wanted.length)
    found = rows.select(columns).filter(pa.array(matters))
    found = found.add_column(1, "dt", pa.repeat(pa.scalar(file.day), len(found)))
    return found.append_column("history", pa.nulls(len(found), pa.binary())).cast(BOTH)
