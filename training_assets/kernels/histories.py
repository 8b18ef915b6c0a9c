"""Makes histories, and compacts actions, for one range of customers at a time.

A task is a range of customer ids: it reads their actions from the files itself, so that nothing
but the requests (customer, day) has to be shuffled, and holds one range at a time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa

from training_assets.kernels.action_files import ActionFile, read_actions
from training_assets.kernels.day_files import (
    PART,
    day_file,
    ints,
    runs,
    write_history_file,
    write_ordered_actions,
    written_batch,
)
from training_assets.kernels.list_parquet import JaggedLists
from training_assets.kernels.timelines import (
    Histories,
    Ints,
    Timelines,
    in_order,
    newest_per_group,
)

TASK: Final = "task"
REQUESTS_DDL: Final = "dt date, customer_id long, task int"
HISTORIES_DDL: Final = "dt date, part int, first long, rows int, packed binary"
COMPACTIONS_DDL: Final = "task int, day int, part int, low long, high long"
COMPACTED_DDL: Final = "day int, part int, rows long"

_REQUESTS: Final = pa.schema([("dt", pa.date32()), ("customer_id", pa.int64()), (TASK, pa.int32())])
_HISTORIES: Final = pa.schema(
    [
        ("dt", pa.date32()),
        (PART, pa.int32()),
        ("first", pa.int64()),
        ("rows", pa.int32()),
        ("packed", pa.binary()),
    ]
)
_COMPACTED: Final = pa.schema([("day", pa.int32()), (PART, pa.int32()), ("rows", pa.int64())])
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


def build_histories(
    batches: Batches,
    files: Sequence[ActionFile],
    *,
    parts: Sequence[int],
    history_length: int,
    lookback_days: int | None,
) -> Iterator[pa.RecordBatch]:
    """Histories of requests that have a task, for ``write_histories``.

    ``files`` hold all actions of the look-back of every request, and may hold others; ``parts`` has
    the file of each task. A row has many histories of one day, packed as bytes: an engine moves
    those as they are, where it would take lists apart and put them together again.
    """
    requests = pa.Table.from_batches(list(batches), schema=_REQUESTS)
    tasks, customers, days = (ints(requests[name]) for name in (TASK, "customer_id", "dt"))
    for task in np.unique(tasks):
        rows = np.flatnonzero(tasks == task)
        # A customer with several rankings a day has one history.
        rows = rows[np.lexsort((customers[rows], days[rows]))]
        is_new = np.ones(len(rows), bool)
        is_new[1:] = (np.diff(customers[rows]) != 0) | (np.diff(days[rows]) != 0)
        rows = rows[is_new]
        wanted = np.unique(customers[rows])
        actions = read_actions(
            files,
            low=int(wanted[0]),
            high=int(wanted[-1]),
            customers=wanted,
            history_length=history_length,
        )
        timelines = Timelines.of(actions)
        for of_day in runs(rows, days):
            for low in range(0, len(of_day), _REQUESTS_PER_PACK):
                some = of_day[low : low + _REQUESTS_PER_PACK]
                histories = timelines.histories(
                    customers[some],
                    days[some],
                    history_length=history_length,
                    lookback_days=lookback_days,
                )
                yield _packed(int(days[some[0]]), parts[task], customers[some], histories)


def _packed(day: int, part: int, customers: Ints, histories: Histories) -> pa.RecordBatch:
    sizes = np.diff(histories.offsets).astype(np.int32)
    columns = (customers, sizes, histories.items, histories.days_ago, histories.kinds)
    packed = b"".join(column.tobytes() for column in columns)
    values = (day, part, int(customers[0]), len(customers), packed)
    arrays = [pa.array([v], f.type) for v, f in zip(values, _HISTORIES, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_HISTORIES)


def _unpacked(packed: memoryview, rows: int) -> tuple[Ints, ...]:
    """(customers, sizes, items, types, days ago)."""
    num_actions = (len(packed) - rows * 12) // 7
    found, start = [], 0
    for dtype, count in (
        (np.int64, rows),
        (np.int32, rows),
        (np.int32, num_actions),
        (np.int16, num_actions),
        (np.int8, num_actions),
    ):
        found.append(np.frombuffer(packed, dtype, count, start))
        start += count * np.dtype(dtype).itemsize
    customers, sizes, items, days_ago, kinds = found
    return customers, sizes, items, kinds, days_ago


def _views(packs: pa.BinaryArray) -> Iterator[memoryview]:
    """The bytes of each value where they lie; a scalar would be a copy."""
    _, offsets, data = packs.buffers()
    bounds = np.frombuffer(offsets, np.int32)[packs.offset :][: len(packs) + 1]
    view = memoryview(data) if data else memoryview(b"")
    for low, high in pairwise(bounds):
        yield view[low:high]


def write_histories(batches: Batches, root: str) -> Iterator[pa.RecordBatch]:
    """``customer_history`` of packed histories, in any order; yields what ``WRITTEN_DDL`` says."""
    table = pa.Table.from_batches(list(batches), schema=_HISTORIES)
    day, part, first, rows = (ints(table[name]) for name in _HISTORIES.names[:-1])
    packed = [pack for chunk in table["packed"].chunks for pack in _views(chunk)]
    written = []
    # Customers ascend within a pack, and no two packs of a day have customers in common.
    for packs in runs(np.lexsort((first, part, day)), day, part):
        columns = zip(*(_unpacked(packed[n], rows[n]) for n in packs), strict=True)
        customers, sizes, *values = (np.concatenate(column) for column in columns)
        offsets = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        place = int(day[packs[0]]), int(part[packs[0]])
        lists = [JaggedLists(column, offsets) for column in values]
        write_history_file(day_file(root, *place), customers, lists)
        written.append((*place, len(customers)))
    yield written_batch(written)


def compact(
    batches: Batches,
    files: Mapping[int, Sequence[ActionFile]],
    root: str,
    history_length: int,
) -> Iterator[pa.RecordBatch]:
    """Write the actions of many days as one file per task, as few as a history can need.

    A task is (first day of the block, part, customers from low to high). Of each customer the
    newest ``history_length`` of the block are kept: where the whole block counts for a history,
    no other of its actions can be in it.
    """
    written = []
    for batch in batches:
        for task in batch.to_pylist():
            actions = read_actions(
                files[task["day"]],
                low=task["low"],
                high=task["high"],
                customers=None,
                history_length=history_length,
            )
            kept = newest_per_group(in_order(actions), history_length, by_day=False)
            if len(kept):
                path = day_file(root, task["day"], task[PART])
                write_ordered_actions(path, kept, keeps_day=True)
                written.append((task["day"], task[PART], len(kept)))
    columns = zip(*written, strict=True) if written else ((), (), ())
    arrays = [pa.array(c, f.type) for c, f in zip(columns, _COMPACTED, strict=True)]
    yield pa.RecordBatch.from_arrays(arrays, schema=_COMPACTED)
