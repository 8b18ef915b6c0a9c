"""Reads the actions of some customers from day files and compacted files.

Both are sorted by customer, so the statistics of their row groups say which of them to open.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.kernels.day_files import ints
from training_assets.kernels.timelines import Actions, Ints, newest_per_group

COLUMNS: Final = ("customer_id", "item_id", "action_type", "occurred_at")
_DAY: Final = "dt"
# Share of unwanted actions that costs less to carry along than to take out.
_WASTE: Final = 0.2


class ActionFile(NamedTuple):
    """A Parquet file; ``day`` (days since 1970-01-01) where all of its rows are of one day."""

    path: str
    day: int | None


def read_actions(
    files: Sequence[ActionFile],
    *,
    low: int,
    high: int,
    customers: Ints | None,
    history_length: int,
) -> Actions:
    """Actions of customers in [low, high]; if given, of ``customers`` (sorted) and few others.

    Of one customer's day at most the newest ``history_length`` are kept: no history has more, and
    so no customer, however busy, takes more room than that for a day.
    """
    parts = []
    for file in files:
        for table in _row_groups(file, low, high):
            actions = _only(_actions(table, file.day), low, high, customers)
            if file.day is not None:
                # What is compacted has been cut already.
                actions = newest_per_group(actions, history_length, by_day=True)
            if len(actions):
                parts.append(actions)
    return Actions.concat(parts)


def customer_bounds(path: str) -> list[tuple[int, int]]:
    """(smallest customer, rows) of each row group that has rows."""
    metadata = pq.read_metadata(path)
    return [
        (bounds[0], metadata.row_group(group).num_rows)
        for group in range(metadata.num_row_groups)
        if (bounds := row_group_bounds(metadata, group)) is not None
    ]


def _row_groups(file: ActionFile, low: int, high: int) -> Iterator[pa.Table]:
    columns = [*COLUMNS, *([_DAY] if file.day is None else [])]
    with pq.ParquetFile(file.path) as parquet:
        wanted = []
        for group in range(parquet.num_row_groups):
            bounds = row_group_bounds(parquet.metadata, group)
            if bounds is not None and bounds[0] <= high and bounds[1] >= low:
                wanted.append(group)
        if wanted:
            yield parquet.read_row_groups(wanted, columns=columns, use_threads=False)


def row_group_bounds(metadata: Any, group: int) -> tuple[int, int] | None:
    """Smallest and largest customer of a row group; None where it has no rows."""
    part = metadata.row_group(group)
    if not part.num_rows:
        return None
    for number in range(part.num_columns):
        column = part.column(number)
        if column.path_in_schema == COLUMNS[0]:
            if column.is_stats_set and column.statistics.has_min_max:
                return int(column.statistics.min), int(column.statistics.max)
            break
    return -(2**63), 2**63 - 1


def _actions(table: pa.Table, day: int | None) -> Actions:
    customer, item, kind, at = (ints(table.column(name)) for name in COLUMNS)
    days = ints(table[_DAY]) if day is None else np.full(len(customer), day, np.int32)
    return Actions(customer, item, kind, at, days)


def _only(actions: Actions, low: int, high: int, customers: Ints | None) -> Actions:
    ids = actions.customer
    if customers is None:
        if len(ids) and ids[0] >= low and ids[-1] <= high and bool((ids[1:] >= ids[:-1]).all()):
            return actions
        return actions.take((ids >= low) & (ids <= high))
    if not len(customers):
        return actions.take(np.empty(0, np.int64))
    # By runs of the same customer, of which there are far fewer than rows.
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
    runs = ids.take(starts)
    found = np.minimum(np.searchsorted(customers, runs), len(customers) - 1)
    is_wanted = customers.take(found) == runs
    sizes = np.diff(starts, append=len(ids))
    if sizes[~is_wanted].sum() <= _WASTE * len(ids):
        return actions
    return actions.take(np.repeat(is_wanted, sizes))
