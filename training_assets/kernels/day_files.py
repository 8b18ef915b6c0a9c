"""Writes the rows of (day, part) groups as one sorted, sealed Parquet file each, from the workers.

    <folder of the table>/dt=YYYY-MM-DD/part-00000-<hash>-<run>.parquet

The folder is a path or the URL of a store. A file is put together in memory and written under a
name that no other content and no other run has, so that a task that is tried again, or twice at
once, leaves one whole file. The same rows give the same bytes on every engine.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.kernels.equal_rows import without_equal_rows
from training_assets.kernels.timelines import Actions, Ints, order_of
from training_assets.list_format import (
    JaggedLists,
    ListFormat,
    open_writer,
    seal_parts,
    write_file,
)
from training_assets.list_format.stores import Bytes
from training_assets.schemas import CUSTOMER_HISTORY, UNIFIED_ACTIONS, Table

PART: Final = "part"
WRITTEN_DDL: Final = "day int, part int, name string, rows long, bytes long, low long, high long"
_WRITTEN: Final = pa.schema(
    [
        ("day", pa.int32()),
        (PART, pa.int32()),
        ("name", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("low", pa.int64()),
        ("high", pa.int64()),
    ]
)
# What histories are made of, and most of the bytes of a day.
ACTION_COLUMNS: Final = ("customer_id", "item_id", "action_type", "occurred_at")
_IF_ABSENT: Final = {"has_time": True, "is_bot": False}
_EPOCH: Final = date(1970, 1, 1).toordinal()
_GROUPS_PER_FILE: Final = 16
_MIN_GROUP: Final = 8_192
# Of actions, many days of which are read at once: each row group takes as long as 5,000 of them.
_MIN_ACTIONS: Final = 32_768
_MAX_GROUP: Final = 131_072

Batches = Iterable[pa.RecordBatch]


class Written(NamedTuple):
    """A file: ``day`` since 1970-01-01, ``name`` in the folder of the table.

    ``low`` and ``high`` are its smallest and its largest customer; without rows there is none.
    """

    day: int
    part: int
    name: str
    rows: int
    bytes: int
    low: int | None
    high: int | None


class HistoryColumns(NamedTuple):
    """Histories by customer: items, types and days ago, newest first."""

    customers: Ints
    items: JaggedLists
    kinds: JaggedLists
    days_ago: JaggedLists


def write_actions(
    batches: Batches, root: str, run: str, once: Sequence[Table] = ()
) -> Iterator[pa.RecordBatch]:
    """``unified_actions`` with a ``part``, in any order; yields what ``WRITTEN_DDL`` says.

    ``root`` is the folder of the table, ``run`` 12 hexadecimal digits. Of equal rows of the sources
    ``once`` one is written; see ``equal_rows.py``.
    """
    written = []
    for day, part, rows in grouped(batches):
        table = without_equal_rows(rows, once, root, run, day, part) if once else rows
        customers = ints(table["customer_id"])
        written.append(write_part(root, run, day, part, encoded_actions(table), customers))
    yield written_batch(written)


def write_rows(batches: Batches, table: Table, root: str, run: str) -> Iterator[pa.RecordBatch]:
    """Rows of any table with a ``part``, sorted by its key; yields what ``WRITTEN_DDL`` says."""
    written = []
    for day, part, found in grouped(batches):
        rows = found.select(table.arrow_schema.names).cast(table.arrow_schema)
        rows = rows.sort_by([(name, "ascending") for name in table.key])
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd", write_page_checksum=True)
        customers = ints(rows["customer_id"]) if "customer_id" in rows.column_names else None
        written.append(write_part(root, run, day, part, sink.getvalue(), customers, len(rows)))
    yield written_batch(written)


def write_part(
    root: str,
    run: str,
    day: int,
    part: int,
    parquet: Bytes,
    customers: Ints | None,
    rows: int | None = None,
) -> Written:
    """Seal a Parquet file whose rows have these customers, and write it where it stays.

    Without customers, say how many ``rows`` it has.
    """
    sealed = seal_parts(parquet)
    name = f"dt={_dt(day)}/part-{part:05d}-{sealed.hash}-{run}.parquet"
    write_file(f"{root}/{name}", *sealed)
    ids = np.empty(0, np.int64) if customers is None else customers
    bounds = (int(ids.min()), int(ids.max())) if len(ids) else (None, None)
    return Written(day, part, name, len(ids) if rows is None else rows, sealed.size, *bounds)


def _dt(day: int) -> str:
    return date.fromordinal(day + _EPOCH).isoformat()


def written_batch(written: Sequence[Written]) -> pa.RecordBatch:
    columns = zip(*written, strict=True) if written else [()] * len(_WRITTEN)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, _WRITTEN, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_WRITTEN)


def grouped(batches: Batches) -> Iterator[tuple[int, int, pa.Table]]:
    """(day, part, rows) of all groups in the batches, which one task can hold."""
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return
    table = pa.Table.from_batches(found)
    day, part = ints(table["dt"]), ints(table[PART])
    if (day == day[0]).all() and (part == part[0]).all():
        yield int(day[0]), int(part[0]), table
        return
    for rows in runs(np.lexsort((part, day)), day, part):
        yield int(day[rows[0]]), int(part[rows[0]]), table.take(rows)


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


def ints(column: pa.ChunkedArray) -> Ints:
    """A column of integers, days or times as integers."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz)).view(pa.int64())
    elif pa.types.is_date32(array.type):
        array = array.view(pa.int32())
    values: Ints = array.to_numpy(zero_copy_only=False)
    return values


