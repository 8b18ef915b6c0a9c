"""Snapshots of the catalogue or of users, each laid over those before it, for a part of the keys.

A full snapshot says of all keys that it lacks that they are inactive, unless it is suspect; a
snapshot of changes says nothing of others. What was known once stays known.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.kernels.day_files import ints, write_part, written_batch
from training_assets.schemas import Table

INGESTED: Final = "ingested_at"
_EPOCH: Final = date(1970, 1, 1).toordinal()


def fold_snapshots(
    batches: Iterable[pa.RecordBatch],
    table: Table,
    days: Sequence[date],
    deletes: Mapping[date, bool],
    written_days: Sequence[date],
    base: date | None,
    root: str,
    run: str,
) -> Iterator[pa.RecordBatch]:
    """Write the state of ``written_days`` of each part; yields what ``WRITTEN_DDL`` says.

    Rows have ``dt``, ``part``, the table's columns and ``ingested_at``: those of ``base`` are the
    state before all ``days``, the others what was delivered on each; ``deletes`` says of which days
    what is missing is inactive. All rows of a part are in one task.
    """
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        yield written_batch([])
        return
    rows = pa.Table.from_batches(found)
    parts, dts = ints(rows["part"]), ints(rows["dt"])
    written = []
    for part in np.unique(parts):
        of_part = parts == part
        state = table.arrow_schema.empty_table()
        if base is not None:
            state = _typed(rows.filter(pa.array(of_part & (dts == _number(base)))), table)
        for day in days:
            delivered = rows.filter(pa.array(of_part & (dts == _number(day))))
            state = _laid_over(state, _newest_of_keys(delivered, table), table, deletes[day])
            if day in written_days:
                sink = pa.BufferOutputStream()
                pq.write_table(state, sink, compression="zstd", write_page_checksum=True)
                who = ints(state["customer_id"]) if "customer_id" in state.column_names else None
                place = (_number(day), int(part))
                written.append(write_part(root, run, *place, sink.getvalue(), who, len(state)))
    yield written_batch(written)


def _number(day: date) -> int:
    return day.toordinal() - _EPOCH


def _typed(rows: pa.Table, table: Table) -> pa.Table:
    schema = table.arrow_schema
    return rows.select(schema.names).cast(schema)


def _newest_of_keys(rows: pa.Table, table: Table) -> pa.Table:
    """One row of each key: that which arrived last, of equal ones the last in order of content."""
    if not len(rows):
        return _typed(rows, table)
    (key,) = table.key
    names = [key, INGESTED, *(n for n in table.arrow_schema.names if n != key)]
    ordered = rows.sort_by([(name, "ascending") for name in names if name in rows.column_names])
    # Nulls stand last; a row that says when it arrived is newer than one that does not.
    keys = ints(ordered[key])
    told = np.asarray(pc.is_valid(ordered[INGESTED]).combine_chunks())
    order = np.lexsort((np.arange(len(keys)), told, keys))
    keys = keys[order]
    is_last = np.ones(len(keys), bool)
    is_last[:-1] = keys[1:] != keys[:-1]
    return _typed(ordered.take(pa.array(order[is_last])), table)


def _laid_over(state: pa.Table, delivered: pa.Table, table: Table, deletes: bool) -> pa.Table:
    (key,) = table.key
    others = state.filter(pc.invert(pc.is_in(state[key], delivered[key].combine_chunks())))
    if deletes and len(others):
        gone = pa.repeat(pa.scalar(False), len(others))
        for name in ("is_active", "is_listed"):
            others = others.set_column(others.schema.get_field_index(name), name, gone)
    return pa.concat_tables([others, delivered]).sort_by(key).combine_chunks()
