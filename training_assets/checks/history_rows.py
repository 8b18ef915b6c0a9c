"""Histories and the actions of their customers as rows of one kind, for the workers to compare."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import (
    Batches,
    File,
    Ints,
    files_in,
    ints,
    open_declared,
)
from training_assets.checks.shape import LISTS, Lists, lists, shape_of
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
# Of items, types and days ago in the bytes of a history.
_DTYPES: Final[tuple[np.dtype[Any], ...]] = tuple(map(np.dtype, ("i4", "i1", "i2")))
_ACTIONS_PER_BATCH: Final = 2**16
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
    columns = ["customer_id", *LISTS]
    for file in files_in(batches):
        with open_declared(CUSTOMER_HISTORY, file) as parquet:
            for rows in parquet.iter_batches(columns=columns, use_threads=False):
                known = rows.filter(rows["customer_id"].is_valid())
                is_chosen = is_sampled(known["customer_id"].to_numpy(), file.day, shares)
                yield pack_histories(known.filter(pa.array(is_chosen)), file.day, history_length)


def pack_histories(rows: pa.RecordBatch, day: date, history_length: int) -> pa.RecordBatch:
    """The sound histories of a day as rows of ``BOTH_DDL``."""
    table = pa.Table.from_batches([rows])
    columns = tuple(lists(table[name]) for name in LISTS)
    places = np.flatnonzero(shape_of((columns[0], columns[1], columns[2]), history_length).is_sound)
    packed = [_packed(columns, int(place)) for place in places]
    nothing = [pa.nulls(len(places), BOTH.field(name).type) for name in ACTION]
    arrays = [
        rows["customer_id"].take(pa.array(places)),
        pa.repeat(pa.scalar(day), len(places)),
        *nothing,
        pa.array(packed, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=BOTH)


def _packed(columns: "tuple[Lists, ...]", place: int) -> bytes:
    return b"".join(
        column.values[column.offsets[place] : column.offsets[place + 1]].astype(dtype).tobytes()
        for column, dtype in zip(columns, _DTYPES, strict=True)
    )


def unpack_history(history: bytes) -> list[Ints]:
    """Items, types and days ago."""
    size = len(history) // sum(dtype.itemsize for dtype in _DTYPES)
    found, start = [], 0
    for dtype in _DTYPES:
        found.append(np.frombuffer(history, dtype, size, start))
        start += size * dtype.itemsize
    return found


def actions_of(
    batches: Batches, customers: Ints, types: Sequence[int], *, with_bots: bool
) -> Iterator[pa.RecordBatch]:
    """Actions of some customers, as of ``BOTH_DDL``, from files of ``unified_actions``.

    Those of other ``types`` are left out, and of customers who acted like a machine, unless
    ``with_bots``.
    """
    customers = np.sort(customers)
    held: list[pa.Table] = []
    num_held = 0
    for file in files_in(batches) if len(customers) else ():
        held.append(_actions_of(file, customers, types, with_bots))
        num_held += len(held[-1])
        if num_held >= _ACTIONS_PER_BATCH:
            yield from pa.concat_tables(held).combine_chunks().to_batches()
            held, num_held = [], 0
    if num_held:
        yield from pa.concat_tables(held).combine_chunks().to_batches()


def _actions_of(file: File, customers: Ints, types: Sequence[int], with_bots: bool) -> pa.Table:
    columns = ["customer_id", *ACTION]
    with open_declared(UNIFIED_ACTIONS, file) as parquet:
        rows = parquet.read([*columns, "is_bot"], use_threads=False)
    counts = pc.is_in(rows["action_type"], pa.array(types, pa.int8()))
    if not with_bots:
        counts = pc.and_not(counts, pc.fill_null(rows["is_bot"], False))
    rows = rows.select(columns)
    if not pc.all(counts, min_count=0).as_py():
        rows = rows.filter(counts)
    ids = ints(rows["customer_id"])
    # Each run of one customer is looked up once.
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1]))[: len(ids)])
    some = ids[starts]
    is_theirs = customers.take(np.searchsorted(customers, some), mode="clip") == some
    found = rows.filter(pa.array(np.repeat(is_theirs, np.diff(starts, append=len(ids)))))
    found = found.add_column(1, "dt", pa.repeat(pa.scalar(file.day), len(found)))
    return found.append_column("history", pa.nulls(len(found), pa.binary())).cast(BOTH)
