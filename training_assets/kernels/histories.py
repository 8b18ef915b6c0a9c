"""Makes histories, and compacts actions, for one range of customers at a time.

A task is a range of customer ids: it reads their actions from the files itself, so that nothing
but the requests (customer, day) has to be shuffled, and holds one range at a time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training_assets.kernels.action_files import EVERYTHING, ActionFile, ActionReader, Wanted
from training_assets.kernels.day_files import (
    PART,
    HistoryColumns,
    encoded_histories,
    encoded_in_order,
    ints,
    runs,
    write_part,
    written_batch,
)
from training_assets.kernels.timelines import (
    Histories,
    Ints,
    Timelines,
    in_order,
    newest_per_group,
)
from training_assets.list_format import JaggedLists, ListFormat

TASK: Final = "task"
REQUESTS_DDL: Final = "dt date, customer_id long, task int"
CUTS_DDL: Final = "day int, customers array<long>"
HISTORIES_DDL: Final = "dt date, part int, first long, rows int, entries int, packed binary"
COMPACTIONS_DDL: Final = "task int, day int, part int, low long, high long"

_REQUESTS: Final = pa.schema([("dt", pa.date32()), ("customer_id", pa.int64()), (TASK, pa.int32())])
_NONE: Final = pa.RecordBatch.from_pylist(
    [], pa.schema([("dt", pa.date32()), ("customer_id", pa.int64())])
)
_CUTS: Final = pa.schema([("day", pa.int32()), ("customers", pa.list_(pa.int64()))])
_HISTORIES: Final = pa.schema(
    [
        ("dt", pa.date32()),
        (PART, pa.int32()),
        ("first", pa.int64()),
        ("rows", pa.int32()),
        ("entries", pa.int32()),
        ("packed", pa.binary()),
    ]
)
# Arrays of a pack stay small enough for memory that was used before to be used again.
_REQUESTS_PER_PACK: Final = 2_048

Batches = Iterable[pa.RecordBatch]


def assign_tasks(batches: Batches, boundaries: Ints) -> Iterator[pa.RecordBatch]:
    """Requests (dt, customer_id) with the task whose range holds the customer.

    Task ``n`` has the customers from ``boundaries[n - 1]`` to before ``boundaries[n]``.
    """
    for batch in batches:
        tasks = np.searchsorted(boundaries, batch["customer_id"].to_numpy(), side="right")
        columns = [batch["dt"], batch["customer_id"], pa.array(tasks.astype(np.int32))]
        yield pa.RecordBatch.from_arrays(columns, schema=_REQUESTS)


def cut_days(batches: Batches, files: Mapping[int, int]) -> Iterator[pa.RecordBatch]:
    """Cuts the customers of each day with that many ``files`` into parts of equal size.

    A row has a day, all requests of which are in the batches, and the first customers of its parts
    after the first.
    """
    requests = pa.Table.from_batches([batch for batch in batches if batch.num_rows] or [_NONE])
    days, customers = ints(requests["dt"]), ints(requests["customer_id"])
    found = []
    for day in np.unique(days):
        if (count := files.get(int(day), 1)) > 1:
            distinct = np.unique(customers[days == day])
            places = np.arange(1, count) * len(distinct) // count
            found.append((int(day), np.unique(distinct[places]).tolist()))
    columns = zip(*found, strict=True) if found else ((), ())
    arrays = [pa.array(c, f.type) for c, f in zip(columns, _CUTS, strict=True)]
    yield pa.RecordBatch.from_arrays(arrays, schema=_CUTS)


def build_histories(
    batches: Batches,
    files: Sequence[ActionFile],
    *,
    cuts: Mapping[int, Sequence[int]],
    history_length: int,
    lookback_days: int | None,
    wanted: Wanted = EVERYTHING,
) -> Iterator[pa.RecordBatch]:
    """Histories of requests that have a task, for ``write_histories``.

    ``files`` hold all actions of the look-back of every request, and may hold others; of them the
    ``wanted`` ones count. ``cuts`` has by day the first customers of the files after its first. A
    row has many histories of one day, packed as bytes: an engine moves those as they are, where it
    would take lists apart and put them together again.
    """
    requests = pa.Table.from_batches(list(batches), schema=_REQUESTS)
    tasks, customers, days = (ints(requests[name]) for name in (TASK, "customer_id", "dt"))
    reader = ActionReader(
        files, customers=np.unique(customers), history_length=history_length, wanted=wanted
    )
    for task in np.unique(tasks):
        rows = np.flatnonzero(tasks == task)
        # A customer with several rankings a day has one history.
        rows = rows[np.lexsort((customers[rows], days[rows]))]
        is_new = np.ones(len(rows), bool)
        is_new[1:] = (np.diff(customers[rows]) != 0) | (np.diff(days[rows]) != 0)
        rows = rows[is_new]
        of_task = customers[rows]
        timelines = Timelines.of(reader.read(int(of_task.min()), int(of_task.max())))
        # Looked up once for all days, and narrower than the items.
        dictionary, places = _dictionary(timelines.item)
        timelines = replace(timelines, item=places)
        for day, part, some in _packs(rows, customers, days, cuts):
            histories = timelines.histories(
                customers[some],
                days[some],
                history_length=history_length,
                lookback_days=lookback_days,
            )
            yield _packed(day, part, customers[some], histories, dictionary)


def _packs(
    rows: Ints, customers: Ints, days: Ints, cuts: Mapping[int, Sequence[int]]
) -> Iterator[tuple[int, int, Ints]]:
    """(day, part, rows) of each pack; ``rows`` are in order of day and customer."""
    for of_day in runs(rows, days):
        day = int(days[of_day[0]])
        starts = np.searchsorted(customers[of_day], np.array(cuts.get(day, ()), np.int64))
        for part, of_part in enumerate(np.split(of_day, starts)):
            for low in range(0, len(of_part), _REQUESTS_PER_PACK):
                yield day, part, of_part[low : low + _REQUESTS_PER_PACK]


def _dictionary(items: Ints) -> tuple[Ints, Ints]:
    """(distinct items, ascending; for each item its place among them)."""
    encoded = pa.array(items).dictionary_encode()
    found = encoded.dictionary.to_numpy()
    order = np.argsort(found)
    rank = np.empty(len(found), _place_type(len(found)))
    rank[order] = np.arange(len(found))
    return found.take(order), rank.take(encoded.indices.to_numpy())


def _place_type(entries: int) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if entries <= 2**16 else np.uint32


def _packed(
    day: int, part: int, customers: Ints, histories: Histories, dictionary: Ints
) -> pa.RecordBatch:
    """Histories whose items are places in the dictionary."""
    columns = (
        customers.astype(np.int64, copy=False),
        np.diff(histories.offsets).astype(np.int32),
        dictionary.astype(np.int32, copy=False),
        histories.items,
        histories.days_ago,
        histories.kinds,
    )
    # Put together where it stays: each copy of the values would cost as much as making them.
    packed, end = np.empty(sum(column.nbytes for column in columns), np.uint8), 0
    for column in columns:
        start, end = end, end + column.nbytes
        packed[start:end].view(column.dtype)[:] = column
    bounds = pa.py_buffer(np.array([0, end], np.int32))
    values = (day, part, int(customers[0]), len(customers), len(dictionary))
    arrays = [pa.array([v], f.type) for v, f in zip(values, _HISTORIES, strict=False)]
    arrays.append(pa.Array.from_buffers(pa.binary(), 1, [None, bounds, pa.py_buffer(packed)]))
    return pa.RecordBatch.from_arrays(arrays, schema=_HISTORIES)


def _unpacked(packed: memoryview, rows: int, entries: int) -> HistoryColumns:
    place = np.dtype(_place_type(entries))
    num_actions = (len(packed) - rows * 12 - entries * 4) // (place.itemsize + 3)
    found, start = [], 0
    for dtype, count in (
        (np.int64, rows),
        (np.int32, rows),
        (np.int32, entries),
        (place, num_actions),
        (np.int16, num_actions),
        (np.int8, num_actions),
    ):
        found.append(np.frombuffer(packed, dtype, count, start))
        start += count * np.dtype(dtype).itemsize
    customers, sizes, dictionary, items, days_ago, kinds = found
    offsets = np.zeros(rows + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return HistoryColumns(
        customers,
        JaggedLists(items, offsets, dictionary),
        JaggedLists(kinds, offsets),
        JaggedLists(days_ago, offsets),
    )


def _views(packs: pa.BinaryArray) -> Iterator[memoryview]:
    """The bytes of each value where they lie; a scalar would be a copy."""
    _, offsets, data = packs.buffers()
    bounds = np.frombuffer(offsets, np.int32)[packs.offset :][: len(packs) + 1]
    view = memoryview(data) if data else memoryview(b"")
    for low, high in pairwise(bounds):
        yield view[low:high]


def write_histories(
    batches: Batches, root: str, run: str, list_format: ListFormat = "lists"
) -> Iterator[pa.RecordBatch]:
    """``customer_history`` of packed histories, in any order; yields what ``WRITTEN_DDL`` says.

    ``root`` is the folder of the table, ``run`` 12 hexadecimal digits.
    """
    table = pa.Table.from_batches(list(batches), schema=_HISTORIES)
    day, part, first, rows, entries = (ints(table[name]) for name in _HISTORIES.names[:-1])
    packed = [pack for chunk in table["packed"].chunks for pack in _views(chunk)]
    written = []
    # Customers ascend within a pack, and no two packs of a day have customers in common.
    for packs in runs(np.lexsort((first, part, day)), day, part):
        columns = [_unpacked(packed[n], rows[n], entries[n]) for n in packs]
        place = int(day[packs[0]]), int(part[packs[0]])
        customers = np.concatenate([column.customers for column in columns])
        parquet = encoded_histories(columns, list_format)
        written.append(write_part(root, run, *place, parquet, customers))
    yield written_batch(written)


def compact(
    batches: Batches,
    files: Mapping[int, Sequence[ActionFile]],
    roots: Mapping[int, str],
    run: str,
    history_length: int,
    wanted: Wanted = EVERYTHING,
) -> Iterator[pa.RecordBatch]:
    """Write the wanted actions of many days as one file per task, as few as a history can need.

    A task is (first day of the block, part, customers from low to high). Of each customer the
    newest ``history_length`` of the block are kept: where the whole block counts for a history,
    no other of its actions can be in it. ``files`` and ``roots`` (folders to write to) are by
    block. Yields what ``WRITTEN_DDL`` says.
    """
    tasks = [task for batch in batches for task in batch.to_pylist()]
    written, readers = [], {}
    for task in sorted(tasks, key=lambda task: (task["day"], task["low"])):
        if task["day"] not in readers:
            of_block = files[task["day"]]
            reader = ActionReader(
                of_block, customers=None, history_length=history_length, wanted=wanted
            )
            readers = {task["day"]: reader}
        actions = readers[task["day"]].read(task["low"], task["high"])
        kept = newest_per_group(in_order(actions), history_length, by_day=False)
        if len(kept):
            parquet = encoded_in_order(kept)
            root, place = roots[task["day"]], (task["day"], task[PART])
            written.append(write_part(root, run, *place, parquet, kept.customer))
    yield written_batch(written)
