"""Histories and the actions of their customers as rows of one kind, for the workers to compare."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import (
    Batches,
    Ints,
    files_in,
    ints,
    one_array,
    open_declared,
)
from training_assets.checks.list_pages import encoded_lists
from training_assets.checks.shape import LISTS, Lists, lists, shape_of
from training_assets.list_format import SealedParquet
from training_assets.schemas import CUSTOMER_HISTORY, UNIFIED_ACTIONS

ACTION: Final = ("occurred_at", "item_id", "action_type")
CUSTOMERS_DDL: Final = "customer_id long"
# Histories as bytes: a null for each list of each action takes Spark minutes.
BOTH_DDL: Final = (
    "customer_id long, dt date, occurred_at timestamp, item_id int, action_type tinyint, "
    "history binary"
)
BOTH: Final = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("dt", pa.date32()),
        *(UNIFIED_ACTIONS.arrow_schema.field(name) for name in ACTION),
        ("history", pa.binary()),
    ]
)
# Shares of customers are in parts of this many.
BUCKETS: Final = 1_000_000
# An action in the bytes of a history.
HISTORY: Final = np.dtype([("item", "<i4"), ("kind", "i1"), ("ago", "<i2")])
_CUSTOMERS: Final = pa.schema([("customer_id", pa.int64())])
_EPOCH: Final = date(1970, 1, 1).toordinal()

Shares = Mapping[date, int]


def is_sampled(customers: Ints, day: date, shares: Shares) -> Ints:
    """Whether each customer is in the day's share of ``BUCKETS``; on another day it is others."""
    share = shares.get(day, BUCKETS)
    if share >= BUCKETS:
        return np.ones(len(customers), bool)
    # The last steps of splitmix64, which spread any ids evenly; they overflow on purpose.
    mixed = customers.astype(np.int64).view(np.uint64) + np.uint64(
        (day.toordinal() - _EPOCH) * 0x9E3779B97F4A7C15 % 2**64
    )
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    found: Ints = mixed % np.uint64(BUCKETS) < np.uint64(share)
    return found


def sampled_customers(batches: Batches, shares: Shares) -> Iterator[pa.RecordBatch]:
    """Whose histories are compared, from files of ``customer_history``."""
    for file in files_in(batches):
        with open_declared(CUSTOMER_HISTORY, file) as parquet:
            customers = ints(parquet.read(["customer_id"])["customer_id"].drop_null())
        chosen = np.unique(customers[is_sampled(customers, file.day, shares)])
        yield pa.RecordBatch.from_arrays([pa.array(chosen)], schema=_CUSTOMERS)


def sampled_histories(
    batches: Batches, shares: Shares, history_length: int
) -> Iterator[pa.RecordBatch]:
    """Those of them that no other check finds broken already, as of ``BOTH_DDL``."""
    for file in files_in(batches):
        with open_declared(CUSTOMER_HISTORY, file) as parquet:
            for group in range(parquet.num_row_groups):
                ids = parquet.read(["customer_id"], [group], use_threads=False)["customer_id"]
                is_chosen = is_sampled(ints(ids), file.day, shares) & _is_valid(ids)
                rows = np.flatnonzero(is_chosen)
                columns = _lists_of(parquet, group, rows)
                yield _packed(
                    one_array(ids).take(pa.array(rows)), columns, file.day, history_length
                )


def pack_histories(rows: pa.RecordBatch, day: date, history_length: int) -> pa.RecordBatch:
    """The sound histories of a day as rows of ``BOTH_DDL``."""
    table = pa.Table.from_batches([rows])
    return _packed(rows["customer_id"], [lists(table[n]) for n in LISTS], day, history_length)


def _is_valid(column: pa.ChunkedArray) -> Ints:
    found: Ints = one_array(column).is_valid().to_numpy(zero_copy_only=False)
    return found


def _lists_of(parquet: SealedParquet, group: int, rows: Ints) -> list[Lists]:
    """The lists of some rows of a row group; of encoded ones only these are looked up."""
    found = []
    for name in LISTS:
        encoded = encoded_lists(parquet, group, name)
        if encoded is None:
            column = one_array(parquet.read([name], [group], use_threads=False)[name])
            found.append(lists(pa.chunked_array([column.take(pa.array(rows))])))
            continue
        sizes = encoded.sizes[rows]
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        places = encoded.places[ranges(encoded.offsets[rows], sizes)]
        found.append(Lists(offsets, encoded.dictionary.take(places), sizes))
    return found


def _packed(
    ids: pa.Array, columns: Sequence[Lists], day: date, history_length: int
) -> pa.RecordBatch:
    """The sound ones of the histories of these customers."""
    items, types, days_ago = columns
    places = np.flatnonzero(shape_of((items, types, days_ago), history_length).is_sound)
    sizes = items.sizes[places]
    ends = np.concatenate(([0], np.cumsum(sizes)))
    actions = np.empty(ends[-1], HISTORY)
    for name, column in zip(actions.dtype.names or (), columns, strict=True):
        actions[name] = column.values[ranges(column.offsets[places], sizes)]
    bounds = pa.py_buffer((ends * HISTORY.itemsize).astype(np.int64))
    packed = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(places), [None, bounds, pa.py_buffer(actions)]
    )
    nothing = [pa.nulls(len(places), BOTH.field(name).type) for name in ACTION]
    arrays = [
        ids.take(pa.array(places)),
        pa.repeat(pa.scalar(day), len(places)),
        *nothing,
        packed.cast(pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=BOTH)


def unpack_histories(histories: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Actions of all histories, as ``HISTORY``, one after another; the number of each."""
    sizes = pc.binary_length(histories).to_numpy().astype(np.int64) // HISTORY.itemsize
    parts = [np.empty(0, HISTORY)]
    for chunk in histories.chunks:
        _, offsets, data = chunk.buffers()
        bounds = np.frombuffer(offsets, np.int32)[chunk.offset :][: len(chunk) + 1]
        if len(chunk) and data is not None:
            parts.append(np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]].view(HISTORY))
    return np.concatenate(parts), sizes


def ranges(starts: Ints, sizes: Ints) -> Ints:
    """Positions of all ranges, one after another: of 5 and 9, two each, 5, 6, 9, 10."""
    ends = np.cumsum(sizes)
    positions: Ints = np.repeat(starts - (ends - sizes), sizes)
    positions += np.arange(len(positions))
    return positions
