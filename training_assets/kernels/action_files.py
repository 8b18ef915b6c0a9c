"""Reads the actions of some customers from day files and compacted files.

Both are sorted by customer, so the statistics of their row groups say which of them to open.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from training_assets.kernels.day_files import ints
from training_assets.kernels.timelines import Actions, Ints, newest_per_group
from training_assets.list_format import SealedParquet

COLUMNS: Final = ("customer_id", "item_id", "action_type", "occurred_at")
_DAY: Final = "dt"
# Share of unwanted actions that costs less to carry along than to take out.
_WASTE: Final = 0.2


class ActionFile(NamedTuple):
    """Path or URL of a Parquet file; ``day`` (since 1970-01-01) where all rows are of one day."""

    path: str
    day: int | None


class ActionReader:
    """Reads the actions of ranges of customers that ascend, from all files.

    A row group in which one range ends and the next begins is read once: what the next range may
    need of it is kept.
    """

    def __init__(
        self, files: Sequence[ActionFile], *, customers: Ints | None, history_length: int
    ) -> None:
        """``customers`` (sorted) are those that will be asked for; None for all."""
        self._files = [_OneFile(file, customers) for file in files]
        self._history_length = history_length

    def read(self, low: int, high: int) -> Actions:
        """Actions of the customers from ``low`` to ``high``, and of few that nobody asks for.

        Of one customer's day at most the newest ``history_length`` are kept: no history has more,
        and so no customer, however busy, takes more room than that for a day.
        """
        parts = []
        for file in self._files:
            actions = file.read(low, high)
            if not file.is_compacted:
                # What is compacted has been cut already.
                actions = newest_per_group(actions, self._history_length, by_day=True)
            if len(actions):
                parts.append(actions)
        return Actions.concat(parts)


class _OneFile:
    def __init__(self, file: ActionFile, customers: Ints | None) -> None:
        self.is_compacted = file.day is None
        self._file = file
        self._customers = customers
        self._parquet: SealedParquet | None = None
        self._bounds: list[tuple[int, int] | None] = []
        self._next = 0
        self._kept = Actions.concat([])

    def read(self, low: int, high: int) -> Actions:
        if self._parquet is None:
            self._parquet = SealedParquet(self._file.path)
            groups = range(self._parquet.num_row_groups)
            self._bounds = [row_group_bounds(self._parquet.metadata, group) for group in groups]
            # A task has more files than a process may have open.
            self._parquet.close()
        wanted = []
        while self._next < len(self._bounds):
            bounds = self._bounds[self._next]
            if bounds is not None and bounds[0] > high:
                break
            if bounds is not None and bounds[1] >= low:
                wanted.append(self._next)
            self._next += 1
        if wanted:
            found = self._read_groups(self._parquet, wanted)
            self._kept = Actions.concat([self._kept, found]) if len(self._kept) else found
        start = int(np.searchsorted(self._kept.customer, low, side="left"))
        end = int(np.searchsorted(self._kept.customer, high, side="right"))
        found = self._kept.slice(start, end)
        # A copy, so that what was read does not stay for the sake of its end.
        self._kept = self._kept.take(np.arange(end, len(self._kept)))
        return found

    def _read_groups(self, parquet: SealedParquet, groups: Sequence[int]) -> Actions:
        columns = [*COLUMNS, *([_DAY] if self.is_compacted else [])]
        table = parquet.read(columns, groups, use_threads=False)
        parquet.close()
        actions = _actions(table, self._file.day)
        return actions if self._customers is None else _only(actions, self._customers)


def customer_bounds(path: str) -> list[tuple[int, int]]:
    """(smallest customer, rows) of each row group that has rows."""
    metadata = SealedParquet(path).metadata
    return [
        (bounds[0], metadata.row_group(group).num_rows)
        for group in range(metadata.num_row_groups)
        if (bounds := row_group_bounds(metadata, group)) is not None
    ]


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


def _only(actions: Actions, customers: Ints) -> Actions:
    ids = actions.customer
    # By runs of the same customer, of which there are far fewer than rows.
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])))
    runs = ids.take(starts)
    found = np.minimum(np.searchsorted(customers, runs), len(customers) - 1)
    is_wanted = customers.take(found) == runs
    sizes = np.diff(starts, append=len(ids))
    if sizes[~is_wanted].sum() <= _WASTE * len(ids):
        return actions
    return actions.take(np.repeat(is_wanted, sizes))
