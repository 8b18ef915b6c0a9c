"""Training rows of customers whose rankings and actions are in one place, in memory.

    rankings (dt, customer_id, ranking_id, item_ids, labels)            ──by day──┐
    actions  (dt, customer_id, item_id, action_type, occurred_at) ──> Timelines ──┴──> rows

A row of the input is one or the other: an action where it has an ``action_type``.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.kernels.day_files import ints, runs
from training_assets.kernels.timelines import Actions, Ints, Timelines
from training_assets.kernels.training_rows import Columns, in_order_of_rows, row_groups
from training_assets.list_format import JaggedLists, SharedLists
from training_assets.list_format.arrays import as_list
from training_assets.schemas import IMPRESSIONS, MAX_ITEM_ID, MIN_ITEM_ID, TRAINING_INPUT

_VALUES_PER_BATCH: Final = 2**22
_RANKINGS: Final = pa.schema(
    [
        ("dt", pa.date32()),
        ("customer_id", pa.int64()),
        ("ranking_id", pa.string()),
        ("impressions", IMPRESSIONS.arrow_schema.field("impressions").type),
    ]
)
_ROWS: Final = pa.schema([(column.name, column.arrow) for column in TRAINING_INPUT.columns])


def build_customer_rows(
    batches: Iterable[pa.RecordBatch], *, history_length: int, lookback_days: int | None
) -> Iterator[pa.RecordBatch]:
    """``training_input`` of all customers in the batches, whose rows must all be there.

    Ordered by day, then as in a published day; batches hold some 2^22 values of each array.
    """
    rankings, actions = _told_apart(batches)
    is_shown = np.isin(actions.customer, np.unique(ints(rankings["customer_id"])))
    timelines = Timelines.of(actions.take(is_shown))
    days = ints(rankings["dt"])
    for rows in runs(np.argsort(days, kind="stable"), days):
        day = rankings["dt"][int(rows[0])]
        newest = partial(_newest, timelines, int(days[rows[0]]), lookback_days)
        of_day = in_order_of_rows(rankings.take(rows))
        for columns in row_groups(of_day, newest, history_length, max_values=_VALUES_PER_BATCH):
            yield _batch(str(day), columns)


def _told_apart(batches: Iterable[pa.RecordBatch]) -> tuple[pa.Table, Actions]:
    """(rankings with their valid items, actions)."""
    rankings, actions = [_RANKINGS.empty_table()], []
    for batch in batches:
        is_action = pc.is_valid(batch.column("action_type"))
        actions.append(_actions(pa.table(batch).filter(is_action)))
        rankings.append(_rankings(pa.table(batch).filter(pc.invert(is_action))))
    return pa.concat_tables(rankings), Actions.concat(actions)


def _actions(table: pa.Table) -> Actions:
    names = ("customer_id", "item_id", "action_type", "occurred_at", "dt")
    return Actions(*(ints(table[name]) for name in names))


def _rankings(table: pa.Table) -> pa.Table:
    """Rankings that have valid items, with those alone."""
    lists = as_list(table["item_ids"])
    ids, labels = lists.flatten(), as_list(table["labels"]).flatten()
    is_item = pc.and_(pc.greater_equal(ids, MIN_ITEM_ID), pc.less_equal(ids, MAX_ITEM_ID))
    is_valid = pc.and_(pc.fill_null(is_item, False), pc.is_valid(labels))
    owners = pc.list_parent_indices(lists).filter(is_valid).to_numpy()
    counts = np.bincount(owners.astype(np.int64), minlength=len(lists))
    valid = [ids.filter(is_valid).cast(pa.int32()), labels.filter(is_valid)]
    items = pa.StructArray.from_arrays(valid, names=["item_id", "is_order"])
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    impressions = pa.ListArray.from_arrays(pa.array(offsets), items)
    columns = [*(table[name] for name in _RANKINGS.names[:-1]), impressions]
    return pa.table(columns, _RANKINGS.names).cast(_RANKINGS).filter(pa.array(counts > 0))


def _newest(
    timelines: Timelines, day: int, lookback_days: int | None, customers: Ints, length: int
) -> tuple[JaggedLists, JaggedLists]:
    histories = timelines.histories(
        customers,
        np.full(len(customers), day),
        history_length=length,
        lookback_days=lookback_days,
    )
    items = JaggedLists(histories.items, histories.offsets)
    return items.encoded(), JaggedLists(histories.kinds, histories.offsets)


def _batch(day: str, columns: Columns) -> pa.RecordBatch:
    arrays = [_padded(c) if isinstance(c, SharedLists) else c for c in columns]
    arrays.insert(0, pa.repeat(pa.scalar(day), len(arrays[0])))
    casts = [array.cast(type_) for array, type_ in zip(arrays, _ROWS.types, strict=True)]
    return pa.RecordBatch.from_arrays(casts, schema=_ROWS)


def _padded(shared: SharedLists) -> pa.ListArray:
    """Each row's own list, with its zeros."""
    lists = shared.lists.plain()
    padded = np.zeros((len(lists), shared.length), np.int32)
    is_value = np.arange(shared.length) < np.diff(lists.offsets)[:, None]
    padded[is_value] = lists.values[lists.offsets[0] : lists.offsets[-1]]
    offsets = np.arange(len(shared) + 1, dtype=np.int32) * shared.length
    values = padded.take(shared.index, axis=0).reshape(-1)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