def encoded_actions(table: pa.Table) -> pa.Buffer:
    """A Parquet file of the actions of one day, by customer and newest first.

    Columns of ``unified_actions`` beyond the first five may be absent; they then are null, and
    nobody is a bot.
    """
    schema = UNIFIED_ACTIONS.arrow_schema
    extra = [f for f in schema if f.name not in ACTION_COLUMNS]
    if told := [f.name for f in extra if f.name in table.column_names and _differs(table[f.name])]:
        # So that the same rows give the same file, in whatever order they come.
        table = table.sort_by([(name, "ascending") for name in told])
    actions = Actions(
        ints(table["customer_id"]),
        ints(table["item_id"]),
        ints(table["action_type"]),
        ints(table["occurred_at"]),
        ints(table["dt"]),
    )
    order = order_of(actions)
    columns = _action_columns(actions.take(order))
    for field in extra:
        if field.name in told:
            columns[field.name] = table[field.name].take(pa.array(order)).cast(field.type)
        else:
            first = table[field.name][0].as_py() if field.name in table.column_names else None
            if first is None and field.name in _IF_ABSENT:
                first = _IF_ABSENT[field.name]
            columns[field.name] = pa.repeat(pa.scalar(first, field.type), len(table))
    return _encoded(columns, schema)


def _differs(column: pa.ChunkedArray) -> bool:
    """Whether a column has more than one value, null among them."""
    if column.null_count in (0, len(column)) and pa.types.is_boolean(column.type):
        return bool(column.null_count == 0 and pc.any(column) != pc.all(column))
    return column.null_count != len(column)


def encoded_in_order(actions: Actions) -> pa.Buffer:
    """A Parquet file of actions of several days as they stand, with the day of each as ``dt``."""
    fields = [UNIFIED_ACTIONS.arrow_schema.field(name) for name in ACTION_COLUMNS]
    schema = pa.schema([*fields, pa.field("dt", pa.date32())])
    columns = _action_columns(actions)
    columns["dt"] = pa.array(actions.day).view(pa.date32())
    return _encoded(columns, schema)


def _action_columns(actions: Actions) -> dict[str, pa.Array]:
    return {
        "customer_id": pa.array(actions.customer),
        "item_id": pa.array(actions.item),
        "action_type": pa.array(actions.kind),
        "occurred_at": pa.array(actions.micros).view(pa.timestamp("us", "UTC")),
    }


def _encoded(columns: Mapping[str, pa.Array], schema: pa.Schema) -> pa.Buffer:
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        row_group_size=_group_size(len(table), _MIN_ACTIONS),
        # Event times hardly repeat: their differences are short, a dictionary is not.
        use_dictionary=[name for name in schema.names if name != "occurred_at"],
        column_encoding={"occurred_at": "DELTA_BINARY_PACKED"},
        write_page_checksum=True,
    )
    return sink.getvalue()


def encoded_histories(
    parts: Sequence[HistoryColumns], list_format: ListFormat = "lists"
) -> memoryview:
    """A Parquet file of one day; the customers of each part come after those of the one before."""
    rows = sum(len(part.customers) for part in parts)
    size, schema = _group_size(rows, _MIN_GROUP), CUSTOMER_HISTORY.arrow_schema
    sink = io.BytesIO()
    with open_writer(sink, schema, list_format) as writer:
        for low in range(0, rows, size):
            group = list(_rows_of(parts, low, min(low + size, rows)))
            ids, *lists = zip(*group, strict=True)
            columns = (JaggedLists.concat(column) for column in lists)
            writer.write_group([pa.array(np.concatenate(ids)), *columns])
    return sink.getbuffer()


def _rows_of(parts: Sequence[HistoryColumns], low: int, high: int) -> Iterator[HistoryColumns]:
    """What lies between two places of the parts as if they were one."""
    start = 0
    for part in parts:
        first, last = max(low - start, 0), min(high - start, len(part.customers))
        start += len(part.customers)
        if first < last:
            lists = (column.slice(first, last - first) for column in part[1:])
            yield HistoryColumns(part.customers[first:last], *lists)


def _group_size(rows: int, at_least: int) -> int:
    """Small enough that readers of some customers can skip most of a file."""
    return min(max(-(-rows // _GROUPS_PER_FILE), at_least), _MAX_GROUP)


def empty_file(root: str, run: str, day: int, schema: pa.Schema) -> Written:
    """A file for a day without rows, which is a day all the same."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink, compression="zstd", write_page_checksum=True)
    return write_part(root, run, day, 0, sink.getvalue(), np.empty(0, np.int64))
