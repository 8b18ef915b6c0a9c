"""Writes the rows of (day, part) groups as one sorted Parquet file each, from the workers.

    <root>/dt=YYYY-MM-DD/part-00000.parquet

A file is written under another name and renamed, so that a task that is tried again, or twice at
once, leaves one whole file. The same rows give the same bytes on every engine.
"""

import ctypes
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.kernels.list_parquet import ListParquetWriter
from training_assets.kernels.lists import JaggedLists
from training_assets.kernels.timelines import Actions, Ints, in_order
from training_assets.schemas import CUSTOMER_HISTORY, UNIFIED_ACTIONS

PART: Final = "part"
WRITTEN_DDL: Final = "dt date, part int, rows long"
_WRITTEN: Final = pa.schema([("dt", pa.date32()), (PART, pa.int32()), ("rows", pa.int64())])
_GROUPS_PER_FILE: Final = 16
_MIN_GROUP: Final = 8_192
_MAX_GROUP: Final = 131_072
# SYNC_FILE_RANGE_WRITE.
_BEGIN_TO_WRITE: Final = 2

Batches = Iterable[pa.RecordBatch]


class HistoryColumns(NamedTuple):
    """Histories by customer: items, types and days ago, newest first."""

    customers: Ints
    items: JaggedLists
    kinds: JaggedLists
    days_ago: JaggedLists


def write_actions(batches: Batches, root: str) -> Iterator[pa.RecordBatch]:
    """``unified_actions`` with a ``part``, in any order; yields what ``WRITTEN_DDL`` says."""
    written = []
    for day, part, table in grouped(batches):
        write_action_file(day_file(root, day, part), table)
        written.append((day, part, len(table)))
    yield written_batch(written)


def written_batch(written: list[tuple[int, int, int]]) -> pa.RecordBatch:
    """(days since 1970-01-01, part, rows) of each file."""
    days, parts, rows = zip(*written, strict=True) if written else ((), (), ())
    columns = [
        pa.array(days, pa.int32()).cast(pa.date32()),
        pa.array(parts, pa.int32()),
        pa.array(rows, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_WRITTEN)


def grouped(batches: Batches) -> Iterator[tuple[int, int, pa.Table]]:
    """(day, part, rows) of all groups in the batches, which one task can hold."""
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return
    table = pa.Table.from_batches(found)
    day, part = ints(table["dt"]), ints(table[PART])
    for rows in runs(np.lexsort((part, day)), day, part):
        whole = table if len(rows) == len(table) else table.take(rows)
        yield int(day[rows[0]]), int(part[rows[0]]), whole


def runs(order: Ints, *columns: Ints) -> Iterator[Ints]:
    """Parts of ``order`` over which the columns have the same values."""
    if not len(order):
        return
    is_new = np.zeros(len(order), bool)
    is_new[0] = True
    for column in columns:
        ordered = column.take(order)
        is_new[1:] |= ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_new)
    for low, high in zip(starts, [*starts[1:], len(order)], strict=True):
        yield order[low:high]


def day_file(root: str, day: int, part: int) -> Path:
    name = date.fromordinal(day + date(1970, 1, 1).toordinal()).isoformat()
    return Path(root) / f"dt={name}" / f"part-{part:05d}.parquet"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write under; what is there at the end becomes ``path`` in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"_{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield unfinished
        _begin_to_sync(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _begin_to_sync(path: Path) -> None:
    """Let the system begin to put a file on the disk, for which a day that is published waits."""
    try:
        # sync_file_range(2), which Linux has.
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    with path.open("rb") as file:
        # Where it fails the wait is longer, and tells why.
        call(file.fileno(), 0, 0, _BEGIN_TO_WRITE)


def ints(column: pa.ChunkedArray) -> Ints:
    """A column of integers, days or times as integers."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz)).view(pa.int64())
    elif pa.types.is_date32(array.type):
        array = array.view(pa.int32())
    values: Ints = array.to_numpy(zero_copy_only=False)
    return values


def write_action_file(path: Path, table: pa.Table) -> None:
    """Actions of one day, or with a column ``dt`` of several, by customer and newest first."""
    day = ints(table["dt"])
    actions = in_order(
        Actions(
            ints(table["customer_id"]),
            ints(table["item_id"]),
            ints(table["action_type"]),
            ints(table["occurred_at"]),
            day,
        )
    )
    write_ordered_actions(path, actions, keeps_day=False)


def write_ordered_actions(path: Path, actions: Actions, *, keeps_day: bool) -> None:
    """One file of actions as they stand; ``keeps_day`` adds a column ``dt``."""
    fields = list(UNIFIED_ACTIONS.arrow_schema)
    columns = {
        "customer_id": pa.array(actions.customer),
        "item_id": pa.array(actions.item),
        "action_type": pa.array(actions.kind),
        "occurred_at": pa.array(actions.micros).view(pa.timestamp("us", "UTC")),
    }
    if keeps_day:
        fields.append(pa.field("dt", pa.date32()))
        columns["dt"] = pa.array(actions.day).view(pa.date32())
    schema = pa.schema(fields)
    with whole_file(path) as unfinished:
        pq.write_table(
            pa.table([columns[name] for name in schema.names], schema=schema),
            unfinished,
            compression="zstd",
            row_group_size=_group_size(len(actions)),
            # Event times hardly repeat: their differences are short, a dictionary is not.
            use_dictionary=[name for name in schema.names if name != "occurred_at"],
            column_encoding={"occurred_at": "DELTA_BINARY_PACKED"},
        )


def write_history_file(path: Path, parts: Sequence[HistoryColumns]) -> None:
    """Histories of one day; the customers of each part come after those of the one before."""
    rows = sum(len(part.customers) for part in parts)
    size, schema = _group_size(rows), CUSTOMER_HISTORY.arrow_schema
    with whole_file(path) as unfinished, ListParquetWriter(unfinished, schema) as writer:
        for low in range(0, rows, size):
            group = list(_rows_of(parts, low, min(low + size, rows)))
            ids, *lists = zip(*group, strict=True)
            columns = (JaggedLists.concat(column) for column in lists)
            writer.write_group([pa.array(np.concatenate(ids)), *columns])


def _rows_of(parts: Sequence[HistoryColumns], low: int, high: int) -> Iterator[HistoryColumns]:
    """What lies between two places of the parts as if they were one."""
    start = 0
    for part in parts:
        first, last = max(low - start, 0), min(high - start, len(part.customers))
        start += len(part.customers)
        if first < last:
            lists = (column.slice(first, last - first) for column in part[1:])
            yield HistoryColumns(part.customers[first:last], *lists)


def as_list(column: pa.ChunkedArray) -> pa.ListArray:
    """A column of lists as one array with 32-bit offsets."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_large_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    return array


def _group_size(rows: int) -> int:
    """Small enough that readers of some customers can skip most of a file."""
    return min(max(-(-rows // _GROUPS_PER_FILE), _MIN_GROUP), _MAX_GROUP)


def empty_file(path: Path, schema: pa.Schema) -> None:
    """For a day without rows, which is a day all the same."""
    with whole_file(path) as unfinished:
        pq.write_table(schema.empty_table(), unfinished, compression="zstd")
