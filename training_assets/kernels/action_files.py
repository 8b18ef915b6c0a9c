"""Reads the actions of some customers from day files and compacted files.

Both are sorted by customer, so the statistics of their row groups say which of them to open.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.kernels.day_files import ACTION_COLUMNS, ints
from training_assets.kernels.timelines import Actions, Ints, newest_per_group
from training_assets.list_format import SealedParquet

_BOT: Final = "is_bot"
_DAY: Final = "dt"
# Share of unwanted actions that costs less to carry along than to take out.
_WASTE: Final = 0.2


class ActionFile(NamedTuple):
    """Path or URL of a Parquet file; ``day`` (since 1970-01-01) where all rows are of one day."""

    path: str
    day: int | None


class Wanted(NamedTuple):
    """Which actions count: codes of types, all if None; and whether those of bots do."""

    kinds: tuple[int, ...] | None = None
    keeps_bots: bool = True


EVERYTHING: Final = Wanted()


class ActionReader:
    """Reads the actions of ranges of customers that ascend, from all files.

    A row group in which one range ends and the next begins is read once: what the next range may
    need of it is kept.
    """

    def __init__(
        self,
        files: Sequence[ActionFile],
        *,
        customers: Ints | None,
        history_length: int,
        wanted: Wanted = EVERYTHING,
    ) -> None:
        """``customers`` (sorted) are those that will be asked for; None for all."""
        self._files = [_OneFile(file, customers, wanted) for file in files]
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
    def __init__(self, file: ActionFile, customers: Ints | None, wanted: Wanted) -> None:
        self.is_compacted = file.day is None
        # What is compacted holds nothing else.
        self._wanted = EVERYTHING if self.is_compacted else wanted
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
        columns = [*ACTION_COLUMNS, *([_DAY] if self.is_compacted else [])]
        # Mostly the footer says that there is nobody to leave out, and nothing.
        has_bots = not self._wanted.keeps_bots and may_hold(parquet.metadata, groups, _BOT, True)
        table = parquet.read([*columns, *([_BOT] if has_bots else [])], groups, use_threads=False)
        kinds = self._wanted.kinds
        has_others = kinds is not None and not _is_within(parquet.metadata, groups, kinds)
        parquet.close()
        actions = _actions(table, self._file.day)
        if has_bots or has_others:
            counts = np.ones(len(actions), bool)
            if has_others and kinds is not None:
                counts &= np.isin(actions.kind, kinds)
            if has_bots:
                counts &= ~np.asarray(pc.fill_null(table[_BOT], False).combine_chunks())
            actions = actions.take(counts)
        return actions if self._customers is None else _only(actions, self._customers)


def customer_bounds(path: str) -> list[tuple[int, int, int]]:
    """(smallest customer, the middle of its customers, rows) of each row group that has rows."""
    metadata = SealedParquet(path).metadata
    return [
        (bounds[0], sum(bounds) // 2, metadata.row_group(group).num_rows)
        for group in range(metadata.num_row_groups)
        if (bounds := row_group_bounds(metadata, group)) is not None
    ]


def row_group_bounds(metadata: Any, group: int) -> tuple[int, int] | None:
    """Smallest and largest customer of a row group; None where it has no rows."""
    if not metadata.row_group(group).num_rows:
        return None
    found = _bounds(metadata, group, ACTION_COLUMNS[0])
    return (int(found[0]), int(found[1])) if found else (-(2**63), 2**63 - 1)


def _bounds(metadata: Any, group: int, name: str) -> tuple[Any, Any] | None:
    """Smallest and largest value of a column; None where the footer does not say."""
    part = metadata.row_group(group)
    for number in range(part.num_columns):
        column = part.column(number)
        if column.path_in_schema == name:
            if column.is_stats_set and column.statistics.has_min_max:
                return column.statistics.min, column.statistics.max
            break
    return None


def may_hold(metadata: Any, groups: Sequence[int], name: str, value: Any) -> bool:
    """Whether a column that the file has may hold the value."""
    if name not in metadata.schema.to_arrow_schema().names:
        return False
    bounds = [_bounds(metadata, group, name) for group in groups]
    return any(found is None or found[0] <= value <= found[1] for found in bounds)


def _is_within(metadata: Any, groups: Sequence[int], kinds: Sequence[int]) -> bool:
    """Whether all types of actions are wanted ones."""
    bounds = [_bounds(metadata, group, "action_type") for group in groups]
    return all(
        found is not None and set(range(found[0], found[1] + 1)) <= set(kinds) for found in bounds
    )


def _actions(table: pa.Table, day: int | None) -> Actions:
    customer, item, kind, at = (ints(table.column(name)) for name in ACTION_COLUMNS)
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
