"""Columns of published actions, of some customers or all, and how often each item was acted on."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from training_assets.kernels.action_files import ActionFile, may_hold, row_group_bounds
from training_assets.kernels.day_files import ints
from training_assets.list_format import SealedParquet
from training_assets.sampling.draws import Int64Array
from training_assets.sampling.rules import Window
from training_assets.schemas import ORDER, RETURN

COUNTS_DDL: Final = "bucket int, item_id int, actions long"
_COUNTS: Final = pa.schema(
    [("bucket", pa.int32()), ("item_id", pa.int32()), ("actions", pa.int64())]
)

# Ids up to so many times the rows of a file are counted in an array.
_MAX_IDS_PER_ROW: Final = 8
# Other rows are counted so many at once, by sorting.
_BLOCK_ROWS: Final = 2**22


class Counted(NamedTuple):
    """Items of a bucket, int32 and ascending, and their actions, int64."""

    bucket: int
    items: Any
    actions: Any


class ItemCounts:
    """Actions by bucket and item, of files that are added one after the other."""

    def __init__(self) -> None:
        self._tables: dict[int, Int64Array] = {}
        self._waiting: dict[int, list[Int64Array]] = defaultdict(list)
        self._num_waiting = 0

    def add(self, bucket: int, items: Int64Array) -> Iterator[Counted]:
        """Of one file; gives what need not be kept any longer."""
        if len(items) and int(items.max()) <= _MAX_IDS_PER_ROW * len(items):
            before = self._tables.get(bucket, np.zeros(0, np.int64))
            counts = np.bincount(items, minlength=len(before))
            counts[: len(before)] += before
            self._tables[bucket] = counts
            return
        # Few large ids: an array for each day would be mostly zeros.
        self._waiting[bucket].append(items)
        self._num_waiting += len(items)
        if self._num_waiting >= _BLOCK_ROWS:
            yield from self._sorted()

    def rest(self) -> Iterator[Counted]:
        yield from self._sorted()
        for bucket, counts in self._tables.items():
            items = np.flatnonzero(counts)
            yield Counted(bucket, items.astype(np.int32), counts[items])

    def _sorted(self) -> Iterator[Counted]:
        for bucket, parts in self._waiting.items():
            items, counts = np.unique(np.concatenate(parts), return_counts=True)
            yield Counted(bucket, items.astype(np.int32), counts)
        self._waiting.clear()
        self._num_waiting = 0


def count_items(
    batches: Iterable[pa.RecordBatch], files: Sequence[ActionFile], window: Window
) -> Iterator[pa.RecordBatch]:
    """Actions by bucket and item, those of bots left out; rows are numbers of ``files``."""
    counts = ItemCounts()
    for file in (files[n] for batch in batches for n in batch["number"].to_pylist()):
        (items,) = read_actions(file, ["item_id"], without_bots=True)
        for found in counts.add(window.bucket(day_of(file)), items):
            yield _batch(found)
    for found in counts.rest():
        yield _batch(found)


def _batch(found: Counted) -> pa.RecordBatch:
    arrays = [np.full(len(found.items), found.bucket, np.int32), found.items, found.actions]
    return pa.RecordBatch.from_arrays([pa.array(a) for a in arrays], schema=_COUNTS)


def day_of(file: ActionFile) -> int:
    assert file.day is not None
    return file.day


def read_actions(
    file: ActionFile,
    names: Sequence[str],
    bounds: tuple[int, int] | None = None,
    *,
    without_bots: bool = False,
) -> list[Any]:
    """Columns as arrays, without returns, which are no actions.

    With ``bounds``, of customers within them; names have customer_id then.
    """
    table = read_table(file, names, bounds, ["action_type", *(["is_bot"] if without_bots else [])])
    return columns_of_actions(table, names)


def columns_of_actions(table: pa.Table, names: Sequence[str]) -> list[Any]:
    """As arrays, without rows that ``action_type`` or ``is_bot`` rule out, if these are there."""
    columns = [ints(table[name]) for name in names]
    counts = np.ones(len(table), bool)
    if "is_bot" in table.column_names:
        counts &= ~np.asarray(table["is_bot"].fill_null(False))
    if "action_type" in table.column_names:
        counts &= ints(table["action_type"]) != RETURN
    return columns if counts.all() else [column[counts] for column in columns]


def read_table(
    file: ActionFile,
    names: Sequence[str],
    bounds: tuple[int, int] | None,
    further: Sequence[str] = (),
) -> pa.Table:
    """The columns, and those of ``further`` that the file has and that may say anything."""
    with SealedParquet(file.path) as parquet:
        groups = list(range(parquet.num_row_groups))
        if bounds is not None:
            groups = [g for g in groups if _meets(row_group_bounds(parquet.metadata, g), bounds)]
        if not groups:
            return parquet.schema_arrow.empty_table().select(names)
        may_say = [n for n in further if _may_say(n, parquet.metadata, groups)]
        asked = list(dict.fromkeys([*names, *may_say]))
        table = parquet.read(asked, groups, use_threads=False)
    if bounds is None or not len(table):
        return table
    # Files are sorted by customer, but not those of another writer.
    ids = ints(table["customer_id"])
    low, high = bounds
    is_own = (ids >= low) & (ids <= high)
    return table if is_own.all() else table.filter(pa.array(is_own))


def _may_say(name: str, metadata: Any, groups: Sequence[int]) -> bool:
    """Only some are bots, only orders have a price, and most files have no returns."""
    if name not in metadata.schema.to_arrow_schema().names:
        return False
    told_by = {"is_bot": ("is_bot", True), "action_type": ("action_type", RETURN)}
    return may_hold(metadata, groups, *told_by.get(name, ("action_type", ORDER)))


def _meets(found: tuple[int, int] | None, bounds: tuple[int, int]) -> bool:
    return found is not None and found[0] <= bounds[1] and found[1] >= bounds[0]
